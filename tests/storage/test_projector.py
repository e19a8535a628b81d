"""The projector turns the log into rows, whatever happens to it on the way."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from server.engine import EngineLimits, EnginePool
from server.engine_child import ChildLimits, default_command
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore, Moment
from storage.postgres import PostgresStore
from storage.projection import ProjectionLimits
from storage.projector import PageStats, Projector, ProjectorLimits
from storage.store import ProjectedIssue, Snapshot, Store
from tests import hostile
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed

ISSUE = UUID(int=1)
OTHER = UUID(int=2)
NOON = START + timedelta(hours=12)
QUICK = ProjectorLimits(settle_seconds=0.0, poll_seconds=0.01)


@pytest.fixture
def engine() -> InlineEngine:
    return InlineEngine()


def projector(store: Store, engine: InlineEngine | EnginePool, limits: ProjectorLimits = QUICK) -> Projector:
    return Projector(store, engine, limits, now=lambda: NOON)


async def project_all(projector: Projector) -> None:
    while await projector.project_once():
        pass


async def row(store: Store, workspace_id: int, issue_id: UUID = ISSUE) -> ProjectedIssue:
    return (await store.projected(workspace_id, [issue_id]))[issue_id]


async def cursor(store: Store, workspace_id: int) -> int:
    async with store.projection(workspace_id) as turn:
        assert turn is not None
        return turn.cursor


async def test_what_is_in_the_log_becomes_rows(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    ana, ben = Author(workspace_id, ISSUE), Author(workspace_id, OTHER)
    await twin.append([ana.types("Crash"), ben.types("Feature"), ana.sets("status", "open")])
    await project_all(projector(twin, engine))
    found = await row(twin, workspace_id)
    assert (found.seq, found.version) == (3, 2)
    assert (found.content.title, found.content.status) == ("Crash", "open")
    assert (found.content.created_at, found.content.updated_at) == (START + timedelta(seconds=1), ana.at)
    assert (await row(twin, workspace_id, OTHER)).content.title == "Feature"
    assert await cursor(twin, workspace_id) == 3


async def test_a_document_that_says_when_it_was_created_is_believed(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    await twin.append([Author(workspace_id, ISSUE).sets("createdAt", "2020-02-02T00:00:00.000Z")])
    await project_all(projector(twin, engine))
    created_at = (await row(twin, workspace_id)).content.created_at
    assert created_at is not None
    assert created_at.year == 2020


async def test_an_issue_read_before_costs_only_what_is_new(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    author, reader = Author(workspace_id, ISSUE), projector(twin, engine)
    await typed(twin, author, "Cra")
    await project_all(reader)
    await typed(twin, author, "sh")
    await project_all(reader)
    assert engine.ran == ["ProjectWhole", "ProjectTail"]
    found = await row(twin, workspace_id)
    assert (found.content.title, found.version, found.seq, found.content.updated_at) == ("Crash", 5, 5, author.at)


async def test_an_engine_that_was_replaced_is_told_everything(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    author, reader = Author(workspace_id, ISSUE), projector(twin, engine)
    await typed(twin, author, "Cra")
    await project_all(reader)
    engine.forget()
    await typed(twin, author, "sh")
    await project_all(reader)
    assert engine.ran == ["ProjectWhole", "ProjectTail", "ProjectWhole"]
    assert (await row(twin, workspace_id)).content.title == "Crash"


async def test_pages_are_bounded_and_follow_each_other(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    pages: list[PageStats] = []
    limits = ProjectorLimits(page_deltas=2)
    reader = Projector(twin, engine, limits, now=lambda: NOON, on_page=pages.append)
    await typed(twin, Author(workspace_id, ISSUE), "Crash")
    await project_all(reader)
    assert [(page.deltas, page.issues) for page in pages] == [(2, 1), (2, 1), (1, 1)]
    assert pages[0].lag_seconds == (NOON - START - timedelta(seconds=1)).total_seconds()
    found = await row(twin, workspace_id)
    assert (found.content.title, found.version) == ("Crash", 5)


async def test_an_issue_that_kills_the_engine_is_quarantined_and_passed_over(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    key = IssueKey(workspace_id, ISSUE)
    quarantined: list[IssueKey] = []
    reader = Projector(twin, engine, QUICK, now=lambda: NOON, on_quarantine=quarantined.append)
    ana, ben = Author(workspace_id, ISSUE), Author(workspace_id, OTHER)
    engine.failing[key] = EngineFailed(key, "crashed: signal SIGSEGV")
    await twin.append([ana.types("a"), ben.types("b")])
    await project_all(reader)
    assert await cursor(twin, workspace_id) == 2
    assert (await row(twin, workspace_id, OTHER)).content.title == "b"
    assert not await twin.projected(workspace_id, [ISSUE])
    (status,) = await twin.quarantined()
    assert (status.issue_id, status.quarantine_reason) == (ISSUE, "crashed: signal SIGSEGV")
    await twin.append([ana.types("a")])
    await project_all(reader)
    assert await cursor(twin, workspace_id) == 3
    assert engine.ran.count("ProjectWhole") == 2, "no engine is risked on it again"
    assert quarantined == [key]


async def test_released_it_is_read_whole_with_its_next_edit(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    key, author, reader = IssueKey(workspace_id, ISSUE), Author(workspace_id, ISSUE), projector(twin, engine)
    engine.failing[key] = EngineFailed(key, "deadline")
    await typed(twin, author, "Cra")
    await project_all(reader)
    engine.failing.clear()
    await twin.release(workspace_id, ISSUE)
    await typed(twin, author, "sh")
    await project_all(reader)
    assert (await row(twin, workspace_id)).content.title == "Crash"


async def test_without_an_engine_nothing_is_blamed_and_nothing_is_skipped(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    key = IssueKey(workspace_id, ISSUE)
    engine.failing[key] = EngineUnavailable("queue is full")
    await twin.append([Author(workspace_id, ISSUE).types("a")])
    reader = projector(twin, engine)
    await project_all(reader)
    assert await cursor(twin, workspace_id) == 0
    assert await twin.quarantined() == []
    engine.failing.clear()
    await project_all(projector(twin, engine))
    assert (await row(twin, workspace_id)).content.title == "a"


async def test_a_snapshot_ahead_of_the_cursor_is_no_trouble(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    author = Author(workspace_id, ISSUE)
    await typed(twin, author, "Crash")
    state = author.doc.get_update()
    await twin.save_snapshot(Snapshot(workspace_id, ISSUE, 5, 5, state, b"", author.at))
    await project_all(projector(twin, engine, ProjectorLimits(page_deltas=2)))
    found = await row(twin, workspace_id)
    assert (found.content.title, found.seq, found.version, found.content.updated_at) == ("Crash", 5, 5, author.at)


async def test_many_cold_issues_are_read_in_bounded_groups(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    limits = ProjectorLimits(projection=ProjectionLimits(loads_at_once=3, jobs_at_once=2, held_issues=4))
    authors = [Author(workspace_id, UUID(int=number)) for number in range(1, 11)]
    reader = projector(twin, engine, limits)
    for _ in range(2):
        await twin.append([author.types("x") for author in authors])
        await project_all(reader)
    rows = await twin.projected(workspace_id, [author.issue_id for author in authors])
    assert {found.content.title for found in rows.values()} == {"xx"}
    assert len(rows) == 10


async def test_several_nodes_share_the_work_without_doing_it_twice(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    deltas: list[int] = []
    done = asyncio.Event()

    def count(page: PageStats) -> None:
        deltas.append(page.deltas)
        if sum(deltas) >= 19:
            done.set()

    limits = ProjectorLimits(page_deltas=3, poll_seconds=0.01)
    nodes = [Projector(twin, InlineEngine(), limits, now=lambda: NOON, on_page=count) for _ in range(3)]
    author = Author(workspace_id, ISSUE)
    await typed(twin, author, "a long enough title")
    running = [asyncio.create_task(node.run()) for node in nodes]
    async with asyncio.timeout(10):
        await done.wait()
    await stop(*running)
    assert sum(deltas) == 19
    found = await row(twin, workspace_id)
    assert (found.content.title, found.version) == ("a long enough title", 19)


async def test_woken_it_projects_and_cancelled_it_ends(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    projected = asyncio.Event()
    limits = ProjectorLimits(settle_seconds=0.0, poll_seconds=3_600.0)
    reader = Projector(twin, engine, limits, now=lambda: NOON, on_page=lambda page: projected.set())
    running = asyncio.create_task(reader.run())
    for letter in "ab":
        await twin.append([Author(workspace_id, ISSUE, client_id=ord(letter)).types(letter)])
        reader.wake()
        async with asyncio.timeout(10):
            await projected.wait()
        projected.clear()
    await stop(running)
    assert (await row(twin, workspace_id)).version == 2


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Outage:
    """A fault for `MemoryStore`: operations of these names fail while it lasts."""

    def __init__(self, *operations: str, moment: Moment = "before") -> None:
        self.operations = operations
        self.moment = moment
        self.is_over = False
        self.failures = 0

    async def __call__(self, moment: Moment, operation: str) -> None:
        if not self.is_over and moment == self.moment and operation in self.operations:
            self.failures += 1
            raise StoreUnavailable("out")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_commit_of_unknown_outcome_is_read_again_and_counted_once(engine: InlineEngine, moment: Moment) -> None:
    store = MemoryStore()
    workspace_id = (await store.create_workspace("main", "Main")).id
    await typed(store, Author(workspace_id, ISSUE), "Crash")
    outage = Outage("commit_projection", moment=moment)
    store.fault = outage
    reader = projector(store, engine)
    assert not await reader.project_once()
    outage.is_over = True
    await until_projected(reader, store, workspace_id)
    found = await row(store, workspace_id)
    assert (found.content.title, found.version) == ("Crash", 5)
    status = await store.document(workspace_id, ISSUE)
    assert status is not None
    assert (status.version, outage.failures) == (5, 1)


async def until_projected(reader: Projector, store: Store, workspace_id: int) -> None:
    """Go round until the failure's backoff is over."""
    async with asyncio.timeout(10):
        while await cursor(store, workspace_id) < 5:
            await reader.project_once()
            await asyncio.sleep(0)


