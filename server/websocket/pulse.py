"""Whether the peer of a socket is there still: it is pinged, and cut when nothing comes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from server.websocket.connection import SocketLimits
from server.websocket.reading import Reading


class HasPulse:
    """A socket that does: one timer, for the next ping, its pong, or the end of patience with a close. Who receives
    sets `is_heard` with anything that comes. `_socket`, `_reading`: its transport."""

    def __init__(self, limits: SocketLimits) -> None:
        self.is_heard = False
        self._limits = limits
        self._pulse: asyncio.TimerHandle | None = None

    def _ping(self) -> None:
        raise NotImplementedError

    def begin_pulse(self, transport: asyncio.Transport) -> None:
        """It is open."""
        self._socket = transport
        self._reading = Reading(transport)
        self._arm(self._limits.ping_interval_seconds, self._beat)

    def await_close(self) -> None:
        """A close frame was sent, or the other end has to hang up: that is all that is waited for."""
        self._arm(self._limits.close_timeout_seconds, self._socket.abort)

    def end_pulse(self) -> None:
        """It is gone."""
        if self._pulse is not None:
            self._pulse.cancel()
            self._pulse = None

    def _beat(self) -> None:
        self.is_heard = False
        self._arm(self._limits.pong_timeout_seconds, self._expect_pong)
        self._ping()

    def _expect_pong(self) -> None:
        # Of somebody who is not read from, silence says nothing.
        if self.is_heard or not self._reading.is_on:
            interval = self._limits.ping_interval_seconds - self._limits.pong_timeout_seconds
            self._arm(max(interval, 0.0), self._beat)
        else:
            self._socket.abort()

    def _arm(self, delay: float, then: Callable[[], None]) -> None:
        self.end_pulse()
        self._pulse = asyncio.get_running_loop().call_later(delay, then)
