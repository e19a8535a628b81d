"""Verification finds whatever was damaged, names it by workspace, issue and seq, and accuses nothing else."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from storage.compactor import Compactor, CompactorLimits
from storage.engine import IssueKey
from storage.integrity import Integrity, IssueVerified, LogVerified, holes
from storage.postgres import PostgresStore
from storage.projector import Projector, ProjectorLimits
from storage.replay import Mismatch, Scope, UnknownScope
from storage.store import Delta, Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed

ISSUE = UUID(int=1)
OTHER = UUID(int=2)
EVERYTHING = Scope()


async def lived_in(store: Store, workspace_id: int) -> None:
    """Two issues over some days: snapshots, trimmed history, tails, rows."""
    projector = Projector(store, InlineEngine(), ProjectorLimits(), now=lambda: START)
    at = START
    author, other = Author(workspace_id, ISSUE), Author(workspace_id, OTHER, client_id=8)
    compactor = Compactor(store, InlineEngine(), CompactorLimits(history_days=2.5), now=lambda: at)
    for day in range(5):
        at = START + timedelta(days=day)
        author.at = other.at = at
        await typed(store, author, f"day {day} ")
        await store.append([other.types("x")])
        while await projector.project_once():
            pass
        await compactor.compact(IssueKey(workspace_id, ISSUE))
    await typed(store, author, "tail")
    while await projector.project_once():
        pass


async def verify(store: Store, scope: Scope = EVERYTHING) -> list[LogVerified | IssueVerified]:
    return [verified async for verified in Integrity(store, InlineEngine()).run(scope)]


async def mismatches(store: Store, scope: Scope = EVERYTHING) -> list[Mismatch]:
    return [mismatch for verified in await verify(store, scope) for mismatch in verified.mismatches]


async def test_a_sound_store_has_no_mismatch(twin: Store, workspace_id: int) -> None:
    await lived_in(twin, workspace_id)
    status = await twin.document(workspace_id, ISSUE)
    assert status is not None
    assert status.floor > 0, "or the test shows less than it should"
    verified = await verify(twin)
    assert [mismatch for part in verified for mismatch in part.mismatches] == []
    assert sum(part.deltas for part in verified if isinstance(part, LogVerified)) == 39 - status.floor + 1
    assert [part.snapshots for part in verified if isinstance(part, IssueVerified)] == [4, 0]


async def test_what_is_under_way_is_no_mismatch(twin: Store, workspace_id: int) -> None:
    await lived_in(twin, workspace_id)
    await typed(twin, Author(workspace_id, UUID(int=3)), "not projected yet")
    assert await mismatches(twin) == []


async def test_an_empty_store_is_sound(twin: Store, workspace_id: int) -> None:
    assert await mismatches(twin) == []


async def test_one_issue_can_be_verified_alone(twin: Store, workspace_id: int) -> None:
    await lived_in(twin, workspace_id)
    (only,) = await verify(twin, Scope("main", OTHER))
    assert isinstance(only, IssueVerified)
    with pytest.raises(UnknownScope):
        await verify(twin, Scope("nowhere"))


@pytest.fixture
async def damaged(store: PostgresStore, dsn: str) -> Damaged:
    workspace = await store.create_workspace("main", "Main")
    await lived_in(store, workspace.id)
    return Damaged(store, dsn)


class Damaged:
    """A store with a history, to be damaged behind its back."""

    def __init__(self, store: PostgresStore, dsn: str) -> None:
        self.store = store
        self._dsn = dsn

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def found(self) -> list[tuple[UUID | None, int, str]]:
        return [(found.issue_id, found.seq, found.what) for found in await mismatches(self.store)]


async def test_a_missing_delta_is_a_hole_and_breaks_what_was_made_of_it(damaged: Damaged) -> None:
    await damaged.execute("DELETE FROM deltas WHERE seq = 30")
    found = await damaged.found()
    assert (None, 30, "log: deltas are missing") in found
    assert any(issue == ISSUE and what.startswith("snapshot") for issue, _, what in found) or any(
        issue == ISSUE and what.startswith("engine") for issue, _, what in found
    )


async def test_a_missing_end_of_the_log_is_found(damaged: Damaged) -> None:
    await damaged.execute("DELETE FROM deltas WHERE seq >= 38")
    assert (None, 38, "log: ends before its head at 39") in await damaged.found()


async def test_a_head_behind_its_log_is_found(damaged: Damaged) -> None:
    await damaged.execute("UPDATE workspaces SET head = 37")
    found = await damaged.found()
    assert (None, 39, "log: goes on past its head at 37") in found
    assert (None, 39, "projection: cursor past the head at 37") in found


async def test_a_damaged_delta_is_named_and_the_log_behind_it_still_read(damaged: Damaged) -> None:
    await damaged.execute("UPDATE deltas SET update = '\\x0000' WHERE seq IN (37, 39)")
    found = await damaged.found()
    assert [(seq, "checksum" in what) for issue, seq, what in found if issue is None] == [(37, True), (39, True)]
    assert any(issue == ISSUE and "checksum" in what for issue, _, what in found)
    assert not any(issue == OTHER for issue, _, _ in found)


async def test_a_damaged_snapshot_is_found(damaged: Damaged) -> None:
    await damaged.execute("UPDATE snapshots SET state = '\\x0000' WHERE seq = (SELECT max(seq) FROM snapshots)")
    found = await damaged.found()
    assert {issue for issue, _, _ in found} == {ISSUE}
    assert "checksum" in found[0][2]


async def test_a_sound_looking_snapshot_that_is_not_the_fold_of_the_log_is_found(
    twin: Store, workspace_id: int
) -> None:
    author, stranger = Author(workspace_id, ISSUE), Author(workspace_id, ISSUE, client_id=9)
    compactor = Compactor(twin, InlineEngine(), CompactorLimits(), now=lambda: START)
    await typed(twin, author, "abc")
    await compactor.compact(IssueKey(workspace_id, ISSUE))
    (sound,) = await twin.snapshots(workspace_id, ISSUE)
    await typed(twin, author, "d")
    stranger.types("not in the log")
    await twin.save_snapshot(
        type(sound)(workspace_id, ISSUE, 4, 4, stranger.doc.get_update(), sound.index, sound.created_at)
    )
    assert [(m.seq, m.what) for m in await mismatches(twin)] == [(4, "snapshot: state vector")]


async def test_an_index_or_version_that_does_not_belong_to_its_snapshot_is_found(
    twin: Store, workspace_id: int
) -> None:
    author = Author(workspace_id, ISSUE)
    compactor = Compactor(twin, InlineEngine(), CompactorLimits(), now=lambda: START)
    await typed(twin, author, "abc")
    await compactor.compact(IssueKey(workspace_id, ISSUE))
    (first,) = await twin.snapshots(workspace_id, ISSUE)
    state = author.doc.get_update()
    for number, (index, version) in enumerate([(first.index, 4), (first.index, 9)], start=4):
        await typed(twin, author, "d")
        state = author.doc.get_update()
        await twin.save_snapshot(type(first)(workspace_id, ISSUE, number, version, state, index, first.created_at))
    assert [(m.seq, m.what) for m in await mismatches(twin)] == [
        (4, "snapshot: index: state vector"),
        (5, "snapshot: index: state vector"),
    ]


async def test_a_row_that_is_not_its_document_is_found(damaged: Damaged) -> None:
    await damaged.execute(f"UPDATE issues SET title = 'other' WHERE id = '{OTHER}'")
    assert await damaged.found() == [(OTHER, 35, "row: title")]


@pytest.mark.parametrize(
    ("seqs", "after", "expected"),
    [([1, 2, 3], 0, []), ([3, 4], 0, [(1, 2)]), ([1, 4, 5, 9], 0, [(2, 3), (6, 8)]), ([], 7, []), ([8], 7, [])],
)
def test_holes(seqs: list[int], after: int, expected: list[tuple[int, int]]) -> None:
    page = [Delta(1, seq, ISSUE, b"", "ana", None, START) for seq in seqs]
    assert holes(page, after) == expected
