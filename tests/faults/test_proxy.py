"""The detour does to bytes what the fault tests believe it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import Detour, detour


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
async def echo() -> AsyncIterator[Detour]:
    answering: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1024):
                writer.write(data)
        await hang_up(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with detour(server.sockets[0].getsockname()[1]) as way:
        yield way
    server.close()
    await asyncio.gather(*answering)
    await server.wait_closed()


async def test_bytes_pass_and_a_stall_holds_them_back(echo: Detour) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"one")
    assert await asyncio.wait_for(reader.readexactly(3), 5) == b"one"
    echo.stall()
    writer.write(b"two")
    answer = asyncio.create_task(reader.readexactly(3))
    assert not (await asyncio.wait({answer}, timeout=0.1))[0]
    echo.flow()
    assert await asyncio.wait_for(answer, 5) == b"two"
    await hang_up(writer)


async def test_a_cut_connection_is_reset_for_both(echo: Detour) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"one")
    await asyncio.wait_for(reader.readexactly(3), 5)
    echo.cut()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.readexactly(1), 5)
    await hang_up(writer)


async def test_a_refusing_detour_takes_nobody(echo: Detour) -> None:
    echo.refuse(refusing=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    await hang_up(writer)
    assert echo.accepted == 0
