"""The seam between the doors and a WebSocket library: what a connection can do, and what a peer is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl, unquote

from server.addresses import Network, host_of
from server.websocket.pace import PaceLimits


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one WebSocket endpoint. Bytes and seconds. `subprotocols`: accepted where a client offers one ·
    `max_small_fragments`: of one message, below a KiB · `stranger_receive_bytes`: read at a time before a good token
    has come, then there is a pause ·
    `turn_seconds`: for what one socket sent, in one turn of the loop; then others have theirs."""

    max_connections: int = 10_000
    max_address_connections: int = 5_000
    max_message_bytes: int = 17 * 1024 * 1024
    max_small_fragments: int = 250
    stranger_receive_bytes: int = 8 * 1024
    high_water_bytes: int = 512 * 1024  # at or below the bound at which a session counts as behind
    subprotocols: Collection[str] = ()
    ping_interval_seconds: float = 20.0
    pong_timeout_seconds: float = 10.0
    close_timeout_seconds: float = 3.0
    trusted_proxies: tuple[Network, ...] = ()
    turn_seconds: float = 0.001
    pace: PaceLimits = field(default_factory=PaceLimits)

    @property
    def low_water_bytes(self) -> int:
        """Below this much unsent, a peer that was over the high water is told `drained`."""
        return self.high_water_bytes // 4


@dataclass(frozen=True, slots=True)
class Handshake:
    """The HTTP request that asked for the upgrade. Header names are lower-case; `client`: `host:port` of who asks,
    behind trusted proxies."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: str

    @property
    def host(self) -> str:
        """Of the client, without its port."""
        return host_of(self.client)

    def subprotocol(self, known: Collection[str]) -> str | None:
        """The first one the client offers that is known here (RFC 6455 §4.2.2); None: none is named in the answer."""
        offered = (name.strip() for name in self.headers.get("sec-websocket-protocol", "").split(","))
        return next((name for name in offered if name in known), None)

    @classmethod
    def of(cls, target: str, headers: Mapping[str, str], client: str) -> Handshake:
        """From a request target such as `/yjs/main/…?token=…`. A repeated query parameter keeps its first value."""
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=None)
        return cls(path=unquote(path), query=dict(reversed(pairs)), headers=headers, client=client)


def client_address(name: object) -> str:
    """`host:port` of a socket's peer name for the logs, empty when there is none (a Unix socket)."""
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) and len(name) >= 2 else ""


class Connection(Protocol):
    """One open WebSocket, as a session writes to it. No method blocks or raises; after the close all do nothing."""

    def send(self, frame: bytes) -> None:
        """Queue one binary message."""

    def buffered_bytes(self) -> int:
        """What was sent and has not reached the kernel yet; 0 may stand for anything up to the high water. Above that,
        `drained` is certain to follow."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what is queued; cut the socket if the peer does not answer in time."""

    def pause_reading(self) -> None:
        """Read no more from the socket, so that TCP slows the peer down."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""


class PacedConnection(Connection, Protocol):
    """A socket, as a door is given it: its peer can be slowed down, and becomes known."""

    def slow_down(self, seconds: float) -> None:
        """Read no more from it for so long, whoever pauses and resumes meanwhile."""

    def known(self) -> None:
        """A good token has come over it: it is no stranger's any more."""


class Peer(Protocol):
    """What a door makes of a connection. The calls come on the loop, one at a time, never from inside a
    `Connection` method."""

    def received(self, message: bytes) -> None:
        """One whole binary message, fragments joined."""

    def drained(self) -> None:
        """The unsent bytes were above the high water and have sunk below the low water."""

    def closed(self, code: int) -> None:
        """The last call, exactly once. `code`: ours if we closed, else the peer's, 1006 without a close frame."""


Door = Callable[[Handshake, PacedConnection], Peer]
Route = Callable[[Handshake], Door | None]
