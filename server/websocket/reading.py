"""Whether a socket is read from: not while there is any reason against it. TCP then slows its peer down."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, TypeAlias

Reason: TypeAlias = Literal["peer", "pace", "turn", "refusal", "frames", "bytes", "closed"]

MOST_IN_A_TURN: Final = 64  # frames that are no message, each four KiB of them another one
PAUSE: Final = 0.005  # after so many
PAUSE_AFTER_CLOSE: Final = 0.1  # with somebody who is told that it is over and only has to say that they know
MOST_AFTER_CLOSE: Final = 500  # frames


class Reading:
    """Of one transport."""

    __slots__ = ("_bytes", "_full_speed_timer", "_ignored", "_reasons", "_spent", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reasons: set[Reason] = set()
        self._full_speed_timer: asyncio.TimerHandle | None = None
        self._turn = 0.0  # of the loop, and what of it was spent
        self._spent = 0
        self._ignored = 0  # frames after a close
        self._bytes = 0  # since the last pause for them

    @property
    def is_on(self) -> bool:
        """Whether it is read from."""
        return not self._reasons

    def stop(self, reason: Reason) -> None:
        """Read no more for now. What was read already still comes."""
        if not self._reasons:
            self._transport.pause_reading()
        self._reasons.add(reason)

    def go_on(self, reason: Reason) -> None:
        """There is that reason no more."""
        if reason in self._reasons:
            self._reasons.remove(reason)
            self._start()

    def spend(self, size: int, loop: asyncio.AbstractEventLoop, pause: float = PAUSE) -> None:
        """A frame was read that is no message, or of somebody who is not heard any more. Of those there are as many as
        somebody likes, at next to no bytes: the rest of many is read after so many seconds."""
        if "frames" in self._reasons:
            return  # it was read with the others
        turn = loop.time()  # one throughout it
        if turn != self._turn:
            self._turn, self._spent = turn, 0
        self._spent += 1 + size // 4096
        if self._spent > MOST_IN_A_TURN:
            self._pause("frames", pause, loop)

    def ignore(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        """A frame was read that came after a close frame of ours and is none itself. Of whoever sends on and on nothing
        more is read; they are cut off when the time for their close frame is up."""
        self._ignored += 1
        if self._ignored <= MOST_AFTER_CLOSE:
            self.spend(size, loop, PAUSE_AFTER_CLOSE)
        elif "closed" not in self._reasons:
            self.stop("closed")

    def spend_bytes(self, size: int, most: int, loop: asyncio.AbstractEventLoop) -> None:
        """Bytes were read, whatever they are a part of. After so many at the most there is a pause."""
        self._bytes += size
        if self._bytes >= most:
            self._bytes = 0
            self._pause("bytes", PAUSE, loop)

    def stop_for(self, seconds: float, loop: asyncio.AbstractEventLoop) -> bool:
        """Read no more for so long, because of its pace; of two such times the longer one counts. Whether it was at
        full speed before."""
        timer = self._full_speed_timer
        if timer is not None and timer.when() >= loop.time() + seconds:
            return False
        if timer is None:
            self.stop("pace")
        else:
            timer.cancel()
        self._full_speed_timer = loop.call_later(seconds, self.full_speed)
        return timer is None

    def full_speed(self) -> None:
        """End `stop_for` before its time."""
        if self._full_speed_timer is not None:
            self._full_speed_timer.cancel()
            self._full_speed_timer = None
            self.go_on("pace")

    def go_on_anyway(self) -> None:
        """There is no reason any more."""
        self.full_speed()
        if self._reasons:
            self._reasons.clear()
            self._start()

    def _pause(self, reason: Reason, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self.stop(reason)
        loop.call_later(seconds, self.go_on, reason)

    def _start(self) -> None:
        if not self._reasons and not self._transport.is_closing():
            self._transport.resume_reading()
