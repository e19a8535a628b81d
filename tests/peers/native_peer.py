"""The tests' native client over a real socket to a real server: it hears what comes in the turn in which it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from crdt.native import SUBPROTOCOL, ServerFrame, Welcome
from server.websocket import Connection, Handshake, Peer
from tests.peers.server_process import ServerProcess
from tests.server.native_client import NativeClient

MAX_FRAME_BYTES = 64 << 20


class NativePeer(NativeClient):
    """See `NativeClient`. `on_frame` hears every frame once it is taken in."""

    def __init__(self, user: str, number: int) -> None:
        super().__init__(self._far_end, user, number)
        self.on_frame: Callable[[ServerFrame], None] = lambda frame: None
        self._line: ClientConnection | None = None
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._running: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def call(self, server: ServerProcess) -> None:
        """Connect and greet. Raises `OSError` when nobody is there."""
        url = f"ws://127.0.0.1:{server.port}/v1/workspaces/main/sync"
        protocols = [Subprotocol(SUBPROTOCOL)]
        self._line = await connect(url, subprotocols=protocols, compression=None, max_size=MAX_FRAME_BYTES)
        self._unsent = asyncio.Queue()
        self.heard.clear()
        self.connect(server.token(self.user))
        self._running = [asyncio.create_task(self._read(self._line)), asyncio.create_task(self._write(self._line))]
        await self.until_heard(lambda: True)
        assert isinstance(self.heard[0], Welcome), self.heard[0]

    async def hang_up(self) -> None:
        """Lose the connection."""
        if self._line is not None:
            self._line.transport.abort()
            await self.over()

    async def over(self) -> None:
        """Wait until the connection has ended; by then everything that was on its way is heard."""
        reading, writing = self._running
        await reading
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        self._line, self.is_connected = None, False

    async def until_heard(self, holds: Callable[[], bool], *, deadline: float = 30) -> None:
        """Look after every frame until it holds. Raises `TimeoutError`, `ConnectionError`."""
        async with asyncio.timeout(deadline):
            while not (self.heard and holds()):
                if self._running[0].done():
                    raise ConnectionError(f"lost; heard {self.heard[-3:]}")
                self._changed.clear()
                await self._changed.wait()

    async def until_answered(self) -> None:
        """Until everything it has pushed is acked."""
        await self.until_heard(lambda: not self.outbox)

    async def until_at(self, head: int) -> None:
        """Until its cursor is there."""
        await self.until_heard(lambda: self.cursor is not None and self.cursor >= head)

    # Inside.

    async def _read(self, line: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in line:
                assert isinstance(message, bytes)
                self.socket.frames.append(message)
                for frame in self.hear():
                    self.on_frame(frame)
                self._changed.set()
        self._changed.set()

    async def _write(self, line: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await line.send(await self._unsent.get())

    def _far_end(self) -> Callable[[Handshake, Connection], Peer]:
        return lambda handshake, connection: _Sending(self._unsent)


class _Sending:
    """To `NativeClient` the server's end of its socket."""

    def __init__(self, unsent: asyncio.Queue[bytes]) -> None:
        self._unsent = unsent

    def received(self, message: bytes) -> None:
        """See `Peer.received`."""
        self._unsent.put_nowait(message)

    def drained(self) -> None:
        """See `Peer.drained`; the line says so by itself."""

    def closed(self, code: int) -> None:
        """See `Peer.closed`; the line is."""
