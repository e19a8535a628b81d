"""Who has come from an address and shown no good token yet: how many handshakes may they make, when are they told no.

A handshake is paid back by the first good token, so those who have one pass however many they are; what others make of
theirs is bounded. Above that a handshake waits for its turn, which comes with the next token or with time. Nobody waits
on this machine's own addresses, on which proxies run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from server import close_codes
from server.addresses import is_loopback
from server.buckets import Allowance, Buckets

# Both are parts of `max-address-strangers`.
COST_OF_AN_OFFENCE: Final = 10  # handshakes, of who is told no at once and not late
_PLACES: Final = 5  # in line, for each stranger there may be

AfterFailure = Callable[[str], Awaitable[None]]  # the host


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """Of one address. `handshakes`: without a good token · `longest_wait`: seconds for a turn."""

    handshakes: Allowance = field(default_factory=lambda: Allowance(10, 200))
    longest_wait: float = 10.0

    @property
    def max_waiting(self) -> int:
        """Handshakes that wait at a time."""
        return int(self.handshakes.burst * _PLACES)


class Caller(Protocol):
    """Who makes a handshake."""

    def come_in(self) -> None:
        """It is its turn."""

    def turn_away(self) -> None:
        """There is no turn for it."""


async def at_once(_host: str) -> None:
    """Refusals do not wait."""


class Strangers:
    """Of one endpoint. `after_failure` takes as long as a refusal to somebody from there waits · `on_refused` hears the
    name of the limit that somebody waits for."""

    def __init__(
        self,
        limits: StrangerLimits,
        after_failure: AfterFailure = at_once,
        on_refused: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.after_failure = after_failure
        self._limits = limits
        self._on_refused = on_refused
        self._handshakes = Buckets(limits.handshakes)
        self._lines: dict[str, dict[Caller, float]] = {}  # by host, those who wait and since when, first come first

    def arrive(self, host: str, caller: Caller) -> None:
        """It comes in, now or when it is its turn, or is turned away."""
        line = self._lines.get(host)
        if not line and self._may_come(host):
            caller.come_in()
            return
        self._on_refused("handshakes")
        if line is None:
            line = self._lines[host] = {}
            self._look_later(host)
        if len(line) < self._limits.max_waiting:
            line[caller] = _now()
        else:
            caller.turn_away()

    def give_up(self, host: str, caller: Caller) -> None:
        """It waits no more."""
        self._lines.get(host, {}).pop(caller, None)

    def known(self, host: str) -> None:
        """Who came from there has shown a good token: their handshake is paid back."""
        if not is_loopback(host):
            self._handshakes.charge(host, _now(), -1)
            self._let_in(host)

    def offended(self, host: str) -> None:
        """Who came from there sent what no client sends, and could not be made to wait for the answer."""
        if not is_loopback(host):
            now = _now()
            left = self._handshakes.left(host, now)  # neighbours do not wait for many offences, only for the last
            self._handshakes.charge(host, now, min(COST_OF_AN_OFFENCE, max(0.0, left + COST_OF_AN_OFFENCE)))

    def _may_come(self, host: str) -> bool:
        return is_loopback(host) or self._handshakes.take(host, _now()) == 0

    def _let_in(self, host: str) -> None:
        line = self._lines.get(host, {})
        while line and self._may_come(host):
            caller = next(iter(line))
            del line[caller]
            asyncio.get_running_loop().call_soon(caller.come_in)

    def _look_later(self, host: str) -> None:
        asyncio.get_running_loop().call_later(1 / max(1.0, self._limits.handshakes.rate), self._look, host)

    def _look(self, host: str) -> None:
        self._let_in(host)
        line, too_late = self._lines[host], _now() - self._limits.longest_wait
        for caller in [caller for caller, since in line.items() if since <= too_late]:
            del line[caller]
            caller.turn_away()
        if line:
            self._look_later(host)
        else:
            del self._lines[host]


class Stranger:
    """One socket from `host`, until a good token has come over it."""

    def __init__(self, strangers: Strangers, host: str) -> None:
        self._strangers: Strangers | None = strangers  # None: it is known
        self._host = host
        self._waiting: asyncio.Task[None] | None = None

    @property
    def is_waiting(self) -> bool:
        """For being closed."""
        return self._waiting is not None and not self._waiting.done()

    def known(self) -> None:
        """A good token has come."""
        strangers, self._strangers = self._strangers, None
        if strangers is not None:
            strangers.known(self._host)

    def waits(self, code: int, then: Callable[[], None]) -> bool:
        """Whether it has to wait for being closed with `code`; then that is done later."""
        strangers = self._strangers
        if strangers is None or is_loopback(self._host) or not close_codes.is_offence_of_a_stranger(code):
            return False
        self._waiting = asyncio.get_running_loop().create_task(refuse_later(strangers, self._host, then))
        return True

    def gone(self, *, has_offended: bool) -> None:
        """It was closed. `has_offended`: for what it sent, and nobody could make it wait for that."""
        if self._waiting is not None:
            self._waiting.cancel()
        if has_offended and self._strangers is not None:
            self._strangers.offended(self._host)


async def refuse_later(strangers: Strangers, host: str, then: Callable[[], None]) -> None:
    """When the time for it has come."""
    await strangers.after_failure(host)
    then()


def _now() -> float:
    return asyncio.get_running_loop().time()
