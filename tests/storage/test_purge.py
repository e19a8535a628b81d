"""A purge leaves a tombstone and nothing else, and nothing that comes late brings the issue back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from storage.compactor import Compactor
from storage.conflicts import ConflictQuery, Forgotten
from storage.database import DatabaseLimits, open_database
from storage.engine import IssueKey
from storage.errors import NotPurgeable, Purged, UnknownWorkspace
from storage.integrity import Integrity
from storage.postgres import PostgresStore
from storage.projector import Projector, ProjectorLimits
from storage.purger import Purger, PurgerLimits
from storage.replay import Scope
from storage.store import NewDelta, Store
from storage.tables import tombstones
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed
from tests.storage.compacting import ISSUE, Calendar, project
from tests.storage.rows import new_delta, snapshot
from tests.storage.test_conflict_ledger import OPEN_FOUND
from tests.storage.test_postgres import until

OTHER = UUID(int=2)
LATER = START + timedelta(days=31)


async def deleted_issue(store: Store, workspace_id: int) -> Author:
    """An issue that is marked as deleted, between two edits of another one."""
    author, other = Author(workspace_id, ISSUE), Author(workspace_id, OTHER, client_id=8)
    await store.append([other.types("kept")])
    await typed(store, author, "secret")
    await store.append([author.sets("deletedAt", author.at.isoformat()), other.types(" here")])
    await project(store)
    return author


async def purge(store: Store, workspace_id: int, issue_id: UUID = ISSUE) -> int:
    return await store.purge(workspace_id, issue_id, by="system", at=LATER)


async def mismatches(store: Store) -> list[str]:
    verified = [part async for part in Integrity(store, InlineEngine()).run(Scope())]
    return [mismatch.what for part in verified for mismatch in part.mismatches]


async def test_nothing_is_left_but_a_row_of_the_log_that_says_so(twin: Store, workspace_id: int) -> None:
    await deleted_issue(twin, workspace_id)
    assert await purge(twin, workspace_id) == 10
    log = await twin.page(workspace_id, 0, 100)
    assert [(delta.seq, delta.issue_id, delta.is_tombstone) for delta in log] == [
        (1, OTHER, False),
        (9, OTHER, False),
        (10, ISSUE, True),
    ]
    assert await twin.issue_ids(workspace_id, None, 10) == [OTHER]
    assert await twin.projected(workspace_id, [ISSUE]) == {}
    assert await twin.document(workspace_id, ISSUE) is None
    assert await twin.snapshots(workspace_id, ISSUE) == []
    (stored,) = (await twin.load_many(workspace_id, [ISSUE])).values()
    assert stored.is_purged


async def test_its_conflicts_are_gone_and_whoever_follows_them_is_told(twin: Store, workspace_id: int) -> None:
    await deleted_issue(twin, workspace_id)
    for issue in (ISSUE, OTHER):
        await twin.ledger.note(workspace_id, issue, 1, [OPEN_FOUND], LATER)
    seen = await twin.ledger.changes(workspace_id, 0, 10, 10_000)
    assert [row.issue_id for row in seen.changed] == [ISSUE, OTHER]
    await purge(twin, workspace_id)
    told = await twin.ledger.changes(workspace_id, seen.through, 10, 10_000)
    assert told.changed == [Forgotten(ISSUE, told.newest)]
    assert [row.issue_id for row in await twin.ledger.page(workspace_id, ConflictQuery())] == [OTHER]
    assert [row.issue_id for row in (await twin.ledger.changes(workspace_id, 0, 10, 10_000)).changed] == [OTHER]


async def test_the_log_is_verified_with_the_holes_and_a_hole_too_many_is_still_found(
    twin: Store, workspace_id: int
) -> None:
    await deleted_issue(twin, workspace_id)
    await purge(twin, workspace_id)
    await project(twin)
    assert await mismatches(twin) == []
    assert await twin.projected_through(workspace_id) == 10
    if isinstance(twin, PostgresStore):
        async with twin._database.session("damage the log", workspace_id) as connection:
            await connection.execute("DELETE FROM deltas WHERE seq = 9")
        assert "log: deltas are missing" in await mismatches(twin)


async def test_late_edits_snapshots_rows_and_quarantines_are_refused(twin: Store, workspace_id: int) -> None:
    author = await deleted_issue(twin, workspace_id)
    late_row = (await twin.projected(workspace_id, [ISSUE]))[ISSUE]
    await purge(twin, workspace_id)
    with pytest.raises(Purged):
        await twin.append([new_delta(workspace_id, OTHER), author.types("late")])
    with pytest.raises(Purged):
        await twin.load(workspace_id, ISSUE)
    for until_seq in (None, 5):
        with pytest.raises(Purged):
            await twin.load_log(workspace_id, ISSUE, until_seq)
    with pytest.raises(Purged):
        await twin.save_snapshot(snapshot(workspace_id, 8))
    with pytest.raises(Purged):
        await purge(twin, workspace_id)
    async with twin.projection(workspace_id) as turn:
        assert turn is not None
        await turn.save([late_row], [])
    await twin.quarantine(workspace_id, ISSUE, "late")
    assert await twin.projected(workspace_id, [ISSUE]) == {}
    assert await twin.document(workspace_id, ISSUE) is None
    assert await twin.append([new_delta(workspace_id, OTHER)]) == [11], "the batch with the late edit left nothing"


async def test_what_is_not_deleted_or_was_touched_since_stays(twin: Store, workspace_id: int) -> None:
    author = await deleted_issue(twin, workspace_id)
    with pytest.raises(NotPurgeable):
        await purge(twin, workspace_id, OTHER)
    with pytest.raises(NotPurgeable):
        await purge(twin, workspace_id, UUID(int=3))
    with pytest.raises(NotPurgeable):
        await twin.purge(workspace_id, ISSUE, by="ana", at=LATER, untouched_since=author.at)
    await twin.append([author.types("more")])
    with pytest.raises(NotPurgeable):  # the projection is not past it
        await purge(twin, workspace_id)
    assert len(await twin.tail(workspace_id, ISSUE, 0)) == 8


async def test_the_purger_takes_what_is_due_by_our_clock_and_not_by_a_client_s(twin: Store, workspace_id: int) -> None:
    calendar = Calendar()
    purger = Purger(twin, PurgerLimits(), now=calendar)
    author = Author(workspace_id, ISSUE)
    await twin.append([author.types("x"), author.sets("deletedAt", "1990-01-01T00:00:00Z")])
    await project(twin)
    assert await purger.purge_due() == []
    calendar.sleep(days=30)
    assert await purger.purge_due() == [IssueKey(workspace_id, ISSUE)]
    assert await purger.purge_due() == []


async def test_zero_days_keep_everything(twin: Store, workspace_id: int) -> None:
    await deleted_issue(twin, workspace_id)
    assert await Purger(twin, PurgerLimits(after_days=0), now=lambda: LATER).purge_due() == []


async def test_a_tombstone_is_among_what_changed_and_the_projector_passes_it(twin: Store, workspace_id: int) -> None:
    await deleted_issue(twin, workspace_id)
    await purge(twin, workspace_id)
    (extent,) = await twin.changed_extents(workspace_id, 9, None, 10)
    assert (extent.issue_id, extent.seq, extent.is_purged) == (ISSUE, 10, True)
    projector = Projector(twin, InlineEngine(), ProjectorLimits(), now=lambda: LATER)
    await projector.project_once()
    assert await twin.projected(workspace_id, [ISSUE]) == {}


async def test_a_compaction_that_is_late_is_skipped(twin: Store, compactor: Compactor, workspace_id: int) -> None:
    await deleted_issue(twin, workspace_id)
    await purge(twin, workspace_id)
    assert (await compactor.compact(IssueKey(workspace_id, ISSUE))).outcome == "skipped"


@pytest.mark.parametrize("workspaces", [1, 2])
async def test_an_append_that_waited_for_a_purge_does_not_bring_the_issue_back(
    store: PostgresStore, dsn: str, workspaces: int
) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    elsewhere_too = [new_delta((await store.create_workspace("other", "Other")).id)] * (workspaces - 1)
    author = await deleted_issue(store, workspace_id)
    elsewhere = await asyncpg.connect(dsn)
    async with elsewhere.transaction():
        await tombstones.purge(elsewhere, workspace_id, ISSUE, "system", LATER, None)
        late = asyncio.create_task(store.append([author.types("late"), *elsewhere_too]))
        innocent = asyncio.create_task(another_store(dsn, [new_delta(workspace_id, OTHER), *elsewhere_too]))
        await until(dsn, "SELECT count(*) = 2 FROM pg_locks WHERE NOT granted")
    await elsewhere.close()
    with pytest.raises(Purged):
        await late
    assert await innocent == [11, 1][:workspaces], "it is made again with a newer view"
    assert await store.tail(workspace_id, ISSUE, 10) == []


async def another_store(dsn: str, batch: Sequence[NewDelta]) -> list[int]:
    store = PostgresStore(await open_database(dsn, DatabaseLimits(connections_max=1)))
    try:
        return await store.append(batch)
    finally:
        await store.close()


async def test_a_purge_sees_an_edit_that_came_in_between(store: PostgresStore, dsn: str) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    author = await deleted_issue(store, workspace_id)
    writer = await asyncpg.connect(dsn)
    async with writer.transaction():
        await writer.execute("UPDATE workspaces SET head = head + 1")
        await writer.execute(
            "INSERT INTO deltas SELECT workspace_id, 10, issue_id, created_at, checksum, actor_id, device_id, update"
            " FROM deltas WHERE issue_id = $1 LIMIT 1",
            ISSUE,
        )
        purging = asyncio.create_task(purge(store, workspace_id))
        await until(dsn, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    await writer.close()
    with pytest.raises(NotPurgeable):
        await purging
    assert len(await store.tail(workspace_id, author.issue_id, 0)) == 8, "nothing was deleted"


async def test_an_unknown_workspace_is_still_told_apart(store: PostgresStore) -> None:
    with pytest.raises(UnknownWorkspace):
        await store.append([new_delta(99)])


async def test_every_table_that_names_an_issue_is_cleared(store: PostgresStore, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'issue_id'"
    )
    await connection.close()
    cleared = {table for table, _ in tombstones.HOLDERS} | {"conflicts", "deltas", "tombstones"}
    assert {row["table_name"] for row in rows} <= cleared
