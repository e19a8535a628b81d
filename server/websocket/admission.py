"""Who may upgrade to a WebSocket at all; asked before the 101, since no ASGI middleware runs there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from server.addresses import LOOPBACK, is_loopback
from server.websocket.connection import Door, Handshake, Route


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """An answer instead of 101 Switching Protocols."""

    status: int
    title: str
    retry_after: int = 0  # seconds; 0: nothing is said of it

    def answer(self) -> bytes:
        """As it goes on the wire."""
        retry = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
        return (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\nContent-Type: text/plain\r\n{retry}"
            f"Content-Length: {len(self.title)}\r\nConnection: close\r\n\r\n{self.title}"
        ).encode()


TOO_MANY_STRANGERS: Final = HttpRefusal(429, "Too many connections without a token from this address", retry_after=10)


@dataclass(frozen=True, slots=True)
class Admission:
    """The policy of one endpoint. `allowed_origins`: empty = the host itself and loopback; `*` = every site ·
    `max_address_connections`: from one address but this machine's, on which proxies run."""

    route: Route
    allowed_origins: Sequence[str]
    max_connections: int
    max_address_connections: int = 5_000
    _open: Counter[str] = field(default_factory=Counter)

    def opened(self, handshake: Handshake) -> None:
        """A connection is there."""
        self._open[handshake.host] += 1

    def closed(self, handshake: Handshake) -> None:
        """It is gone."""
        host = handshake.host
        self._open[host] -= 1
        if not self._open[host]:
            del self._open[host]

    def admit(self, handshake: Handshake, open_connections: int) -> Door | HttpRefusal:
        """The door behind that path, or the refusal to answer with."""
        if not self._origin_is_allowed(handshake):
            return HttpRefusal(403, "Origin not allowed")
        door = self.route(handshake)
        if door is None:
            return HttpRefusal(404, "Not Found")
        if open_connections >= self.max_connections:
            return HttpRefusal(503, "Too many connections")
        host = handshake.host
        if self._open[host] >= self.max_address_connections and not is_loopback(host):
            return HttpRefusal(429, "Too many connections from this address")
        return door

    def _origin_is_allowed(self, handshake: Handshake) -> bool:
        """Browsers always send Origin and pages cannot forge it; a request without one is not from a page."""
        origin = handshake.headers.get("origin")
        if origin is None or "*" in self.allowed_origins:
            return True
        if self.allowed_origins:
            return origin.rstrip("/").lower() in {allowed.rstrip("/").lower() for allowed in self.allowed_origins}
        site = _host_of(origin)
        return site is not None and (site in LOOPBACK or site == _host_of(f"//{handshake.headers.get('host', '')}"))


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
