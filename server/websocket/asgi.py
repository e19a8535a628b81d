"""WebSockets as a plain ASGI application: the fallback for when picows cannot be used. Same promises, slower.

uvicorn's own protocol (`ws="websockets-sansio"`) bounds messages and pings; `uvicorn_options` tells it how.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send

from server import close_codes
from server.addresses import peer_of
from server.websocket.admission import Admission, HttpRefusal
from server.websocket.connection import Door, Handshake, Peer, Route, SocketLimits, client_address
from server.websocket.pace import Pace
from server.websocket.strangers import Stranger, Strangers

log = structlog.get_logger()

_PAUSE_SECONDS: Final = 0.1  # between two messages of somebody who is closed already


class AsgiEndpoint:
    """All ASGI sockets of one server: an application for scopes of type `websocket`."""

    def __init__(
        self,
        route: Route,
        allowed_origins: Sequence[str],
        limits: SocketLimits,
        strangers: Strangers,
        on_slowed: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_slowed` hears each time a peer is slowed down."""
        self.limits = limits
        self.strangers = strangers
        self.on_slowed = on_slowed
        self.connections: set[AsgiConnection] = set()
        self._admission = Admission(route, allowed_origins, limits.max_connections, limits.max_address_connections)

    def admit(self, handshake: Handshake) -> Door | HttpRefusal:
        """See `Admission.admit`."""
        return self._admission.admit(handshake, len(self.connections))

    def uvicorn_options(self) -> dict[str, Any]:
        """Arguments for `uvicorn.Config` that hold this endpoint's limits."""
        return {
            "ws": "websockets-sansio",
            "ws_max_size": self.limits.max_message_bytes,
            "ws_ping_interval": self.limits.ping_interval_seconds,
            "ws_ping_timeout": self.limits.pong_timeout_seconds,
            "ws_per_message_deflate": False,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket from its connect event to its end."""
        await receive()  # websocket.connect
        handshake = _handshake(scope, self.limits)
        admitted = self.admit(handshake)
        if isinstance(admitted, HttpRefusal):
            await _refuse(send, admitted)
            return
        await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol(self.limits.subprotocols)})
        stranger = Stranger(self.strangers, handshake.host)
        connection = AsgiConnection(self.limits, receive, send, stranger, self.on_slowed)
        self.connections.add(connection)
        self._admission.opened(handshake)
        try:
            await connection.run(admitted, handshake)
        finally:
            self.connections.discard(connection)
            self._admission.closed(handshake)


class AsgiConnection:
    """A `Connection` over an ASGI pair: one task reads, one writes."""

    def __init__(
        self,
        limits: SocketLimits,
        receive: Receive,
        send: Send,
        stranger: Stranger,
        on_slowed: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._receive = receive
        self._send = send
        self._stranger = stranger
        self._on_slowed = on_slowed
        self._pace = Pace(limits.pace, asyncio.get_running_loop().time())
        self._frames: deque[bytes] = deque()
        self._queued_bytes = 0
        self._was_over = False
        self._to_write = asyncio.Event()
        self._slowed_until = 0.0
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._ending = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._may_close = asyncio.Event()
        self._code: int | None = None  # set: nothing is passed on any more
        self._peer: Peer | None = None

    # What a session calls.

    def send(self, frame: bytes) -> None:
        if self._code is not None:
            return
        self._frames.append(frame)
        self._queued_bytes += len(frame)
        if self._queued_bytes > self._limits.high_water_bytes:
            self._was_over = True
        self._to_write.set()

    def buffered_bytes(self) -> int:
        return self._queued_bytes

    def close(self, code: int, reason: str) -> None:
        if self._code is None:
            self._closing = (code, reason)
            self._ended(code)
            self.resume_reading()
            if not self._stranger.waits(code, self._may_close.set):
                self._may_close.set()

    def known(self) -> None:
        if self._code is None:
            self._stranger.known()

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    def slow_down(self, seconds: float) -> None:
        self._slowed_until = max(self._slowed_until, asyncio.get_running_loop().time() + seconds)

    # Inside.

    async def run(self, door: Door, handshake: Handshake) -> None:
        """Both pumps, until the socket is gone or the time after a close is up."""
        try:
            self._peer = door(handshake, self)
        except Exception:
            log.exception("door failed", client=handshake.client)
            self.close(close_codes.INTERNAL_ERROR, "internal error")
        pumps = [asyncio.create_task(self._read(handshake)), asyncio.create_task(self._write())]
        for pump in pumps:
            pump.add_done_callback(lambda _: self._ended(close_codes.ABNORMAL))
        try:
            await self._ending.wait()
            if self._closing is not None:
                await self._until_it_may_close(pumps[0])
                await asyncio.wait(pumps[1:], timeout=self._limits.close_timeout_seconds)
        finally:
            self._stranger.gone(has_offended=False)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _until_it_may_close(self, reading: asyncio.Task[None]) -> None:
        """Or until it is gone, for which somebody has to look."""

        async def until_gone() -> None:
            await asyncio.wait([reading])
            while (await self._receive())["type"] != "websocket.disconnect":  # noqa: ASYNC110 -- it awaits messages
                await asyncio.sleep(_PAUSE_SECONDS)  # TCP slows it down meanwhile

        ends = [asyncio.create_task(each) for each in (self._may_close.wait(), until_gone())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        self._may_close.set()
        self._to_write.set()

    async def _read(self, handshake: Handshake) -> None:
        while not self._ending.is_set():
            await self._may_read.wait()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._ended(message.get("code") or close_codes.NO_CODE)
            elif self._ending.is_set():
                return
            elif message.get("bytes") is None:
                self.close(close_codes.TEXT_NOT_SUPPORTED, "binary messages only")
            else:
                self._deliver(message["bytes"], handshake)
                await self._keep_pace(len(message["bytes"]))

    async def _keep_pace(self, size: int) -> None:
        pace = self._pace
        pace.messages_left -= 1
        pace.bytes_left -= size
        now = asyncio.get_running_loop().time()
        if pace.messages_left < 0 or pace.bytes_left < 0:
            self.slow_down(pace.settle(now))
        if self._slowed_until > now:
            self._on_slowed()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._slowed_until - now)

    def _deliver(self, message: bytes, handshake: Handshake) -> None:
        assert self._peer is not None
        try:
            self._peer.received(message)
        except Exception:
            log.exception("peer failed", client=handshake.client)
            self.close(close_codes.INTERNAL_ERROR, "internal error")

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            await self._write_queued()
            if self._closing is not None and self._may_close.is_set():
                code, reason = self._closing
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
                return

    async def _write_queued(self) -> None:
        while self._frames:
            frame = self._frames.popleft()
            await self._send({"type": "websocket.send", "bytes": frame})
            self._queued_bytes -= len(frame)
            if self._was_over and self._queued_bytes <= self._limits.low_water_bytes:
                self._was_over = False
                if self._code is None and self._peer is not None:
                    self._peer.drained()

    def _ended(self, code: int) -> None:
        """As in `PicowsConnection`: the peer hears of it from the loop."""
        if self._code is None:
            self._code = code
            self._ending.set()
            asyncio.get_running_loop().call_soon(self._tell_closed, code)

    def _tell_closed(self, code: int) -> None:
        peer, self._peer = self._peer, None  # its session holds this connection: they part here
        if peer is not None:
            peer.closed(code)


def _handshake(scope: Scope, limits: SocketLimits) -> Handshake:
    target = scope["raw_path"].decode("latin-1") + "?" + scope["query_string"].decode("latin-1")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    peer = client_address(scope["client"])
    return Handshake.of(target, headers, peer_of(peer, headers.get("x-forwarded-for", ""), limits.trusted_proxies))


async def _refuse(send: Send, refusal: HttpRefusal) -> None:
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.title.encode()})
