"""The one port: HTTP by uvicorn and Starlette, WebSockets by the endpoint the settings chose."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.addresses import Network, peer_of
from server.websocket import Handshake
from server.websocket.admission import TOO_MANY_STRANGERS, HttpRefusal
from server.websocket.asgi import AsgiEndpoint
from server.websocket.picows import PicowsEndpoint
from server.websocket.strangers import refuse_later
from server.websocket.threshold import Threshold

BACKLOG: Final = 2048  # the system bounds it (net.core.somaxconn)
_HEAD_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
_AT_ONCE: Final = struct.pack("ii", 1, 0)
Endpoint = PicowsEndpoint | AsgiEndpoint


class AddressUnavailable(Exception):
    """The address cannot be bound; the message says why."""


def bind(host: str, port: int) -> socket.socket:
    """Reserve the address without listening yet: until `listen`, clients are refused, not left waiting."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {host}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise AddressUnavailable(f"cannot listen on {host}:{port}: {error.strerror}") from error
    bound.setblocking(False)
    return bound


def listen(bound: socket.socket, receive_bytes: int) -> None:
    """Make clients wait instead of refusing them. Raises `AddressUnavailable`: of two that bound it, one may listen.

    `receive_bytes`: what the kernel takes of one connection before we have read it, which may all be read in one turn.
    """
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)  # connections inherit it
        bound.listen(BACKLOG)
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {bound.getsockname()}: {error.strerror}") from error


class Listener:
    """uvicorn, run by somebody else: signals and logging are the application's business."""

    def __init__(
        self,
        bound: socket.socket,
        http: ASGIApp,
        endpoint: Endpoint,
        *,
        requests: RequestLimits,
        shutdown_timeout_seconds: float,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """`certificate`: its file and that of its private key; None speaks without TLS."""
        self._bound = bound
        threshold = Threshold()
        websocket = {"ws": endpoint} if isinstance(endpoint, PicowsEndpoint) else endpoint.uvicorn_options()
        config = uvicorn.Config(
            _application(http, endpoint, threshold),
            interface="asgi3",
            http=functools.partial(BoundedHttp, requests, endpoint, threshold),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=math.ceil(shutdown_timeout_seconds),
            ssl_certfile=None if certificate is None else certificate[0],
            ssl_keyfile=None if certificate is None else str(certificate[1]),
            **websocket,
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`; returns when every socket is gone or the time for that is up."""
        await self._server.serve([self._bound])

    async def until_started(self) -> None:
        """Wait until clients are accepted."""
        await self._server.is_listening.wait()

    def stop_accepting(self) -> None:
        """Refuse new sockets, leave the open ones alone."""
        for listening in getattr(self._server, "servers", []):
            listening.close()

    def stop(self) -> None:
        """End `run`: close what is open, WebSockets with 1012."""
        self._server.should_exit = True


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How long the head of a request may be, and how long it may take; how many bytes of a body come, and how many of
    an answer are taken, in any such time."""

    seconds: float = 10.0
    head_bytes: int = 64 * 1024
    progress_bytes: int = 1024


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol, for clients that never come to an end. Who sends a head without end is cut off, or told
    that it is too long; who trickles a body, or does not take the answer, is cut off. uvicorn itself would wait.
    A handshake has its turn here, and a refused one waits here, before anything is made for a WebSocket."""

    def __init__(
        self, limits: RequestLimits, endpoint: Endpoint, threshold: Threshold, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._endpoint = endpoint
        self._threshold = threshold
        self._handshake: Handshake | None = None  # that waits for its turn, or for its refusal
        self._refusing: asyncio.Task[None] | None = None
        self._head_bytes = 0
        self._body_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None  # of a head
        self._pace: asyncio.TimerHandle | None = None  # of a body
        self._patience: asyncio.TimerHandle | None = None  # with who does not take an answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_looking()
        self._stop_waiting()
        if self._handshake is not None:
            self._endpoint.strangers.give_up(self._handshake.host, self)
        if self._refusing is not None:
            self._refusing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._handshake is not None:  # a client has to wait for the answer (RFC 6455 §4.1)
            self.transport.abort()
            return
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._deadline is not None else 0
        if self._head_bytes > self._limits.head_bytes and not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LONG)
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        self._stop_looking()
        self._stop_waiting()
        handshake = self._handshake = _handshake(self.url, self.scope, self._endpoint.limits.trusted_proxies)
        self._endpoint.strangers.arrive(handshake.host, self)

    def come_in(self) -> None:
        """See `Caller.come_in`."""
        self._threshold.cross(self._come_in)

    def _come_in(self) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake is None or self.transport.is_closing():
            return
        refused = self._endpoint.admit(handshake)
        if isinstance(refused, HttpRefusal):
            self._handshake = handshake
            then = functools.partial(self._refuse, refused)
            self._refusing = self.loop.create_task(refuse_later(self._endpoint.strangers, handshake.host, then))
            return
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it holds our methods, and no connection_lost will come here

    def turn_away(self) -> None:
        """See `Caller.turn_away`."""
        self._refuse(TOO_MANY_STRANGERS)

    def _refuse(self, refusal: HttpRefusal) -> None:
        self.transport.write(refusal.answer())
        self.transport.close()

    def on_message_begin(self) -> None:
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()
        self._body_bytes = self._limits.progress_bytes  # nobody is late yet
        self._expect_body()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_looking()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_waiting()
        self._expect_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expect_body(self) -> None:
        """Enough of it came since the last look, unless it is us who do not read."""
        if self._body_bytes < self._limits.progress_bytes and not self.flow.read_paused:
            self.transport.abort()
            return
        self._body_bytes = 0
        self._pace = self.loop.call_later(self._limits.seconds, self._expect_body)

    def _stop_looking(self) -> None:
        if self._pace is not None:
            self._pace.cancel()

    def _expect_reading(self, unsent: int) -> None:
        """Enough is taken until the next look, of so much that is unsent."""

        def look() -> None:
            now = self.transport.get_write_buffer_size()
            if unsent - now < self._limits.progress_bytes:
                self._reset()
            else:
                self._expect_reading(now)

        self._patience = self.loop.call_later(self._limits.seconds, look)

    def _reset(self) -> None:
        """Cut it off without leaving what is unsent to the kernel, which would go on offering it."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _application(http: ASGIApp, endpoint: Endpoint, threshold: Threshold) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await threshold.crossed()
        if scope["type"] == "websocket" and isinstance(endpoint, AsgiEndpoint):
            await endpoint(scope, receive, send)
        else:
            scope["client"] = _client(scope, endpoint.limits.trusted_proxies)
            await http(scope, receive, send)

    return application


def _handshake(target: bytes, scope: Any, trusted: Sequence[Network]) -> Handshake:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    host, port = _client(scope, trusted) or ("", 0)
    return Handshake.of(target.decode("latin-1"), headers, f"{host}:{port}" if host else "")


def _client(scope: Scope, trusted: Sequence[Network]) -> tuple[str, int] | None:
    """Host and port of who asks, behind trusted proxies."""
    client: tuple[str, int] | None = scope.get("client")
    if client is None or not trusted:
        return client
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    host, _, port = peer_of(f"{client[0]}:{client[1]}", forwarded, trusted).rpartition(":")
    return host, int(port)
