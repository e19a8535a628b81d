"""Whose turn it is. What a socket sent is heard at once while it takes little of a turn of the loop; the rest waits
here, and all that wait together have no more of each further turn than one of them. So a flood delays only floods,
and of several at once all but the first have a fifth of what one has.
Those over which no good token has come have a tenth of that, all together, from the first message on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

_SHARE: Final = 5  # what is fair between floods; it bounds nobody who is alone
_STRANGERS_SHARE: Final = 10


class Turns:
    """Of one endpoint. `seconds`: what one socket may take of a turn."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.strangers_seconds = seconds / _STRANGERS_SHARE
        self._turn = self._spent = 0.0  # a turn of the loop, and what strangers took of it
        self._heard = self._began = 0.0  # a turn of the loop, and when the first was heard in it
        self._waiting: deque[TakesTurns] = deque()

    def wait(self, one: TakesTurns) -> None:
        """Behind the others, until nothing of it is unheard."""
        self._waiting.append(one)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._next)

    def fair_seconds(self, turn: float, now: float) -> float:
        """For one who is heard in this turn of the loop: less where others have taken much of it."""
        if turn != self._heard:
            self._heard, self._began = turn, now
        return self.seconds if now - self._began < self.seconds else self.seconds / _SHARE

    def have_strangers_time(self, turn: float) -> bool:
        """Whether anything of theirs may be heard in this turn."""
        if turn != self._turn:
            self._turn, self._spent = turn, 0.0
        return self._spent < self.strangers_seconds

    def heard_a_stranger(self, seconds: float) -> None:
        """For so long."""
        self._spent += seconds

    def _next(self) -> None:
        one = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        if one.go_on():
            self.wait(one)


class TakesTurns:
    """A socket that does. `_hear` must not raise."""

    def __init__(self, turns: Turns, *, is_stranger: bool = False) -> None:
        self._turns = turns
        self.is_stranger = is_stranger
        self._unheard: deque[bytes] | None = None  # what came while it waits; None: it does not
        self._turn = self._began = 0.0  # a turn of the loop, and when we began to hear something in it
        self._fair = turns.seconds  # in that turn

    def _hear(self, message: bytes) -> None:
        raise NotImplementedError

    def _hold(self) -> None:
        """Read no more for now."""
        raise NotImplementedError

    def _release(self) -> None:
        """Undo `_hold`."""
        raise NotImplementedError

    def deliver(self, message: bytes, turn: Callable[[], float]) -> None:
        """Now, or when the time has come. `turn`: the loop's time, which is one throughout a turn."""
        if self._unheard is not None:
            self._unheard.append(message)
            return
        if self.is_stranger:
            self._deliver_of_a_stranger(message, turn())
            return
        self._hear(message)
        if (now := perf_counter()) - self._began > self._fair:
            if turn() == self._turn:
                self._wait(deque())
            self._turn, self._began = turn(), now
            self._fair = self._turns.fair_seconds(self._turn, now)

    def _deliver_of_a_stranger(self, message: bytes, turn: float) -> None:
        if self._turns.have_strangers_time(turn):
            began = perf_counter()
            self._hear(message)
            self._turns.heard_a_stranger(perf_counter() - began)
        else:
            self._wait(deque([message]))

    def _wait(self, unheard: deque[bytes]) -> None:
        self._hold()
        self._unheard = unheard
        self._turns.wait(self)

    def go_on(self) -> bool:
        """Hear what there is time for; whether there is more."""
        end = perf_counter() + (self._turns.strangers_seconds if self.is_stranger else self._turns.seconds)
        while self._unheard:
            self._hear(self._unheard.popleft())
            if perf_counter() > end and self._unheard:
                return True
        self._unheard = None
        self._release()
        return False

    def hear_all(self) -> None:
        """At once: nothing more will come."""
        while self._unheard:
            self._hear(self._unheard.popleft())

    def hear_no_more(self) -> None:
        """Forget what came."""
        if self._unheard is not None:
            self._unheard.clear()
