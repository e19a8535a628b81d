"""Replay finds every difference between what is stored and what the log says, and none where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Record
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.compactor import Compactor, CompactorLimits
from storage.engine import EngineFailed, IssueKey
from storage.errors import Trimmed
from storage.history import History
from storage.memory import MemoryStore
from storage.postgres import PostgresStore
from storage.projector import Projector, ProjectorLimits
from storage.replay import IssueReplayed, Replay, Scope, UnknownScope, count_issues
from storage.store import Delta, NewDelta, Snapshot, Store
from storage.tables import deltas
from tests.conftest import execute
from tests.crdt.logs import LOGS
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed
from tests.storage.compacting import SMALL, Calendar

ISSUE = UUID(int=1)
OTHER = UUID(int=2)
EVERYTHING = Scope()


@pytest.fixture
async def author(twin: Store, workspace_id: int) -> Author:
    """The author of an issue with some history: a snapshot, a tail, and all of it projected."""
    author = Author(workspace_id, ISSUE)
    await typed(twin, author, "Crash ")
    await compact(twin, IssueKey(workspace_id, ISSUE))
    await typed(twin, author, "on load")
    await twin.append([Author(workspace_id, OTHER).types("Other")])
    await project(twin)
    return author


async def project(store: Store, **limits: Any) -> None:
    projector = Projector(store, InlineEngine(), ProjectorLimits(**limits), now=lambda: START)
    while await projector.project_once():
        pass


async def compact(store: Store, key: IssueKey) -> None:
    compactor = Compactor(store, InlineEngine(), CompactorLimits(history_days=0.0), now=lambda: START)
    await compactor.compact(key)


async def replay(store: Store, engine: InlineEngine, scope: Scope = EVERYTHING, **how: bool) -> list[IssueReplayed]:
    return [replayed async for replayed in Replay(store, engine).run(scope, **how)]


def whats(replayed: Sequence[IssueReplayed]) -> list[tuple[int, str]]:
    return [(mismatch.seq, mismatch.what) for issue in replayed for mismatch in issue.mismatches]


@pytest.mark.parametrize("from_log", [False, True])
async def test_a_sound_store_has_no_mismatch(twin: Store, author: Author, engine: InlineEngine, from_log: bool) -> None:
    replayed = await replay(twin, engine, from_log=from_log)
    assert whats(replayed) == []
    assert [(issue.issue_id, issue.seq) for issue in replayed] == [(ISSUE, 13), (OTHER, 14)]
    assert [issue.updates for issue in replayed] == [13 if from_log else 8, 1]
    assert await count_issues(twin, EVERYTHING) == 2


@pytest.mark.parametrize("from_log", [False, True])
async def test_a_projector_that_lags_is_no_mismatch(
    twin: Store, author: Author, engine: InlineEngine, from_log: bool
) -> None:
    await typed(twin, author, " and on save")
    await compact(twin, IssueKey(author.workspace_id, ISSUE))
    assert whats(await replay(twin, engine, from_log=from_log)) == []


async def test_an_issue_nobody_projected_yet_is_no_mismatch(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    await typed(twin, Author(workspace_id, ISSUE), "Crash")
    assert whats(await replay(twin, engine)) == []


async def spoil(store: Store, workspace_id: int, **content: Any) -> None:
    row = (await store.projected(workspace_id, [ISSUE]))[ISSUE]
    async with store.projection(workspace_id) as turn:
        assert turn is not None
        await turn.save([replace(row, content=replace(row.content, **content))], [])


async def test_a_row_that_differs_is_named_and_repaired(twin: Store, author: Author, engine: InlineEngine) -> None:
    await spoil(twin, author.workspace_id, title="Something else", labels=("bug",))
    assert whats(await replay(twin, engine)) == [(13, "row: title"), (13, "row: labels")]
    repaired, _ = await replay(twin, engine, repair=True)
    assert repaired.is_repaired
    assert whats(await replay(twin, engine)) == []
    row = (await twin.projected(author.workspace_id, [ISSUE]))[ISSUE]
    assert row.content.title == "Crash on load"


async def test_repair_leaves_the_cursor_and_sound_rows_alone(twin: Store, author: Author, engine: InlineEngine) -> None:
    replayed = await replay(twin, engine, repair=True)
    assert not any(issue.is_repaired for issue in replayed)
    async with twin.projection(author.workspace_id) as turn:
        assert turn is not None
        assert turn.cursor == 14


async def test_scopes_narrow(twin: Store, author: Author, engine: InlineEngine) -> None:
    other = await twin.create_workspace("other", "Other")
    await twin.append([Author(other.id, ISSUE).types("x")])
    assert len(await replay(twin, engine)) == 3
    assert [issue.workspace for issue in await replay(twin, engine, Scope("other"))] == ["other"]
    assert [issue.issue_id for issue in await replay(twin, engine, Scope("main", OTHER))] == [OTHER]


@pytest.mark.parametrize("scope", [Scope("nowhere"), Scope("main", UUID(int=99))])
async def test_an_unknown_scope_is_an_error_and_not_an_empty_success(
    twin: Store, author: Author, engine: InlineEngine, scope: Scope
) -> None:
    with pytest.raises(UnknownScope):
        await replay(twin, engine, scope)


async def test_a_snapshot_that_is_not_its_log_is_found_from_the_log(
    twin: Store, author: Author, engine: InlineEngine
) -> None:
    stranger = Author(author.workspace_id, ISSUE, client_id=8)
    stranger.types("not in the log")
    snapshot = Snapshot(author.workspace_id, ISSUE, 13, 13, stranger.doc.get_update(), b"", author.at)
    await twin.save_snapshot(snapshot)
    found = whats(await replay(twin, engine, Scope("main", ISSUE), from_log=True))
    assert (13, "state: state vector") in found


async def test_an_issue_the_engine_cannot_read_is_a_mismatch_and_the_rest_goes_on(
    twin: Store, author: Author, engine: InlineEngine
) -> None:
    key = IssueKey(author.workspace_id, ISSUE)
    engine.failing[key] = EngineFailed(key, "crashed: signal SIGSEGV")
    sick, well = await replay(twin, engine, repair=True)
    assert whats([sick]) == [(0, "engine: crashed: signal SIGSEGV")]
    assert not sick.is_repaired
    assert whats([well]) == []


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("DELETE FROM issues", "row: missing"),
        ("UPDATE issues SET seq = 1", "row: at another seq than the log (2 to 2)"),
        ("UPDATE issues SET seq = 9", "row: at another seq than the log (2 to 2)"),
        ("UPDATE issues SET version = 7", "row: version"),
        ("UPDATE issues SET updated_at = now()", "row: updated_at"),
        ("UPDATE issues SET created_at = now()", "row: created_at"),
    ],
)
async def test_rows_changed_behind_our_back_are_found(
    store: PostgresStore, dsn: str, engine: InlineEngine, damage: str, what: str
) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    await typed(store, Author(workspace_id, ISSUE), "ab")
    await project(store)
    await execute(dsn, damage)
    assert [found for _, found in whats(await replay(store, engine))] == [what]


async def test_a_row_that_was_deleted_is_written_again(store: PostgresStore, dsn: str, engine: InlineEngine) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    await typed(store, Author(workspace_id, ISSUE), "ab")
    await project(store)
    before = await store.projected(workspace_id, [ISSUE])
    await execute(dsn, "DELETE FROM issues")
    await replay(store, engine, repair=True)
    assert await store.projected(workspace_id, [ISSUE]) == before


async def test_an_update_changed_on_disk_is_found(store: PostgresStore, dsn: str, engine: InlineEngine) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    await typed(store, Author(workspace_id, ISSUE), "ab")
    await execute(dsn, "UPDATE deltas SET update = '\\x00' WHERE seq = 2")
    ((_, what),) = whats(await replay(store, engine))
    assert "checksum" in what


@pytest.mark.parametrize(
    ("until", "title"), [(1, "C"), (3, "Cra"), (6, "Crash "), (9, "Crash on "), (99, "Crash on load")]
)
async def test_an_issue_as_it_was_at_a_seq(
    twin: Store, author: Author, engine: InlineEngine, until: int, title: str
) -> None:
    then = await History(twin, engine).as_of(author.workspace_id, ISSUE, until)
    assert then is not None
    assert (then.content.title, then.version) == (title, min(until, 13))
    assert then.content.updated_at == START + timedelta(seconds=min(until, 13))


@pytest.mark.parametrize(("seconds", "title"), [(1.0, "C"), (3.5, "Cra"), (8.0, "Crash on"), (1e6, "Crash on load")])
async def test_an_issue_as_it_was_at_a_time(
    twin: Store, author: Author, engine: InlineEngine, seconds: float, title: str
) -> None:
    then = await History(twin, engine).as_of(author.workspace_id, ISSUE, START + timedelta(seconds=seconds))
    assert then is not None
    assert then.content.title == title


async def test_a_time_costs_what_snapshots_are_apart_however_long_the_log_is(
    store: PostgresStore, engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    author, read = Author((await store.create_workspace("main", "Main")).id, ISSUE), 0
    compactor = Compactor(store, engine, replace(SMALL, apart_updates=50), now=Calendar())
    for _ in range(6):
        await store.append([author.types("x") for _ in range(100)])
        await project(store)
        await compactor.compact(IssueKey(author.workspace_id, ISSUE))

    def counted(rows: Sequence[Record]) -> list[Delta]:
        nonlocal read
        read += len(rows)
        return made(rows)

    made = deltas.read
    monkeypatch.setattr(deltas, "read", counted)
    for seconds in (20.5, 333.5, 599.5):
        read = 0
        then = await History(store, engine).as_of(author.workspace_id, ISSUE, START + timedelta(seconds=seconds))
        assert then is not None
        assert then.content.title == "x" * int(seconds)
        assert 0 < read <= 2 * 50


async def test_before_its_first_edit_there_was_no_issue(twin: Store, author: Author, engine: InlineEngine) -> None:
    assert await History(twin, engine).as_of(author.workspace_id, ISSUE, START) is None
    assert await History(twin, engine).as_of(author.workspace_id, OTHER, 3) is None


async def test_trimmed_history_says_so(twin: Store, author: Author, engine: InlineEngine) -> None:
    await compact(twin, IssueKey(author.workspace_id, ISSUE))
    await twin.trim(author.workspace_id, ISSUE, 6)
    history = History(twin, engine)
    for until in (3, START + timedelta(seconds=3)):
        with pytest.raises(Trimmed):
            await history.as_of(author.workspace_id, ISSUE, until)
    then = await history.as_of(author.workspace_id, ISSUE, 8)
    assert then is not None
    assert then.content.title == "Crash on"
    assert whats(await replay(twin, engine, from_log=True)) == []


@given(LOGS, st.data())
@settings(deadline=None)
def test_projecting_compacting_and_trimming_anywhere_leave_nothing_to_repair(
    log: list[bytes], data: st.DataObject
) -> None:
    """Whatever is written, and wherever pages, snapshots and trims fall, replay from the log agrees with the rows."""
    page = data.draw(st.integers(1, 5))
    splits = data.draw(st.lists(st.integers(0, len(log)), max_size=3).map(sorted))

    async def live() -> None:
        store, engine = MemoryStore(), InlineEngine()
        workspace = await store.create_workspace("main", "Main")
        projector = Projector(store, engine, ProjectorLimits(page_deltas=page), now=lambda: START)
        compactor = Compactor(store, engine, CompactorLimits(history_days=0.0), now=lambda: START + timedelta(days=9))
        for begin, end in zip([0, *splits], [*splits, len(log)], strict=True):
            batch = [
                NewDelta(workspace.id, ISSUE, update, "ana", None, START + timedelta(seconds=begin + number))
                for number, update in enumerate(log[begin:end])
            ]
            await store.append(batch)
            await projector.project_once()
            await compactor.compact(IssueKey(workspace.id, ISSUE))
        while await projector.project_once():
            pass
        assert whats([r async for r in Replay(store, engine).run(EVERYTHING, from_log=True)]) == []
        assert await store.quarantined() == []

    if log:
        asyncio.run(live())
