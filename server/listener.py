"""The one port: HTTP by uvicorn and Starlette, WebSockets by the endpoint the settings chose."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.websocket.asgi import AsgiEndpoint
from server.websocket.picows import PicowsEndpoint

BACKLOG: Final = 2048
_HEAD_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
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


def listen(bound: socket.socket) -> None:
    """Make clients wait instead of refusing them. Raises `AddressUnavailable`: of two that bound it, one may listen."""
    try:
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
        head: HeadLimits,
        shutdown_timeout_seconds: float,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """`certificate`: its file and that of its private key; None speaks without TLS."""
        self._bound = bound
        websocket = {"ws": endpoint} if isinstance(endpoint, PicowsEndpoint) else endpoint.uvicorn_options()
        config = uvicorn.Config(
            _application(http, endpoint),
            interface="asgi3",
            http=functools.partial(BoundedHead, head),  # type: ignore[arg-type]
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
class HeadLimits:
    """How long the head of a request may be, and how long it may take."""

    seconds: float = 10.0
    bytes: int = 64 * 1024


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP protocol, for clients that never come to the end of a request's head: they are cut off, or told
    that it is too long. uvicorn itself would keep whatever comes."""

    def __init__(self, limits: HeadLimits, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._deadline is not None else 0
        if self._head_bytes > self._limits.bytes and not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LONG)
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it holds our methods, and no connection_lost will come here

    def on_message_begin(self) -> None:
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


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


def _application(http: ASGIApp, endpoint: Endpoint) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and isinstance(endpoint, AsgiEndpoint):
            await endpoint(scope, receive, send)
        else:
            await http(scope, receive, send)

    return application
