"""Compaction may lose nothing: it writes, loads back and compares; what it cannot vouch for it leaves as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from crdt.index import Index
from crdt.jobs import Compacted
from crdt.update import merge
from storage.compactor import CompactionStats, Compactor
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.memory import MemoryStore
from storage.store import Snapshot, Store
from tests import hostile
from tests.inline_engine import InlineEngine
from tests.storage.authors import Author, typed
from tests.storage.compacting import ISSUE, SMALL, TEXT, Calendar, log_length, project, title


async def test_an_issue_that_kills_the_engine_is_quarantined_with_its_log_untouched(
    twin: Store, key: IssueKey, author: Author, engine: InlineEngine, compactor: Compactor
) -> None:
    await typed(twin, author, TEXT)
    await project(twin)
    engine.failing[key] = EngineFailed(key, "deadline of 60 s")
    assert await compactor.compact(key) == CompactionStats("quarantined")
    (status,) = await twin.quarantined()
    assert status.quarantine_reason == "deadline of 60 s"
    assert await log_length(twin, key) == 10
    engine.failing.clear()
    assert await compactor.compact(key) == CompactionStats("skipped")
    assert await compactor.compact_due() == []


async def test_bytes_no_honest_client_wrote_are_quarantined(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await twin.append([author.delta(update) for update in hostile.hostile(hostile.BREAKING["partly applied"])])
    assert (await compactor.compact(key)).outcome == "quarantined"
    assert await twin.snapshots(key.workspace_id, ISSUE) == []


async def test_without_an_engine_nobody_is_blamed(
    twin: Store, key: IssueKey, author: Author, engine: InlineEngine, compactor: Compactor
) -> None:
    await typed(twin, author, TEXT)
    engine.failing[key] = EngineUnavailable("closing")
    with pytest.raises(EngineUnavailable):
        await compactor.compact(key)
    assert await twin.quarantined() == []


class LyingEngine(InlineEngine):
    """Compacts to something else than it was given."""

    async def run(self, job: Any, *, key: IssueKey, deadline: float | None = None) -> Any:
        result = await super().run(job, key=key, deadline=deadline)
        if isinstance(result, Compacted):
            return replace(result, state=Author(1, ISSUE, client_id=7).types("k").update)
        return result


async def test_a_snapshot_that_differs_is_never_written(
    twin: Store, key: IssueKey, author: Author, calendar: Calendar
) -> None:
    await typed(twin, author, TEXT)
    stats = await Compactor(twin, LyingEngine(), SMALL, now=calendar).compact(key)
    assert stats.outcome == "quarantined"
    assert await twin.snapshots(key.workspace_id, ISSUE) == []
    assert await title(twin, key) == TEXT
    (status,) = await twin.quarantined()
    assert status.quarantine_reason == "the snapshot differs from the log: state vector"


class ForgetfulStore(MemoryStore):
    """Loses or changes snapshots between writing and reading."""

    def __init__(self, damage: str) -> None:
        super().__init__()
        self.damage = damage

    async def snapshots(self, workspace_id: int, issue_id: UUID) -> list[Snapshot]:
        kept = await super().snapshots(workspace_id, issue_id)
        if self.damage == "lost":
            return []
        return [replace(snapshot, state=Author(1, ISSUE).types("other").update) for snapshot in kept]


@pytest.mark.parametrize("damage", ["lost", "changed"])
async def test_a_snapshot_that_does_not_come_back_is_never_trimmed_under(
    damage: str, engine: InlineEngine, calendar: Calendar
) -> None:
    store = ForgetfulStore(damage)
    key = IssueKey((await store.create_workspace("main", "Main")).id, ISSUE)
    await typed(store, Author(key.workspace_id, ISSUE), TEXT)
    await project(store)
    calendar.sleep(days=365)
    stats = await Compactor(store, engine, SMALL, now=calendar).compact(key)
    assert stats.outcome == "quarantined"
    assert await log_length(store, key) == 10


async def test_another_nodes_snapshot_of_the_same_seq_is_as_good_as_ours(
    twin: Store, key: IssueKey, author: Author, engine: InlineEngine, calendar: Calendar
) -> None:
    seqs = await typed(twin, author, TEXT)
    uncompacted = merge((await twin.load(key.workspace_id, ISSUE)).updates)

    async def other_node(name: str, key: IssueKey) -> None:
        if name == "Compare" and not await twin.snapshots(key.workspace_id, ISSUE):
            await twin.save_snapshot(
                Snapshot(key.workspace_id, ISSUE, seqs[-1], 10, uncompacted, Index().encode(), author.at)
            )

    engine.before = other_node
    stats = await Compactor(twin, engine, SMALL, now=calendar).compact(key)
    assert stats.outcome == "compacted"
    assert await twin.quarantined() == []
    assert await title(twin, key) == TEXT
