"""NOTIFY between nodes: heard by the others, not by oneself, and again after the connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import asyncpg

from storage.wakeups import PostgresWakeups


class Node:
    """One node's ears. `None` in `heard`: it may have been any workspace."""

    def __init__(self, dsn: str) -> None:
        self.heard: asyncio.Queue[Collection[int] | None] = asyncio.Queue()
        self.wakeups = PostgresWakeups(dsn, self.heard.put_nowait)

    async def next(self) -> Collection[int] | None:
        async with asyncio.timeout(10):
            return await self.heard.get()


@asynccontextmanager
async def nodes(dsn: str, count: int) -> AsyncIterator[list[Node]]:
    """So many, connected."""
    started = [Node(dsn) for _ in range(count)]
    running = [asyncio.create_task(node.wakeups.run()) for node in started]
    try:
        for node in started:
            assert await node.next() is None
        yield started
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_the_others_hear_which_workspaces_were_written_to(dsn: str) -> None:
    async with nodes(dsn, 3) as (one, two, three):
        one.wakeups.tell({7, 8})
        assert await two.next() == {7, 8}
        assert await three.next() == {7, 8}
        two.wakeups.tell({9})
        assert await one.next() == {9}, "a node does not hear itself"


async def test_whatever_else_is_said_on_the_channel_means_that_it_may_have_been_any(dsn: str) -> None:
    async with nodes(dsn, 1) as (one,):
        somebody = await asyncpg.connect(dsn)
        for said in ("*", "1,*", "\u00b2", "\uff11", "9" * 5_000, "-1", "1;2", ""):
            await somebody.execute("SELECT pg_notify('syncline_commits', $1)", said)
            assert await one.next() is None, said
        await somebody.execute("SELECT pg_notify('syncline_commits', '7,8')")
        assert await one.next() == {7, 8}
        await somebody.close()


async def test_too_many_workspaces_to_name_are_all(dsn: str) -> None:
    async with nodes(dsn, 2) as (one, two):
        one.wakeups.tell(range(10_000))
        assert await two.next() is None


async def test_after_a_lost_connection_it_listens_again_and_takes_it_that_it_missed_something(dsn: str) -> None:
    async with nodes(dsn, 2) as (one, two):
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()
        assert await one.next() is None
        assert await two.next() is None
        one.wakeups.tell({3})
        assert await two.next() == {3}


async def test_without_a_postgres_nobody_is_held_up() -> None:
    node = Node("postgresql://nobody@127.0.0.1:1/none")
    running = asyncio.create_task(node.wakeups.run())
    node.wakeups.tell({1})
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