async def test_the_loop_survives_an_outage_of_the_store(engine: InlineEngine) -> None:
    store, failures, projected = MemoryStore(), asyncio.Event(), asyncio.Event()
    workspace_id = (await store.create_workspace("main", "Main")).id
    await store.append([Author(workspace_id, ISSUE).types("a")])
    outage = Outage("workspaces", "page")
    store.fault = outage
    reader = Projector(
        store,
        engine,
        QUICK,
        now=lambda: NOON,
        on_page=lambda page: projected.set(),
        on_failure=lambda name: failures.set(),
    )
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(10):
        await failures.wait()
        outage.operations = ("page",)
        failures.clear()
        await failures.wait()
        outage.is_over = True
        await projected.wait()
    await stop(running)


async def test_a_page_that_takes_too_long_gives_its_turn_back(twin: Store, workspace_id: int) -> None:
    async def forever(name: str, key: IssueKey) -> None:
        await asyncio.Event().wait()

    await twin.append([Author(workspace_id, ISSUE).types("a")])
    reader = projector(twin, InlineEngine(forever), ProjectorLimits(page_seconds=0.05))
    assert not await reader.project_once()
    assert await cursor(twin, workspace_id) == 0
    await project_all(projector(twin, InlineEngine()))
    assert (await row(twin, workspace_id)).content.title == "a"


