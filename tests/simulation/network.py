"""Sockets of the simulation: two ordered streams with delays, which stall, are cut, and lose what is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol


class Ends(Protocol):
    """Who sits at the two ends of a link: a client, and what a door makes of its connection."""

    def client_hears(self, frame: bytes) -> None:
        """A frame came through."""

    def client_closed(self, code: int) -> None:
        """The link is gone, as the client sees it."""

    def server_hears(self, message: bytes) -> None:
        """A message came through."""

    def server_drained(self) -> None:
        """The unsent bytes have sunk below the low water."""

    def server_closed(self) -> None:
        """The link is gone, as the server sees it."""


class Link:
    """One socket; to the server it is a `server.websocket.Connection`."""

    def __init__(self, random: Random, high_water: int) -> None:
        self.ends: Ends
        self.largest_backlog = 0
        self.largest_frame = 0
        self.is_stalled = False
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._high_water = high_water
        self._was_high = False
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._is_sending = False
        self._inbound: deque[bytes] = deque()
        self._is_receiving = False
        self._is_paused = False
        self._is_open_at_server = True
        self._is_open_at_client = True

    @property
    def has_lost_client(self) -> bool:
        """Whether nobody hears any more what the server says."""
        return not self._is_open_at_client

    # What the server calls.

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        if not self._is_open_at_server:
            return
        self._unsent.append(frame)
        self._unsent_bytes += len(frame)
        self.largest_backlog = max(self.largest_backlog, self._unsent_bytes)
        self.largest_frame = max(self.largest_frame, len(frame))
        self._was_high = self._was_high or self._unsent_bytes > self._high_water
        self._send_soon()

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`."""
        return self._unsent_bytes if self._is_open_at_server else 0

    def close(self, code: int, reason: str) -> None:
        """See `Connection.close`."""
        if self._is_open_at_server:
            self._is_open_at_server = False
            self._loop.call_soon(self.ends.server_closed)
            self._later(self._lose_client, code)

    def pause_reading(self) -> None:
        """See `Connection.pause_reading`."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """See `Connection.resume_reading`."""
        self._is_paused = False
        self._receive_soon()

    # What the client calls.

    def say(self, message: bytes) -> None:
        """The client sends a message."""
        if self._is_open_at_client:
            self._inbound.append(message)
            self._receive_soon()

    # What happens to it.

    def cut(self) -> None:
        """The network breaks. Each end notices on its own, the server maybe much later."""
        self._unsent.clear()
        self._inbound.clear()
        self._unsent_bytes = 0
        self._later(self._lose_client, 1006)
        self._loop.call_later(self._random.choice((0.0, 0.1, 5.0)), self._lose_server)

    def crash(self) -> None:
        """The server is gone, nobody there notices anything."""
        self._is_open_at_server = False
        self._later(self._lose_client, 1006)

    def stall(self, seconds: float) -> None:
        """The client reads nothing for a while."""
        self.is_stalled = True
        self._loop.call_later(seconds, self._flow)

    def _flow(self) -> None:
        self.is_stalled = False
        self._send_soon()

    def _lose_client(self, code: int) -> None:
        if self._is_open_at_client:
            self._is_open_at_client = False
            self.ends.client_closed(code)

    def _lose_server(self) -> None:
        if self._is_open_at_server:
            self._is_open_at_server = False
            self.ends.server_closed()

    def _send_soon(self) -> None:
        if self._unsent and not self._is_sending and not self.is_stalled:
            self._is_sending = True
            self._later(self._sent)

    def _sent(self) -> None:
        self._is_sending = False
        if self._unsent and not self.is_stalled:
            frame = self._unsent.popleft()
            self._unsent_bytes -= len(frame)
            if self._is_open_at_client:
                self.ends.client_hears(frame)
        if self._was_high and self._unsent_bytes <= self._high_water // 4 and self._is_open_at_server:
            self._was_high = False
            self.ends.server_drained()
        self._send_soon()

    def _receive_soon(self) -> None:
        if self._inbound and not self._is_receiving and not self._is_paused and self._is_open_at_server:
            self._is_receiving = True
            self._later(self._receive)

    def _receive(self) -> None:
        self._is_receiving = False
        burst = self._random.choice((1, 1, 2, 8))  # what comes in one turn of the server's loop
        while burst and self._inbound and not self._is_paused and self._is_open_at_server:
            burst -= 1
            self.ends.server_hears(self._inbound.popleft())
        self._receive_soon()

    def _later(self, call: Callable[..., None], *args: object) -> None:
        self._loop.call_later(self._random.choice((0.0001, 0.001, 0.002, 0.02)), call, *args)
