"""Fifty clients, half of them offline at random, on three server processes over one Postgres.

The same for ten simulated minutes: `tests/simulation/test_fleet.py`. Here sockets, processes and Postgres are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from uuid import UUID

import asyncpg
import pytest

from syncline import Client, Issue
from syncline.backoff import Backoff
from tests.faults.proxy import Detour, detour
from tests.peers.forked_server import forked
from tests.peers.server_process import ServerProcess, eventually
from tests.sdk.editor import Editor, lost_or_doubled

NODES = 3
ISSUES = [UUID(int=number) for number in range(1, 21)]


@dataclass(frozen=True, slots=True)
class Seat:
    """An editor, and the way to its node."""

    editor: Editor
    way: Detour

    def toggle(self) -> None:
        """Into a tunnel, or out of it."""
        self.editor.is_offline = not self.editor.is_offline
        self.way.refuse(refusing=self.editor.is_offline)
        if self.editor.is_offline:
            self.way.cut()
        else:
            self.editor.client.try_now()


@asynccontextmanager
async def seated(nodes: list[ServerProcess], clients: int, seed: int) -> AsyncIterator[list[Seat]]:
    """Everybody in place, half of them offline."""
    async with AsyncExitStack() as stack:
        seats = []
        for number in range(clients):
            node = nodes[number % NODES]
            way = await stack.enter_async_context(detour(node.port))
            make = partial(client_of, node, f"user{number // 2}", way.port)
            seats.append(Seat(Editor(f"device{number}", seed, make), way))
            await seats[-1].editor.start()
            stack.push_async_callback(seats[-1].editor.stop)
            if number % 2:
                seats[-1].toggle()
        yield seats


def client_of(node: ServerProcess, user: str, port: int, chance: Random) -> Client:
    backoff = Backoff(first_seconds=0.1, max_seconds=1.0, chance=chance)
    return Client(f"http://127.0.0.1:{port}", token=node.token(user), backoff=backoff)


async def live(seats: list[Seat], nodes: list[ServerProcess], steps: int, kills: int, chance: Random) -> None:
    """Edits, tunnels, and nodes that are killed and started again meanwhile."""
    kill_at = {steps * (number + 1) // (kills + 1) for number in range(kills)}
    for step in range(steps):
        seat = chance.choice(seats)
        if chance.random() < 0.1:
            seat.toggle()
        else:
            await seat.editor.edit(chance.choice(ISSUES))
        if step in kill_at:
            node = chance.choice(nodes)
            await node.kill()
            await node.start()


async def expect_all_equal(seats: list[Seat], database: asyncpg.Connection) -> None:
    """Everybody is sent everything and has everything, every word once, and the tables say the same."""
    for seat in seats:
        if seat.editor.is_offline:
            seat.toggle()
    await asyncio.gather(*(seat.editor.client.sent() for seat in seats))

    async def agreed() -> bool:
        # Again and again: where two set a field at once, the server may set it to the later value once more.
        head = await database.fetchval("SELECT head FROM workspaces")
        await asyncio.gather(*(until_at(seat.editor.client, head) for seat in seats))
        contents = [{issue.id: told(issue) for issue in await seat.editor.client.issues.list()} for seat in seats]
        rows = await database.fetch("SELECT id, title, description, status, priority FROM issues")
        tables = {row["id"]: tuple(row)[1:] for row in rows}
        one = contents[0]
        return all(each == one for each in contents) and tables == {key: said[:4] for key, said in one.items()}

    await eventually(agreed, "clients and tables to say the same")
    final = {issue.id: issue for issue in await seats[0].editor.client.issues.list()}
    assert not lost_or_doubled([seat.editor for seat in seats], final)


def told(issue: Issue) -> tuple[object, ...]:
    return issue.title, issue.description, issue.status, issue.priority, issue.labels, issue.comments, issue.created_at


async def until_at(client: Client, head: int) -> None:
    """Until its newest change is the newest there is; nobody writes any more."""
    async for change in client.changes(since=head - 1):
        if change.seq >= head:
            return


async def expect_true_acks(seats: list[Seat], database: asyncpg.Connection) -> int:
    """Every word that was acked is in the log, at the seq of its ack or below; how many there are."""
    rows = await database.fetch("SELECT seq, update FROM deltas ORDER BY seq")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    promised = 0
    for editor in (seat.editor for seat in seats):
        for word, receipt in editor.receipts:
            seq = await receipt.committed
            if word:
                promised += 1
                at = next((row["seq"] for row in rows if word.encode() in row["update"]), None)
                assert at is not None, f"{word} was acked and is lost"
                assert at <= seq, f"{word} was acked at {seq} and is at {at}"
    return promised


async def run(dsn: str, *, clients: int, steps: int, kills: int, seed: int) -> int:
    chance = Random(seed)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(forked(database_url=dsn)) for _ in range(NODES)]
        await asyncio.gather(*(node.start() for node in nodes))
        database = await asyncpg.connect(dsn)
        stack.push_async_callback(database.close)
        seats = await stack.enter_async_context(seated(nodes, clients, seed))
        await live(seats, nodes, steps, kills, chance)
        await expect_all_equal(seats, database)
        return await expect_true_acks(seats, database)


async def test_clients_on_three_nodes_converge_and_their_acks_are_true(dsn: str) -> None:
    assert await run(dsn, clients=6, steps=150, kills=1, seed=1) > 30


@pytest.mark.long(seconds=60)
async def test_fifty_clients_on_three_nodes_converge_and_their_acks_are_true(dsn: str) -> None:
    assert await run(dsn, clients=50, steps=2_000, kills=4, seed=2) > 700