async def test_a_corrupt_issue_is_quarantined_without_its_neighbours(
    store: PostgresStore, dsn: str, engine: InlineEngine
) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    ana, ben = Author(workspace_id, ISSUE), Author(workspace_id, OTHER)
    await store.append([ana.types("a"), ben.types("b")])
    await project_all(projector(store, engine))
    await store.append([ana.types("a"), ben.types("b")])
    await execute(dsn, "UPDATE deltas SET checksum = checksum + 1 WHERE seq = 1")
    await project_all(projector(store, InlineEngine()))
    assert (await row(store, workspace_id, OTHER)).content.title == "bb"
    (status,) = await store.quarantined()
    assert status.issue_id == ISSUE
    assert status.quarantine_reason is not None
    assert "checksum" in status.quarantine_reason


async def test_a_workspace_whose_log_is_corrupt_does_not_stop_the_others(
    store: PostgresStore, dsn: str, engine: InlineEngine
) -> None:
    sick = (await store.create_workspace("sick", "Sick")).id
    well = (await store.create_workspace("well", "Well")).id
    await store.append([Author(sick, ISSUE).types("a"), Author(well, ISSUE).types("b")])
    await execute(dsn, f"UPDATE deltas SET checksum = checksum + 1 WHERE workspace_id = {sick}")
    await project_all(projector(store, engine))
    assert (await row(store, well)).content.title == "b"
    assert await cursor(store, sick) == 0


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


GATED = default_command()
UNGATED = [sys.executable, "-m", "tests.server.ungated_engine"]


@pytest.mark.parametrize("command", [GATED, UNGATED], ids=["gated", "ungated"])
async def test_hostile_deltas_in_the_log_cost_their_own_issues_only(command: list[str]) -> None:
    """However they got there. Each of them ends with a row, where merging made it harmless, or in quarantine."""
    store = MemoryStore()
    workspace_id = (await store.create_workspace("main", "Main")).id
    updates = [*hostile.KILLING.values(), *hostile.HANGING.values(), *hostile.BREAKING.values(), hostile.MEMORY_BOMB]
    sick = [Author(workspace_id, UUID(int=number)) for number, _ in enumerate(updates, start=100)]
    well = [Author(workspace_id, UUID(int=number)) for number in range(1, 11)]
    for author, update in zip(sick, updates, strict=True):
        await store.append([author.delta(part) for part in hostile.hostile(update)])
    await store.append([author.types("well") for author in well])
    bounds = EngineLimits(
        processes=2, restart_seconds=0.001, max_restart_seconds=0.01, child=ChildLimits(memory_bytes=512 << 20)
    )
    pool = EnginePool(bounds, command=command)
    try:
        limits = ProjectorLimits(projection=ProjectionLimits(job_seconds=1.0))
        await project_all(projector(store, pool, limits))
    finally:
        await pool.close()
    quarantined = {status.issue_id for status in await store.quarantined()}
    projected = await store.projected(workspace_id, [author.issue_id for author in (*sick, *well)])
    assert all(projected[author.issue_id].content.title == "well" for author in well)
    assert quarantined <= {author.issue_id for author in sick}
    assert quarantined | projected.keys() == {author.issue_id for author in (*sick, *well)}
    assert len(quarantined) >= (len(sick) if command is UNGATED else 6)


def test_ages_are_never_negative(engine: InlineEngine) -> None:
    """Clocks of nodes differ."""
    reader = Projector(MemoryStore(), engine, QUICK, now=lambda: datetime.min.replace(tzinfo=START.tzinfo))
    author = Author(1, ISSUE).types("a")
    assert reader._age_seconds([author]) == 0.0  # type: ignore[list-item]
