"""One y-websocket connection of the load driver: the handshake of the dialect, then updates handed on as bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.typist import read_var_uint, var_uint

SYNC = 0
STEP_1, STEP_2, UPDATE = 0, 1, 2
ASK_FOR_EVERYTHING = b"\x00\x00\x01\x00"  # SyncStep1 with an empty state vector
NOTHING_TO_SAY = b"\x00\x01\x02\x00\x00"  # SyncStep2 with an empty update
UPDATE_MESSAGE = b"\x00\x02"
FIN_BINARY, MASKED = 0x82, 0x80
SHORT_FRAME_BYTES_MAX = 125
CONNECT_TIMEOUT = 30.0


class ConnectionLost(Exception):
    """The server closed or dropped a connection the run needs."""


class Receiver(Protocol):
    """Where a peer's updates go: `message` holds a Yjs update from position `at`."""

    def __call__(self, message: bytes, at: int) -> None: ...


def ignore(message: bytes, at: int) -> None:
    """The receiver of a writer: whatever is echoed to it does not count."""


def update_frame(update: bytes) -> bytes:
    """A whole masked WebSocket frame with an Update message; several may be written at once.

    picows makes one system call a message, and the load must not be bound by that. The mask is zero, which a
    server has to undo like any other.
    """
    size = len(update) + 3
    if size > SHORT_FRAME_BYTES_MAX:
        raise ValueError(f"{len(update)} bytes are no typing update")
    return b"%c%c\x00\x00\x00\x00%b%b%b" % (FIN_BINARY, MASKED | size, UPDATE_MESSAGE, var_uint(len(update)), update)


class Peer(WSListener):
    """Answers SyncStep1, waits for SyncStep2 (`synced`), then hands every update to `receive`."""

    def __init__(self, receive: Receiver = ignore, lost: Callable[[Exception], None] | None = None) -> None:
        self.synced: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.frames = 0
        self._receive = receive
        self._lost = lost
        self._transport: WSTransport | None = None
        self._closing = False
        self._close_code = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.send(WSMsgType.BINARY, ASK_FOR_EVERYTHING)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            if frame.msg_type == WSMsgType.CLOSE:
                self._close_code = int(frame.get_close_code())  # type: ignore[call-overload]  # 44xx is no member of it
            return
        self.frames += 1
        message = frame.get_payload_as_bytes()
        if message[0] != SYNC:
            return
        match message[1]:
            case 2:  # UPDATE, first because it is the run
                self._receive(message, 3 if message[2] < 0x80 else read_var_uint(message, 2)[1])
            case 1:  # STEP_2
                self._step_2(message)
            case _:
                transport.send(WSMsgType.BINARY, NOTHING_TO_SAY)

    def _step_2(self, message: bytes) -> None:
        size, at = read_var_uint(message, 2)
        if not self.synced.done():
            self.synced.set_result(size)
        elif size > len(b"\x00\x00"):
            self._receive(message, at)  # this reader was behind and is helped on by one difference

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._closing:
            return
        error = ConnectionLost(f"the server closed the connection (code {self._close_code or 'none'})")
        if not self.synced.done():
            self.synced.set_exception(error)
        elif self._lost is not None:
            self._lost(error)

    def write(self, frames: bytes) -> None:
        """Send ready-made frames in one write."""
        if self._transport is None:
            raise ConnectionLost("not connected")
        self._transport.underlying_transport.write(frames)

    def close(self) -> None:
        """Hang up."""
        self._closing = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


async def connect(url: str, receive: Receiver = ignore, lost: Callable[[Exception], None] | None = None) -> Peer:
    """A peer whose SyncStep2 has come. Raises ConnectionLost, OSError, WSError or TimeoutError."""
    async with asyncio.timeout(CONNECT_TIMEOUT):
        _, peer = await ws_connect(lambda: Peer(receive, lost), url, use_aiofastnet=False)
        assert isinstance(peer, Peer)
        await peer.synced
    return peer
