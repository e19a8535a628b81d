"""Imports into real rooms over Postgres: repeatable, resumable, reversible, and never over what people wrote since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from crdt.edits import Delete
from crdt.issue import Comment, IssueContent
from crdt.shape import Changes
from server.import_report import CHANGED, CREATED, KEPT, SKIPPED, UNCHANGED, USERS_CREATED, USERS_KEPT, ImportReport
from server.import_undo import UndoReport, undo
from server.imports import Importer, ImportLimits, ImportPlan, ImportServices
from server.permissions import Identity, Role
from server.portability.imported import ImportedIssue, ImportedUser, Item, NotReadable, Skipped
from server.portability.vocabulary import Vocabulary, rules_of
from server.record_errors import Forbidden, NotThere, Unavailable
from server.records import Records, RecordServices
from storage.database import Database, DatabaseLimits, open_database
from storage.export import User
from storage.import_ledger import ImportLedger
from storage.issue_reader import IssueReader
from storage.people import People
from storage.postgres import PostgresStore
from storage.store import Store
from tests.server.house import House, Peer, house
from tests.simulation.time import VirtualClock
from tests.storage.compacting import project

ROOT = Identity("root", "main", Role.ADMIN)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = ImportPlan("issues.json", "json")


@dataclass(frozen=True)
class Desk:
    """A node that imports."""

    home: House
    services: ImportServices

    async def bring(self, *items: Item, plan: ImportPlan = PLAN, identity: Identity = ROOT) -> ImportReport:
        fresh = replace(plan, vocabulary=replace(plan.vocabulary))
        limits = ImportLimits(group_items=3)
        return await Importer(self.services, limits).bring(self.home.workspace, identity, iter(items), fresh)

    async def undo(self, report: ImportReport) -> UndoReport:
        assert report.batch_id is not None
        await project(self.home.store)
        return await undo(
            replace(self.services, reader=Ready(self.home.store)), self.home.workspace, ROOT, report.batch_id
        )

    async def edit(self, number: int, change: Changes | Delete) -> None:
        await self.services.records.change(self.home.workspace, ROOT, UUID(int=number), change)

    async def rows(self) -> dict[UUID, IssueContent]:
        await project(self.home.store)
        ids = await self.home.store.issue_ids(self.home.workspace.id, None, 1_000)
        rows = await self.home.store.projected(self.home.workspace.id, ids)
        return {issue_id: row.content for issue_id, row in rows.items()}

    async def head(self) -> int:
        return (await self.home.store.workspaces())[0].head


class Ready(IssueReader):
    """Projects itself instead of waiting for somebody who does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def wait_for(self, workspace_id: int, seq: int, seconds: float, *, with_words: bool = False) -> bool:
        await project(self._store)
        return True


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = await open_database(dsn, DatabaseLimits(connections_max=2))
    yield database
    await database.close()


@pytest.fixture
async def desk(store: PostgresStore, database: Database) -> AsyncIterator[Desk]:
    async with house(store=store) as home:
        records = Records(RecordServices(home.hub, home.engine, VirtualClock()))
        services = ImportServices(records, ImportLedger(database), IssueReader(database), store, VirtualClock())
        yield Desk(home, services)


def issue(number: int, title: str = "", **more: object) -> ImportedIssue:
    content = replace(
        IssueContent(title=title or f"issue {number}", created_at=NOON + timedelta(minutes=number)),
        **more,  # type: ignore[arg-type]
    )
    return ImportedIssue(f"line {number}", UUID(int=number), content)


def issues(count: int) -> Sequence[ImportedIssue]:
    return [issue(number) for number in range(1, count + 1)]


async def test_what_was_brought_in_reads_as_it_was(desk: Desk) -> None:
    comment = Comment("c", "ben", NOON, None, None, "Me too")
    full = issue(1, "Slow", labels=("bug",), created_by="eve", completed_at=NOON, status="done", comments=(comment,))
    report = await desk.bring(full)
    assert report.counts == {CREATED: 1}
    row = (await desk.rows())[UUID(int=1)]
    assert replace(row, updated_at=None) == full.content
    (delta,) = await desk.home.store.tail(desk.home.workspace.id, UUID(int=1), 0)
    assert (delta.actor_id, delta.device_id) == ("root", "import")


async def test_repeating_it_writes_nothing(desk: Desk) -> None:
    await desk.bring(*issues(10))
    head = await desk.head()
    report = await desk.bring(*issues(10))
    assert report.counts == {UNCHANGED: 10}
    assert await desk.head() == head


