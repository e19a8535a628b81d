"""One native connection of a driver: hello, welcome, then frames handed on as bytes; and pushes put together fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.peer import CONNECT_TIMEOUT, FIN_BINARY, MASKED, SHORT_FRAME_BYTES_MAX, ConnectionLost
from bench.servers import Server
from crdt.native import SUBPROTOCOL, Hello, Welcome
from crdt.native_codec import decode_server, encode

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
_PUSH_OF_ONE: Final = b"\x92\x30\x91\x93"  # [48, [[
_UUID: Final = b"\xc4\x10"
_SHORT_BINARY: Final = 0xC4


class NativePeer(WSListener):
    """Says hello, waits for the welcome, then hands every frame to `receive`."""

    def __init__(self, hello: Hello, receive: Callable[[bytes], None], lost: Callable[[Exception], None]) -> None:
        self.welcomed: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._hello = encode(hello)
        self._receive = receive
        self._lost = lost
        self._transport: WSTransport | None = None
        self._is_closing = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.send(WSMsgType.BINARY, self._hello)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            return
        message = frame.get_payload_as_bytes()
        if self.welcomed.done():
            self._receive(message)
            return
        answer = decode_server(message)
        if isinstance(answer, Welcome):
            self.welcomed.set_result(answer)
        else:
            self.welcomed.set_exception(ConnectionLost(f"not welcome: {answer}"))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._is_closing:
            return
        error = ConnectionLost("the server closed the connection")
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
        else:
            self._lost(error)

    def write(self, frames: bytes) -> None:
        """Send ready-made WebSocket frames in one write."""
        if self._transport is None:
            raise ConnectionLost("not connected")
        self._transport.underlying_transport.write(frames)

    def close(self) -> None:
        """Hang up."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


async def connect(
    url: str, hello: Hello, receive: Callable[[bytes], None], lost: Callable[[Exception], None]
) -> tuple[NativePeer, Welcome]:
    """A peer that is welcome. Raises ConnectionLost, OSError, WSError or TimeoutError."""
    async with asyncio.timeout(CONNECT_TIMEOUT):
        _, peer = await ws_connect(
            lambda: NativePeer(hello, receive, lost),
            url,
            extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL},
            max_frame_size=MAX_FRAME_BYTES,
            use_aiofastnet=False,
        )
        assert isinstance(peer, NativePeer)
        return peer, await peer.welcomed


def push_frame(client_seq: int, issue: UUID, update: bytes) -> bytes:
    """A whole masked WebSocket frame with a push of one small edit; several may be written at once.

    The mask is zero, which a server has to undo like any other.
    """
    number: bytes = msgpack.packb(client_seq)
    push = b"%b%b%b%b%c%c%b" % (_PUSH_OF_ONE, number, _UUID, issue.bytes, _SHORT_BINARY, len(update), update)
    if len(push) > SHORT_FRAME_BYTES_MAX:
        raise ValueError(f"{len(update)} bytes are no typing update")
    return b"%c%c\x00\x00\x00\x00%b" % (FIN_BINARY, MASKED | len(push), push)


def host_of(server: Server) -> str:
    """Its host and port."""
    return urlsplit(server.url("")).netloc


def sync_url(host: str, workspace: str, token: str) -> str:
    """The address of a workspace's feed and pushes, with a token in it."""
    return f"ws://{host}/v1/workspaces/{workspace}/sync?token={token}"
