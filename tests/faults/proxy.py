"""A TCP detour between two parties that loses, delays or stalls what passes, on command."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
CLOSE_SECONDS: Final = 5.0


class Detour:
    """Listens on 127.0.0.1 and passes bytes on to `target`: a port of 127.0.0.1, or the path of a unix socket.

    A stalled detour keeps its connections and takes in one chunk each, then backpressure does the rest.
    """

    def __init__(self, target: int | Path) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay_seconds = 0.0
        self._refusing = False
        self._server: asyncio.Server | None = None
        self.accepted = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    def cut(self) -> None:
        """Reset every connection, both sides, with no goodbye."""
        for writer in self._writers:
            _reset(writer)

    def refuse(self, *, refusing: bool) -> None:
        """Close new connections at once, or take them again."""
        self._refusing = refusing

    def stall(self) -> None:
        """Pass nothing on; connections stay open."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass everything on again, what was held back included."""
        self._flowing.set()

    def delay(self, seconds: float) -> None:
        """Hold every chunk back for so long (both ways)."""
        self._delay_seconds = seconds

    async def open(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """Stop listening and cut what is left."""
        assert self._server is not None
        self._server.close()
        self.flow()
        self.cut()
        if self._passing:
            await asyncio.wait(self._passing, timeout=CLOSE_SECONDS)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            await _drop(writer)
            return
        self.accepted += 1
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            await _drop(writer)
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}
            await asyncio.gather(_drop(writer), _drop(far_writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._flowing.wait()
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: without the option the other side would see an orderly end."""
    if not writer.transport.is_closing():
        connection: socket.socket = writer.get_extra_info("socket")
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _drop(writer: asyncio.StreamWriter) -> None:
    """Reset the connection and wait until its socket is gone."""
    _reset(writer)
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def detour(target: int | Path) -> AsyncIterator[Detour]:
    """An open detour, closed afterwards."""
    way = Detour(target)
    await way.open()
    try:
        yield way
    finally:
        await way.close()