async def test_one_that_was_cut_off_before_it_was_accounted_for_goes_on_with_its_batch(desk: Desk) -> None:
    cut = _failing(issues(5), NotReadable("line 6 is not UTF-8"))
    with pytest.raises(NotReadable):
        await Importer(desk.services, ImportLimits(group_items=3)).bring(desk.home.workspace, ROOT, cut, PLAN)
    (batch,) = await desk.services.ledger.batches(desk.home.workspace.id)
    # As if the process had died between the commit of a group and its account.
    async with desk.services.ledger._database.session("forget", desk.home.workspace.id) as connection:
        await connection.execute("DELETE FROM import_items WHERE issue_id <> $1", UUID(int=1))
    report = await desk.bring(*issues(8))
    assert report.batch_id == batch.id
    assert report.counts == {UNCHANGED: 3, CREATED: 5}
    undone = await desk.undo(report)
    assert (undone.counts["deleted"], undone.kept) == (8, [])


def _failing(items: Sequence[Item], error: Exception) -> Iterator[Item]:
    yield from items[:3]
    raise error


async def test_a_changed_row_changes_the_issue_and_one_that_was_edited_here_is_kept_and_told(desk: Desk) -> None:
    await desk.bring(*issues(3))
    await desk.edit(2, Changes(title="mine"))
    report = await desk.bring(issue(1), issue(2, "theirs"), issue(3, "theirs", status="done"))
    assert report.counts == {UNCHANGED: 1, KEPT: 1, CHANGED: 1}
    assert [(note.place, note.issue_id) for note in report.notes] == [("line 2", UUID(int=2))]
    rows = await desk.rows()
    assert [rows[UUID(int=n)].title for n in (1, 2, 3)] == ["issue 1", "mine", "theirs"]
    again = await desk.bring(issue(3, "theirs", status="done"), issue(2, "theirs"))
    assert again.counts == {UNCHANGED: 1, KEPT: 1}
    forced = await desk.bring(issue(2, "theirs"), plan=replace(PLAN, overwrites=True))
    assert forced.counts == {CHANGED: 1}


async def test_an_issue_that_was_never_imported_is_not_overwritten(desk: Desk) -> None:
    await desk.bring(issue(1), plan=replace(PLAN, name="one"))
    async with desk.services.ledger._database.session("forget", desk.home.workspace.id) as connection:
        await connection.execute("DELETE FROM import_items")
    await desk.edit(1, Changes(title="mine"))
    report = await desk.bring(issue(1))
    assert (report.counts, (await desk.rows())[UUID(int=1)].title) == ({KEPT: 1}, "mine")


async def test_whoever_has_an_issue_open_sees_the_change(desk: Desk) -> None:
    await desk.bring(issue(1, "before"))
    peer = Peer("ben")
    await desk.home.join(peer, UUID(int=1))
    await desk.bring(issue(1, "before and after"))
    assert peer.shows() == "before and after"


async def test_undo_deletes_what_nobody_touched_and_tells_the_rest(desk: Desk) -> None:
    user = User("ben", "Ben", None, NOON, NOON, None, None)
    report = await desk.bring(*issues(4), ImportedUser("users[0]", user))
    later = await desk.bring(issue(3, "changed at the source"))
    await desk.edit(2, Changes(title="mine"))
    undone = await desk.undo(report)
    assert undone.counts == {"deleted": 2, "kept": 2, "users_deleted": 1, "users_kept": 0}
    assert {issue_id.int for issue_id, _ in undone.kept} == {2, 3}
    rows = await desk.rows()
    assert {issue_id.int for issue_id, row in rows.items() if row.deleted_at} == {1, 4}
    assert (await desk.undo(report)).counts["deleted"] == 0
    assert [reason for _, reason in (await desk.undo(later)).kept] == ["the import changed it, and did not create it"]


async def test_what_was_undone_comes_back_and_can_be_undone_again(desk: Desk) -> None:
    await desk.undo(await desk.bring(*issues(2)))
    report = await desk.bring(*issues(2))
    assert report.counts == {CHANGED: 2}
    assert not any(row.deleted_at for row in (await desk.rows()).values())
    assert (await desk.undo(report)).counts["deleted"] == 2


async def test_a_dry_run_says_the_same_and_writes_nothing(desk: Desk) -> None:
    await desk.bring(*issues(3))
    await desk.edit(2, Changes(title="mine"))
    await desk.rows()
    head = await desk.head()
    file: list[Item] = [
        issue(1),
        issue(2, "theirs"),
        issue(3, "theirs"),
        issue(4),
        issue(4),
        Skipped("line 9", "not JSON"),
    ]
    dry = await desk.bring(*file, plan=replace(PLAN, is_dry=True))
    assert (await desk.head(), dry.batch_id) == (head, None)
    assert len(await desk.services.ledger.batches(desk.home.workspace.id)) == 1
    wet = await desk.bring(*file)
    assert dry.counts == wet.counts == {UNCHANGED: 1, KEPT: 1, CHANGED: 1, CREATED: 1, SKIPPED: 2}
    assert dry.notes == wet.notes


