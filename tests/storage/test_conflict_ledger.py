"""What `storage/conflicts.py` promises, held against both stores: with the append, after it, and once it is settled."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from storage.conflicts import (
    CREATE_CREATE,
    LAST_WRITE_WINS,
    LOSING,
    MERGE_FIELDS,
    OPEN,
    RESOLVED,
    STANDING,
    SUPERSEDED,
    SYSTEM,
    UPDATE_DELETE,
    UPDATE_UPDATE,
    USER_DECISION,
    VALUE,
    Conflict,
    ConflictQuery,
    Forgotten,
    NewConflict,
    Place,
    Settlement,
    Side,
    Strategy,
    conflict_id,
)
from storage.errors import UnknownWorkspace
from storage.store import Store
from tests.storage.rows import ISSUE, NOON, OTHER_ISSUE, new_delta

ANA = Side("7:3", "done", "ana", "laptop", NOON)
BOB = Side("9:1", "blocked", "bob", None, NOON - timedelta(minutes=1))
FOUND = NewConflict(UPDATE_UPDATE, "status", standing=ANA, losing=BOB)
OPEN_FOUND = replace(FOUND, otherwise=USER_DECISION)
OPEN_FOUND_ELSEWHERE = replace(OPEN_FOUND, field="priority")
EVERYTHING = ConflictQuery()


@pytest.fixture
async def workspace(twin: Store) -> int:
    return (await twin.create_workspace("main", "Main")).id


async def append(store: Store, workspace_id: int, *found: NewConflict, issue_id: UUID = ISSUE) -> int:
    (seq,) = await store.append([new_delta(workspace_id, issue_id)._replace(conflicts=found)])
    return seq


async def rows(store: Store, workspace_id: int, query: ConflictQuery = EVERYTHING) -> list[Conflict]:
    return await store.ledger.page(workspace_id, query)


class TestRecording:
    async def test_a_conflict_is_recorded_with_its_delta(self, twin: Store, workspace: int) -> None:
        plain, found = new_delta(workspace), new_delta(workspace, OTHER_ISSUE)._replace(conflicts=[FOUND])
        assert await twin.append([plain, found, plain]) == [1, 2, 3]
        [row] = await rows(twin, workspace)
        assert (row.issue_id, row.seq, row.kind, row.field) == (OTHER_ISSUE, 2, UPDATE_UPDATE, "status")
        assert (row.standing, row.losing) == (ANA, BOB)
        assert row.id == conflict_id(OTHER_ISSUE, UPDATE_UPDATE, "status", "9:1")
        assert row.created_at == NOON
        assert await twin.ledger.one(workspace, row.id) == row

    async def test_an_append_that_fails_records_nothing(self, twin: Store, workspace: int) -> None:
        with pytest.raises(UnknownWorkspace):
            await twin.append([new_delta(workspace)._replace(conflicts=[FOUND]), new_delta(999)])
        assert await rows(twin, workspace) == []
        assert await append(twin, workspace, FOUND) == 1

    async def test_the_same_loser_is_recorded_once(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, FOUND, FOUND)
        await append(twin, workspace, replace(FOUND, standing=replace(ANA, key="8:8", value="else")))
        await twin.ledger.note(workspace, ISSUE, 1, [FOUND], NOON)
        [row] = await rows(twin, workspace)
        assert (row.seq, row.standing) == (1, ANA)

    async def test_what_is_found_later_is_noted_alone(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace)
        await twin.ledger.note(workspace, ISSUE, 1, [FOUND, replace(FOUND, field="priority")], NOON)
        assert {(row.seq, row.field) for row in await rows(twin, workspace)} == {(1, "status"), (1, "priority")}

    @pytest.mark.parametrize("value", [None, "", "NUL \0 and \u2028", 1.5, True, {"title": "x", "labels": ["a"]}])
    async def test_values_come_back_as_they_were(self, twin: Store, workspace: int, value: object) -> None:
        await append(twin, workspace, replace(FOUND, losing=replace(BOB, value=value)))
        [row] = await rows(twin, workspace)
        assert row.losing.value == value

    async def test_sides_may_lack_device_and_clock(self, twin: Store, workspace: int) -> None:
        bare = Side("1:1", "x", "")
        await append(twin, workspace, replace(FOUND, standing=bare))
        [row] = await rows(twin, workspace)
        assert row.standing == bare

    async def test_a_loser_whose_author_changed_it_since_is_superseded(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, OPEN_FOUND)
        again = replace(OPEN_FOUND, losing=replace(BOB, key="9:2", value="later"), supersedes="9:1")
        await append(twin, workspace, again)
        first, second = await rows(twin, workspace)
        assert (first.state, first.resolution, first.resolved_by) == (RESOLVED, SUPERSEDED, "bob")
        assert (second.state, second.losing.value) == (OPEN, "later")


class TestStrategies:
    @pytest.mark.parametrize(
        ("kind", "strategy"),
        [(UPDATE_UPDATE, LAST_WRITE_WINS), (UPDATE_DELETE, USER_DECISION), (CREATE_CREATE, USER_DECISION)],
    )
    async def test_each_kind_has_a_default(self, twin: Store, workspace: int, kind: object, strategy: Strategy) -> None:
        await append(twin, workspace, replace(FOUND, kind=kind))  # type: ignore[arg-type]
        [row] = await rows(twin, workspace)
        assert row.strategy == strategy

    async def test_the_workspace_decides_by_field_then_for_every_field(self, twin: Store, workspace: int) -> None:
        await twin.ledger.set_policy(workspace, {"status": MERGE_FIELDS, "*": USER_DECISION})
        found = [replace(FOUND, field=field) for field in ("status", "priority")]
        deleted = replace(FOUND, kind=UPDATE_DELETE, field="deleted_at", otherwise=MERGE_FIELDS)
        await append(twin, workspace, *found, deleted)
        strategies = {row.field: row.strategy for row in await rows(twin, workspace)}
        assert strategies == {"status": MERGE_FIELDS, "priority": USER_DECISION, "deleted_at": MERGE_FIELDS}

    async def test_a_policy_is_replaced_and_is_one_workspaces(self, twin: Store, workspace: int) -> None:
        other = (await twin.create_workspace("other", "Other")).id
        await twin.ledger.set_policy(workspace, {"status": MERGE_FIELDS, "*": USER_DECISION})
        await twin.ledger.set_policy(workspace, {"status": USER_DECISION, "priority": LAST_WRITE_WINS})
        assert await twin.ledger.policy(workspace) == {"status": USER_DECISION, "priority": LAST_WRITE_WINS}
        assert await twin.ledger.policy(other) == {}
        await twin.ledger.set_policy(workspace, {})
        assert await twin.ledger.policy(workspace) == {}

    @pytest.mark.parametrize("minutes", [-1, 0, 1, None])
    async def test_the_last_write_stands_at_once_and_an_older_one_waits_for_its_edit(
        self, twin: Store, workspace: int, minutes: int | None
    ) -> None:
        at = None if minutes is None else NOON + timedelta(minutes=minutes)
        await append(twin, workspace, replace(FOUND, losing=replace(BOB, at=at)))
        [row] = await rows(twin, workspace)
        if minutes == 1:
            assert (row.state, row.resolution, row.resolved_by, row.resolved_at) == (OPEN, None, None, None)
            assert await twin.ledger.unsettled(10, NOON) == [row]
        else:
            assert (row.state, row.resolution, row.resolved_by, row.resolved_at) == (RESOLVED, STANDING, SYSTEM, NOON)
            assert await twin.ledger.unsettled(10, NOON) == []

    async def test_merging_is_its_own_decision_and_a_persons_waits(self, twin: Store, workspace: int) -> None:
        merged = replace(FOUND, field="priority", otherwise=MERGE_FIELDS)
        await append(twin, workspace, merged, OPEN_FOUND)
        states = {row.field: (row.state, row.resolution) for row in await rows(twin, workspace)}
        assert states == {"priority": (RESOLVED, STANDING), "status": (OPEN, None)}
        assert await twin.ledger.unsettled(10, NOON) == []


class TestSettling:
    async def test_how_it_ended_is_noted(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, OPEN_FOUND)
        [row] = await rows(twin, workspace)
        settled = await twin.ledger.settle(workspace, row.id, Settlement(VALUE, "ana", NOON, "ready"))
        ended: dict[str, Any] = {
            "resolution": VALUE,
            "resolved_value": "ready",
            "resolved_by": "ana",
            "resolved_at": NOON,
        }
        assert settled is not None
        assert settled == replace(row, state=RESOLVED, **ended, change=settled.change)
        assert settled.change > row.change
        assert await twin.ledger.one(workspace, row.id) == settled

    async def test_of_two_people_the_first_counts(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, OPEN_FOUND)
        [row] = await rows(twin, workspace)
        first = await twin.ledger.settle(workspace, row.id, Settlement(LOSING, "ana", NOON))
        assert await twin.ledger.settle(workspace, row.id, Settlement(STANDING, "bob", NOON)) == first
        assert await twin.ledger.settle(workspace, row.id, Settlement(STANDING, SYSTEM, NOON)) == first

    async def test_a_person_may_change_what_the_system_decided(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, FOUND)
        [row] = await rows(twin, workspace)
        assert await twin.ledger.settle(workspace, row.id, Settlement(LOSING, SYSTEM, NOON)) == row
        settled = await twin.ledger.settle(workspace, row.id, Settlement(LOSING, "ana", NOON))
        assert settled is not None
        assert (settled.resolution, settled.resolved_by) == (LOSING, "ana")

    async def test_one_at_a_time_decides_it(self, twin: Store, workspace: int) -> None:
        newer = replace(FOUND, losing=replace(BOB, at=NOON + timedelta(minutes=1)))
        await append(twin, workspace, newer)
        [row] = await rows(twin, workspace)
        ledger, soon, late = twin.ledger, NOON + timedelta(seconds=30), NOON + timedelta(seconds=31)
        assert await ledger.claim(workspace, row.id, NOON, soon) == row
        assert await ledger.claim(workspace, row.id, NOON, soon) is None
        await ledger.release(workspace, row.id)
        assert await ledger.claim(workspace, row.id, NOON, soon) == row
        assert (await ledger.unsettled(10, NOON), await ledger.unsettled(10, late)) == ([], [row])
        assert await ledger.claim(workspace, row.id, late, late + timedelta(seconds=30)) == row
        await ledger.settle(workspace, row.id, Settlement(LOSING, SYSTEM, late))
        assert await ledger.claim(workspace, row.id, late, late + timedelta(seconds=30)) is not None
        assert await ledger.claim(workspace, UUID(int=5), NOON, soon) is None

    async def test_an_unknown_one_is_none(self, twin: Store, workspace: int) -> None:
        assert await twin.ledger.settle(workspace, UUID(int=5), Settlement(LOSING, "ana", NOON)) is None
        assert await twin.ledger.one(workspace, UUID(int=5)) is None


class TestListing:
    async def test_it_is_filtered_paged_and_one_workspaces(self, twin: Store, workspace: int) -> None:
        other = (await twin.create_workspace("other", "Other")).id
        await append(twin, other, FOUND)
        for issue, field in ((ISSUE, "status"), (OTHER_ISSUE, "status"), (ISSUE, "priority")):
            await append(twin, workspace, replace(OPEN_FOUND, field=field), issue_id=issue)
        everything = await rows(twin, workspace)
        assert [row.seq for row in everything] == [1, 2, 3]
        await twin.ledger.settle(workspace, everything[0].id, Settlement(LOSING, "ana", NOON))

        async def seqs(query: ConflictQuery) -> list[int]:
            return [row.seq for row in await rows(twin, workspace, query)]

        assert await seqs(ConflictQuery(state=OPEN)) == [2, 3]
        assert await seqs(ConflictQuery(state=RESOLVED)) == [1]
        assert await seqs(ConflictQuery(issue_id=ISSUE)) == [1, 3]
        assert await seqs(ConflictQuery(kind=UPDATE_DELETE)) == []
        assert await seqs(ConflictQuery(limit=1)) == [1]
        assert await seqs(ConflictQuery(limit=1, after=Place(1, everything[0].id))) == [2]


class TestChanges:
    """Every change of a row has a number, in the order of commits."""

    async def followed(self, store: Store, workspace_id: int, after: int, limit: int = 100) -> tuple[list[object], int]:
        """(id or issue, state) of what changed, page by page, and the cursor behind it."""
        told: list[object] = []
        while True:
            page = await store.ledger.changes(workspace_id, after, limit, 1_000_000)
            told += [(each.issue_id, "forgotten") if isinstance(each, Forgotten) else (each.id, each.state)
                     for each in page.changed]  # fmt: skip
            numbers = [each.change for each in page.changed]
            assert numbers == sorted(set(numbers))
            assert all(after < number <= page.through <= page.newest for number in numbers)
            after = page.through
            if after == page.newest:
                assert await store.ledger.newest_change(workspace_id) == after
                return told, after

    async def test_whoever_begins_is_told_what_is_open(self, twin: Store, workspace: int) -> None:
        assert await self.followed(twin, workspace, 0) == ([], 0)
        await append(twin, workspace, FOUND, OPEN_FOUND_ELSEWHERE)
        told, cursor = await self.followed(twin, workspace, 0)
        assert told == [(conflict_id(ISSUE, UPDATE_UPDATE, "priority", "9:1"), OPEN)]
        assert await self.followed(twin, workspace, cursor) == ([], cursor)

    async def test_each_change_comes_after_the_last_cursor(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, OPEN_FOUND)
        [row] = await rows(twin, workspace)
        _, cursor = await self.followed(twin, workspace, 0)
        await twin.ledger.note(workspace, OTHER_ISSUE, 1, [OPEN_FOUND], NOON)
        told, cursor = await self.followed(twin, workspace, cursor)
        assert told == [(conflict_id(OTHER_ISSUE, UPDATE_UPDATE, "status", "9:1"), OPEN)]
        await twin.ledger.settle(workspace, row.id, Settlement(LOSING, "ana", NOON))
        told, cursor = await self.followed(twin, workspace, cursor)
        assert told == [(row.id, RESOLVED)]

    async def test_what_is_superseded_has_changed(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, OPEN_FOUND)
        _, cursor = await self.followed(twin, workspace, 0)
        newer = replace(OPEN_FOUND, losing=replace(BOB, key="9:2", value="later"), supersedes="9:1")
        await append(twin, workspace, newer)
        told, _ = await self.followed(twin, workspace, cursor)
        before, after = (conflict_id(ISSUE, UPDATE_UPDATE, "status", key) for key in ("9:1", "9:2"))
        assert told == [(before, RESOLVED), (after, OPEN)]

    async def test_what_changed_nothing_moves_nobody(self, twin: Store, workspace: int) -> None:
        await append(twin, workspace, OPEN_FOUND)
        _, cursor = await self.followed(twin, workspace, 0)
        await append(twin, workspace, OPEN_FOUND)
        assert (await self.followed(twin, workspace, cursor))[0] == []

    @pytest.mark.parametrize("limit", [1, 2, 3])
    async def test_pages_are_bounded_and_leave_nothing_out(self, twin: Store, workspace: int, limit: int) -> None:
        for field in ("status", "priority", "user_id"):
            await append(twin, workspace, replace(OPEN_FOUND, field=field))
            await append(twin, workspace, replace(FOUND, field=field), issue_id=OTHER_ISSUE)
        told, _ = await self.followed(twin, workspace, 0, limit)
        fields = ("status", "priority", "user_id")
        assert told[:3][0] == (conflict_id(ISSUE, UPDATE_UPDATE, "status", "9:1"), OPEN)
        assert {each for each in told if each[1] == OPEN} == {  # type: ignore[index]
            (conflict_id(ISSUE, UPDATE_UPDATE, field, "9:1"), OPEN) for field in fields
        }
        page = await twin.ledger.changes(workspace, 0, limit, 1)
        assert len(page.changed) == 1, "one at least, and no more than the bytes allow"

    async def test_workspaces_count_for_themselves(self, twin: Store, workspace: int) -> None:
        other = (await twin.create_workspace("other", "Other")).id
        await append(twin, workspace, OPEN_FOUND)
        assert await self.followed(twin, other, 0) == ([], 0)
        both = [
            new_delta(each)._replace(conflicts=[replace(OPEN_FOUND, field="priority")]) for each in (workspace, other)
        ]
        await twin.append(both)
        for each, count in ((workspace, 2), (other, 1)):
            assert len((await self.followed(twin, each, 0))[0]) == count
