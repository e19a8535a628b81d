"""Memory of the process with the sockets: visitors come, edit and go, and nothing of them stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID, uuid4

import psutil
import pytest

from bench.typist import Typist
from tests.peers.server_process import ServerProcess, eventually, serving
from tests.server.websocket_client import CLOSE, RawClient

STEP1 = b"\x00\x00\x01\x00"  # of somebody who has nothing
ISSUES = 500
AT_ONCE = 20
WARM_UP = 4_000
VISITS = 10_000
GROWTH_BYTES_MAX = 20 * 1024 * 1024


async def visit(server: ServerProcess, token: str, issue: UUID, client: int) -> None:
    """Connect, sync, type one letter, hear nothing of it, disconnect: by the book or by cutting the line."""
    socket = await RawClient.open(server.port, f"/yjs/main/{issue}?token={token}")
    socket.send(STEP1)
    answered = False
    while not answered:
        answered = (await socket.message())[:2] == b"\x00\x01"
    update = Typist(client).type()
    socket.send(b"\x00\x02" + bytes([len(update)]) + update)
    if client % 2:
        socket.send(b"\x03\xe8", CLOSE)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (await socket.frame())[0] != CLOSE:
                pass
    await socket.writer.drain()
    socket.cut()


async def come_and_go(server: ServerProcess, token: str, issues: Sequence[UUID], clients: range) -> None:
    """So many visits, a few at a time, over the same issues in turn."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(client: int) -> None:
        async with places:
            await visit(server, token, issues[client % len(issues)], client + 1)

    await asyncio.gather(*(one(client) for client in clients))


async def empty(server: ServerProcess) -> bool:
    """Whether the server holds no session and no room."""
    _, metrics = await server.get("/metrics")
    return "syncline_sessions 0.0" in metrics and "syncline_rooms 0.0" in metrics


@pytest.mark.long(seconds=50)
async def test_ten_thousand_visitors_leave_nothing_behind() -> None:
    """What visitors leave is let go of without the collector of cycles, so a third of this growth is usual; 7 kB left
    of each would be more than three times as much."""
    async with serving("--idle-timeout-seconds", "1") as server:
        token = server.token("ana")
        issues = [uuid4() for _ in range(ISSUES)]
        process = psutil.Process(server.process.pid)
        await come_and_go(server, token, issues, range(WARM_UP))
        await eventually(lambda: empty(server), "every room evicted", deadline=60)
        before = process.memory_info().rss
        descriptors = process.num_fds()
        await come_and_go(server, token, issues, range(WARM_UP, WARM_UP + VISITS))
        await eventually(lambda: empty(server), "every room evicted", deadline=60)
        assert process.memory_info().rss - before < GROWTH_BYTES_MAX
        assert process.num_fds() <= descriptors + 5
