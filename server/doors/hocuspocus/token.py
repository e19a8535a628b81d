"""How long a token lasts: asking for the next one in time, ending at its end, and asking whoever talks on after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from server.clock import Clock
from server.doors.hocuspocus.limits import HocuspocusLimits
from storage.backoff import Backoff


def _unheard() -> None:
    """Nobody is there to hear."""


class TokenWatch:
    """The token of one document. `request` sends a token request, `expire` hears that the time is over.

    Providers from 3 on answer a request with the token they have by then; 2.x does not hear it.
    """

    __slots__ = (
        "_backoff",
        "_clock",
        "_expire",
        "_expires_at",
        "_is_asked",
        "_limits",
        "_loop",
        "_next_request_at",
        "_request",
        "_timer",
    )

    def __init__(
        self, clock: Clock, limits: HocuspocusLimits, request: Callable[[], None], expire: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._request = request
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at: datetime | None = None
        self._is_asked = False
        self._backoff = Backoff(limits.first_retry_seconds, limits.longest_retry_seconds)
        self._next_request_at = 0.0

    def heard(self) -> bool:
        """A token has come, good or not. Whether it was asked for."""
        was_asked, self._is_asked = self._is_asked, False
        return was_asked

    def accepted(self, expires_at: datetime | None) -> None:
        """It is good until then; None: for ever."""
        self.stop()
        self._backoff.reset()
        is_known, self._expires_at = self._expires_at == expires_at, expires_at
        if expires_at is None:
            return
        seconds_left = (expires_at - self._clock.now()).total_seconds()
        if is_known:  # it was asked for already, and the client has no other
            self._timer = self._loop.call_later(seconds_left, self._expire)
        else:
            # Half of a short life: a client that only gets short ones must not be asked in a circle.
            delay = max(seconds_left - self._limits.token_refresh_seconds, seconds_left / 2)
            self._timer = self._loop.call_later(delay, self._ask_in_time, seconds_left - delay)

    def ask_to_return(self) -> None:
        """The token ran out and the client talks on: it does not authenticate by itself, but does when asked; at once,
        or when it was asked long enough ago."""
        if self._timer is None:
            delay = max(self._next_request_at - self._loop.time(), 0.0)
            self._timer = self._loop.call_later(delay, self._ask_again)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Nobody will ever come with one again. Lets go of the document, which holds this."""
        self.stop()
        self._request = self._expire = _unheard

    def _ask_in_time(self, seconds_left: float) -> None:
        self._timer = self._loop.call_later(seconds_left, self._expire)
        self._ask()

    def _ask_again(self) -> None:
        self._timer = None
        self._next_request_at = self._loop.time() + self._backoff.next_seconds()
        self._ask()

    def _ask(self) -> None:
        self._is_asked = True
        self._request()
