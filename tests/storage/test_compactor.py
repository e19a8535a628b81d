"""Compaction: what is folded and when, and that the loop goes on whatever one issue or the store does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

from crdt.index import Index
from storage.compactor import Compactor
from storage.engine import IssueKey
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore, Moment
from storage.store import Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import Author, typed
from tests.storage.compacting import ISSUE, SMALL, TEXT, Calendar, log_length, project, title


async def test_a_long_tail_becomes_a_snapshot_that_says_the_same(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await typed(twin, author, TEXT)
    await project(twin)
    assert await compactor.compact_due() == [key]
    stored = await twin.load(key.workspace_id, ISSUE)
    assert stored.snapshot is not None
    assert not stored.tail
    assert (stored.seq, stored.version, stored.snapshot.created_at) == (10, 10, author.at)
    assert await title(twin, key) == TEXT
    index = Index.decode(stored.snapshot.index)
    assert (index.state_vector, index.owners) == ({7: 10}, {7: "ana"})
    assert await log_length(twin, key) == 10, "history is kept"
    assert await compactor.compact_due() == []


async def test_what_is_stored_follows_content_and_not_keystrokes(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await twin.append([author.sets("status", f"value {number}") for number in range(1_000)])
    stats = await compactor.compact(key)
    assert stats.outcome == "compacted"
    assert stats.bytes_before > 20_000
    assert stats.bytes_after < 100


async def test_snapshots_build_on_each_other_and_the_previous_one_is_kept(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    for _ in range(2):
        await typed(twin, author, TEXT)
        await compactor.compact(key)
    kept = await twin.snapshots(key.workspace_id, ISSUE)
    assert [(snapshot.seq, snapshot.version) for snapshot in kept] == [(20, 20), (10, 10)]
    assert await title(twin, key) == TEXT * 2


async def test_short_tails_are_left_alone(twin: Store, key: IssueKey, author: Author, compactor: Compactor) -> None:
    await typed(twin, author, "abc")
    await project(twin)
    assert await compactor.compact_due() == []


async def test_a_room_that_goes_idle_is_worth_less(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await typed(twin, author, "a")
    compactor.hint(key)
    await compactor.compact_due()
    assert await twin.snapshots(key.workspace_id, ISSUE) == []
    await typed(twin, author, "b")
    compactor.hint(key)
    await compactor.compact_due()
    assert len(await twin.snapshots(key.workspace_id, ISSUE)) == 1


async def test_hints_are_bounded(twin: Store, workspace_id: int, engine: InlineEngine, calendar: Calendar) -> None:
    compactor = Compactor(twin, engine, replace(SMALL, max_hints=3), now=calendar)
    for number in range(10):
        compactor.hint(IssueKey(workspace_id, UUID(int=number)))
    assert len(await compactor.compact_due()) == 3


async def test_a_compaction_slower_than_its_interval_is_not_joined_by_a_second(
    twin: Store, key: IssueKey, author: Author, calendar: Calendar
) -> None:
    running = most = 0
    is_compacting, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly(name: str, key: IssueKey) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        is_compacting.set()
        await may_go_on.wait()
        running -= 1

    compactor = Compactor(twin, InlineEngine(slowly), SMALL, now=calendar)
    await typed(twin, author, TEXT)
    await project(twin)
    rounds = [asyncio.create_task(compactor.compact_due()) for _ in range(3)]
    await is_compacting.wait()
    compactor.hint(key)
    rounds.append(asyncio.create_task(compactor.compact_due()))
    may_go_on.set()
    await asyncio.gather(*rounds)
    assert most == 1
    assert len(await twin.snapshots(key.workspace_id, ISSUE)) == 1


async def test_an_issue_that_fails_unexpectedly_does_not_stop_the_others(
    twin: Store, workspace_id: int, calendar: Calendar
) -> None:
    broken, well = IssueKey(workspace_id, UUID(int=1)), IssueKey(workspace_id, UUID(int=2))

    async def bug(name: str, key: IssueKey) -> None:
        if key == broken:
            raise ZeroDivisionError

    failures: list[str] = []
    compactor = Compactor(twin, InlineEngine(bug), SMALL, now=calendar, on_failure=failures.append)
    for key in (broken, well):
        await typed(twin, Author(workspace_id, key.issue_id), TEXT)
    await project(twin)
    await compactor.compact_due()
    assert failures == ["compaction"]
    assert len(await twin.snapshots(workspace_id, well.issue_id)) == 1


async def test_the_loop_survives_an_outage_and_then_compacts(engine: InlineEngine, calendar: Calendar) -> None:
    store = MemoryStore()
    workspace_id = (await store.create_workspace("main", "Main")).id
    await typed(store, Author(workspace_id, ISSUE), TEXT)
    await project(store)
    failed, compacted = asyncio.Event(), asyncio.Event()

    async def outage(moment: Moment, operation: str) -> None:
        if not failed.is_set() and operation == "save_snapshot" and moment == "after":
            raise StoreUnavailable("out")

    store.fault = outage
    compactor = Compactor(
        store,
        engine,
        replace(SMALL, longest_backoff_seconds=0.001),
        now=calendar,
        on_issue=lambda key, stats: compacted.set(),
        on_failure=lambda name: failed.set(),
    )
    compactor.hint(IssueKey(workspace_id, ISSUE))
    loop = asyncio.create_task(compactor.run())
    async with asyncio.timeout(10):
        await failed.wait()
        await compacted.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    stored = await store.load(workspace_id, ISSUE)
    assert not stored.tail