async def test_users_are_added_once_and_never_changed(desk: Desk) -> None:
    ben = User("ben", "Ben", "ben@example.org", NOON, NOON, None, None)
    assert (await desk.bring(ImportedUser("u", ben))).counts == {USERS_CREATED: 1, USERS_KEPT: 0}
    assert (await desk.bring(ImportedUser("u", replace(ben, name="Other")))).counts == {USERS_CREATED: 0, USERS_KEPT: 1}


async def test_users_of_a_file_have_no_role_until_somebody_gives_them_one(desk: Desk, database: Database) -> None:
    people, workspace = People(database), desk.home.workspace.id
    users = [ImportedUser("u", User(name, name, None, NOON, NOON, None, None)) for name in ("ben", "eve", "kim")]
    await desk.bring(users[0])
    await people.set_role(workspace, "eve", "viewer")
    report = await desk.bring(*users, plan=replace(PLAN, name="again", role=Role.MEMBER))
    assert report.batch_id is not None
    members = {member.id: member.role for member in await people.members(workspace, "", 10)}
    assert members == {"ben": None, "eve": "viewer", "kim": "member"}
    await undo(desk.services, desk.home.workspace, ROOT, report.batch_id)
    assert [member.id for member in await people.members(workspace, "", 10)] == ["ben", "eve"]


async def test_an_import_of_an_admin_makes_nobody_an_owner(desk: Desk) -> None:
    with pytest.raises(Forbidden, match="only an owner"):
        await desk.bring(issue(1), plan=replace(PLAN, role=Role.OWNER))
    assert await desk.head() == 0


async def test_words_of_another_tracker_become_ours_and_are_told(desk: Desk) -> None:
    vocabulary = Vocabulary(rules_of(["status:QA=in_progress"]))
    report = await desk.bring(
        issue(1, status="In Review", priority="P0"),
        issue(2, status="qa"),
        issue(3, status="Limbo"),
        plan=replace(PLAN, vocabulary=vocabulary),
    )
    rows = await desk.rows()
    assert [rows[UUID(int=n)].status for n in (1, 2, 3)] == ["in_progress", "in_progress", "Limbo"]
    assert rows[UUID(int=1)].priority == "urgent"
    assert report.vocabulary.mapped["status", "In Review", "in_progress"] == 1
    assert report.vocabulary.unknown == {("status", "Limbo"): 1}


async def test_what_cannot_be_written_is_skipped_with_its_place(desk: Desk) -> None:
    report = await desk.bring(issue(1, "x" * 10_001), issue(2, "\ud800"), issue(3, description="a\0"), issue(4))
    assert report.counts == {SKIPPED: 3, CREATED: 1}
    assert [note.place for note in report.notes] == ["line 1", "line 2", "line 3"]


async def test_a_purged_issue_stays_gone(desk: Desk) -> None:
    await desk.bring(issue(1), issue(2))
    await desk.edit(1, Delete())
    await desk.rows()
    await desk.home.store.purge(desk.home.workspace.id, UUID(int=1), by="system", at=NOON)
    await desk.home.relay.catch_up(desk.home.workspace.id)
    report = await desk.bring(issue(1), issue(2))
    assert report.counts == {SKIPPED: 1, UNCHANGED: 1}


async def test_only_admins_may(desk: Desk) -> None:
    member = replace(ROOT, role=Role.MEMBER)
    with pytest.raises(Forbidden):
        await desk.bring(issue(1), identity=member)
    report = await desk.bring(issue(1))
    assert report.batch_id is not None
    with pytest.raises(Forbidden):
        await undo(desk.services, desk.home.workspace, member, report.batch_id)
    with pytest.raises(NotThere):
        await undo(desk.services, desk.home.workspace, ROOT, UUID(int=9))


async def test_a_store_that_is_away_ends_it_and_what_is_in_is_accounted_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = desk.services.records.make
    calls = 0

    async def failing(*args: object, **more: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise Unavailable("not stored in time")
        return await made(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("server.imports.Backoff", _Impatient)
    monkeypatch.setattr(desk.services.records, "make", failing)
    with pytest.raises(Unavailable):
        await desk.bring(*issues(6))
    monkeypatch.undo()
    report = await desk.bring(*issues(6))
    assert report.counts[CREATED] + report.counts[UNCHANGED] == 6
    assert report.counts[UNCHANGED] >= 4


class _Impatient:
    def next_seconds(self) -> float:
        return 0.0
