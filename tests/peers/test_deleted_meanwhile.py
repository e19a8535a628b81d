"""Real clients, one of them offline: what was edited here and deleted there is in the ledger, whoever comes last."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.js.browser import browser, synced
from tests.js.hocuspocus import VERSIONS, providers
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
AT = "2026-01-02T10:00:00.000Z"
each_way = pytest.mark.parametrize("deletes", [True, False])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with forking() as started:
        yield started


async def rows(server: ServerProcess, issue: UUID) -> list[tuple[str, str, str, object]]:
    """Kind, who deleted, who edited, and what is told of it."""
    async with server.database() as connection:
        found = await connection.fetch(
            "SELECT kind, standing_actor, losing_actor, losing_value FROM conflicts WHERE issue_id = $1", issue
        )
    return [(*row[:3], json.loads(row[3])) for row in found]


async def expect(server: ServerProcess, issue: UUID, *, deletes: bool) -> None:
    """Ben was offline, and deleted the issue or edited it."""

    async def is_there() -> bool:
        return bool(await rows(server, issue))

    await eventually(is_there, "the conflict")
    deleter, editor = ("ben", "ana") if deletes else ("ana", "ben")
    assert await rows(server, issue) == [("update_delete", deleter, editor, {"status": "done"})]


def change(*, deletes: bool) -> dict[str, str]:
    key, value = ("deletedAt", AT) if deletes else ("status", "done")
    return {"op": "set", "root": "fields", "key": key, "value": value}


@each_way
@pytest.mark.parametrize("version", [pytest.param(2, marks=pytest.mark.long), 3])
async def test_over_y_websocket(server: ServerProcess, version: int, deletes: bool) -> None:
    issue = uuid4()
    async with browser() as node:
        ana, ben, witness = [
            await node.open(server.address(server.token(user), issue), version=version)
            for user in ("ana", "ben", "wim")
        ]
        await ana.append("Search is slow", "title")
        await synced([ana, ben, witness])
        await ben.wait_contains("Search is slow", "title")
        await ben.disconnect()
        await ben.edit(change(deletes=deletes))
        theirs = change(deletes=not deletes)
        await ana.edit(theirs)
        await witness.wait("field", key=theirs["key"], value=theirs["value"])
        await ben.connect()
        await expect(server, issue, deletes=deletes)


@each_way
@pytest.mark.parametrize(
    "version", [*(pytest.param(each, marks=pytest.mark.long) for each in VERSIONS[:-1]), VERSIONS[-1]]
)
async def test_over_hocuspocus(server: ServerProcess, version: int, deletes: bool) -> None:
    issue = uuid4()
    async with providers() as node:
        url, name = f"ws://127.0.0.1:{server.port}/hocuspocus", f"main/{issue}"
        sockets = [await node.socket(url, version=version) for _ in range(2)]
        ana, ben = [
            await socket.open(name, server.token(user)) for socket, user in zip(sockets, ("ana", "ben"), strict=True)
        ]
        for replica in (ana, ben):
            await replica.wait("synced")
        await ana.append("Search is slow")
        await ben.wait_contains("Search is slow")
        await sockets[1].hang_up()
        await ben.wait("offline")
        await ben.edit(change(deletes=deletes))
        await ana.edit(change(deletes=not deletes))
        await ana.wait("saved")
        await sockets[1].call()
        await expect(server, issue, deletes=deletes)
