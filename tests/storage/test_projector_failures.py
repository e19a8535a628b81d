"""Whatever an engine, the store or the log itself does, the projector passes it over or comes back to it."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

import pytest

from server import bounds
from server.config import Settings
from server.engine import EngineLimits, EnginePool
from server.engine_child import ChildLimits, default_command
from storage.database import open_database
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore, Moment
from storage.postgres import PostgresStore
from storage.projection import ProjectionLimits
from storage.projector import Projector, ProjectorLimits
from storage.store import Store
from tests import hostile
from tests.conftest import execute
from tests.inline_engine import InlineEngine
from tests.storage.authors import Author, typed
from tests.storage.projecting import ISSUE, NOON, OTHER, QUICK, cursor, project_all, projector, row, stop

GATED = default_command()
UNGATED = [sys.executable, "-m", "tests.server.ungated_engine"]


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
    # Whether the memory bomb, the last of them, goes off depends on what its process did before.
    assert len(quarantined) >= (len(sick) - 1 if command is UNGATED else 6)


async def test_three_workspaces_are_projected_with_the_fewest_connections_a_node_may_have(
    dsn: str, engine: InlineEngine
) -> None:
    settings = Settings(max_database_connections=4)
    store = PostgresStore(await open_database(dsn, bounds.of_database(settings)))
    try:
        made = [(await store.create_workspace(slug, slug)).id for slug in ("one", "two", "three")]
        await store.append([Author(workspace, ISSUE).types("a") for workspace in made])
        failures: list[str] = []
        reader = Projector(store, engine, bounds.of_projector(settings), now=lambda: NOON, on_failure=failures.append)
        await project_all(reader)
        assert not failures
        assert [await cursor(store, workspace) for workspace in made] == [1, 1, 1]
    finally:
        await store.close()
