"""What `storage/store.py` promises, held against both stores."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from crdt.issue import IssueContent
from storage.errors import Overtaken, Trimmed, UnknownWorkspace
from storage.store import IssueDeltas, IssueExtent, Mark, ProjectedIssue, Store, StoredIssue
from tests.storage.rows import ISSUE, NOON, OTHER_ISSUE, comment, new_delta, projected, snapshot

UNKNOWN_WORKSPACE = 999


@pytest.fixture
async def workspace(twin: Store) -> int:
    return (await twin.create_workspace("main", "Main")).id


async def project(store: Store, workspace_id: int, *rows: ProjectedIssue) -> None:
    """One turn: everything past the cursor is counted, `rows` are saved."""
    async with store.projection(workspace_id) as turn:
        assert turn is not None
        await turn.save(rows, await store.page_by_issue(workspace_id, turn.cursor, 1000))


class TestWorkspaces:
    async def test_a_new_one_is_empty(self, twin: Store) -> None:
        created = await twin.create_workspace("main", "Main")
        assert (created.slug, created.name, created.head, created.floor) == ("main", "Main", 0, 0)
        assert await twin.workspace("main") == created

    async def test_creating_it_again_returns_the_one_that_is_there(self, twin: Store) -> None:
        created = await twin.create_workspace("main", "Main")
        assert await twin.create_workspace("main", "Other name") == created

    async def test_created_by_many_at_once_it_is_still_one(self, twin: Store) -> None:
        created = await asyncio.gather(*(twin.create_workspace("main", "Main") for _ in range(4)))
        assert len(set(created)) == 1
        assert await twin.workspaces() == created[:1]

    async def test_an_unknown_slug_is_none(self, twin: Store) -> None:
        assert await twin.workspace("nobody") is None

    async def test_epochs_differ(self, twin: Store) -> None:
        one, other = await twin.create_workspace("one", "One"), await twin.create_workspace("other", "Other")
        assert one.epoch != other.epoch


class TestAppend:
    async def test_numbers_deltas_densely_from_one(self, twin: Store, workspace: int) -> None:
        assert await twin.append([new_delta(workspace), new_delta(workspace, OTHER_ISSUE)]) == [1, 2]
        assert await twin.append([new_delta(workspace)]) == [3]

    async def test_takes_a_delta_right_after_what_it_names_or_not_at_all(self, twin: Store, workspace: int) -> None:
        first, other = new_delta(workspace), new_delta(workspace, OTHER_ISSUE)
        assert await twin.append([first._replace(after=0), other]) == [1, 2]
        assert await twin.append([first._replace(after=1), other]) == [3, 4]
        with pytest.raises(Overtaken):
            await twin.append([other, first._replace(after=1)])
        assert await twin.version(workspace, ISSUE) == (2, 3)
        assert await twin.version(workspace, OTHER_ISSUE) == (2, 4)

    async def test_commits_a_marked_delta_once(self, twin: Store, workspace: int) -> None:
        marked = new_delta(workspace)._replace(mark=Mark("ana", "k", ("made",)))
        other = marked._replace(issue_id=OTHER_ISSUE)
        assert await twin.append([new_delta(workspace), marked, other]) == [1, 2, 3]
        with pytest.raises(Overtaken):
            await twin.append([new_delta(workspace), marked])
        assert await twin.append([marked._replace(mark=Mark("ben", "k", ("made",)))]) == [4]

    async def test_the_version_counts_what_a_snapshot_holds_and_what_is_trimmed(
        self, twin: Store, workspace: int
    ) -> None:
        assert await twin.version(workspace, ISSUE) == (0, 0)
        await twin.append([new_delta(workspace)] * 3)
        await project(twin, workspace)
        await twin.save_snapshot(snapshot(workspace, 3))
        await twin.trim(workspace, ISSUE, 3)
        counted = (await twin.load(workspace, ISSUE)).version
        assert await twin.version(workspace, ISSUE) == (counted, 3)
        await twin.append([new_delta(workspace)])
        assert await twin.version(workspace, ISSUE) == (counted + 1, 4)
        with pytest.raises(Overtaken):
            await twin.append([new_delta(workspace)._replace(after=2)])

    async def test_moves_the_head(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        assert [w.head for w in await twin.workspaces()] == [3]

    async def test_each_workspace_has_its_own_sequence(self, twin: Store, workspace: int) -> None:
        other = (await twin.create_workspace("other", "Other")).id
        mixed = [new_delta(w) for w in (workspace, other, other, workspace, other)]
        assert await twin.append(mixed) == [1, 1, 2, 2, 3]

    async def test_what_was_written_is_read_back(self, twin: Store, workspace: int) -> None:
        written = new_delta(workspace, update=bytes(range(256)) * 100, device="phone")
        await twin.append([written])
        [read] = await twin.page(workspace, 0, 10)
        assert (read.workspace_id, read.seq, read.issue_id, read.update) == (workspace, 1, ISSUE, written.update)
        assert (read.actor_id, read.device_id, read.created_at) == ("ana", "phone", NOON)

    async def test_nothing_to_append_is_nothing_done(self, twin: Store, workspace: int) -> None:
        assert await twin.append([]) == []
        assert [w.head for w in await twin.workspaces()] == [0]

    async def test_one_unknown_workspace_commits_nothing(self, twin: Store, workspace: int) -> None:
        with pytest.raises(UnknownWorkspace):
            await twin.append([new_delta(workspace), new_delta(UNKNOWN_WORKSPACE)])
        assert await twin.page(workspace, 0, 10) == []
        assert await twin.append([new_delta(workspace)]) == [1]

    async def test_concurrent_batches_stay_dense_and_adjacent(self, twin: Store, workspace: int) -> None:
        batches = await asyncio.gather(*(twin.append([new_delta(workspace)] * 3) for _ in range(10)))
        assert sorted(seq for batch in batches for seq in batch) == list(range(1, 31))
        assert all(batch == list(range(batch[0], batch[0] + 3)) for batch in batches)


class TestLoad:
    async def test_an_issue_nobody_wrote_is_empty(self, twin: Store, workspace: int) -> None:
        stored = await twin.load(workspace, ISSUE)
        assert stored == StoredIssue(None, [])
        assert (stored.seq, stored.version, stored.updates) == (0, 0, [])

    async def test_without_a_snapshot_it_is_the_whole_log_of_the_issue(self, twin: Store, workspace: int) -> None:
        await twin.append(
            [new_delta(workspace, issue, b"%d" % n) for n, issue in enumerate([ISSUE, OTHER_ISSUE, ISSUE])]
        )
        stored = await twin.load(workspace, ISSUE)
        assert stored.snapshot is None
        assert [(d.seq, d.update) for d in stored.tail] == [(1, b"0"), (3, b"2")]
        assert (stored.seq, stored.version) == (3, 2)

    async def test_it_is_the_newest_snapshot_and_what_came_after(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 4)
        await twin.save_snapshot(snapshot(workspace, 2))
        await twin.save_snapshot(snapshot(workspace, 3))
        stored = await twin.load(workspace, ISSUE)
        assert stored.snapshot == snapshot(workspace, 3)
        assert [d.seq for d in stored.tail] == [4]
        assert (stored.seq, stored.version) == (4, 4)

    async def test_a_snapshot_of_everything_leaves_no_tail(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 2)
        await twin.save_snapshot(snapshot(workspace, 2))
        stored = await twin.load(workspace, ISSUE)
        assert (stored.snapshot, list(stored.tail)) == (snapshot(workspace, 2), [])

    async def test_many_at_once_each_get_their_own(self, twin: Store, workspace: int) -> None:
        unwritten = UUID(int=3)
        await twin.append([new_delta(workspace, issue) for issue in (ISSUE, OTHER_ISSUE, ISSUE)])
        await twin.save_snapshot(snapshot(workspace, 1))
        loaded = await twin.load_many(workspace, [OTHER_ISSUE, ISSUE, unwritten])
        assert loaded == {issue: await twin.load(workspace, issue) for issue in (ISSUE, OTHER_ISSUE, unwritten)}

    async def test_another_workspace_with_the_same_issue_id_is_another_issue(self, twin: Store, workspace: int) -> None:
        other = (await twin.create_workspace("other", "Other")).id
        await twin.append([new_delta(workspace, update=b"ours"), new_delta(other, update=b"theirs")])
        assert (await twin.load(workspace, ISSUE)).updates == [b"ours"]
        assert await twin.load(UNKNOWN_WORKSPACE, ISSUE) == StoredIssue(None, [])


class TestLog:
    async def test_a_page_is_bounded_and_starts_after_the_cursor(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 5)
        assert [d.seq for d in await twin.page(workspace, 1, 3)] == [2, 3, 4]
        assert [d.seq for d in await twin.page(workspace, 4, 3)] == [5]
        assert await twin.page(workspace, 5, 3) == []

    async def test_a_page_is_bounded_in_bytes_and_never_empty_for_it(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace, update=b"x" * size) for size in (10, 4, 4, 4)])
        assert [d.seq for d in await twin.page(workspace, 0, 9, max_bytes=5)] == [1]
        assert [d.seq for d in await twin.page(workspace, 1, 9, max_bytes=8)] == [2, 3]

    async def test_a_page_by_issue_holds_the_deltas_of_the_page(self, twin: Store, workspace: int) -> None:
        issues = (OTHER_ISSUE, ISSUE, OTHER_ISSUE, ISSUE, ISSUE)
        await twin.append(
            [
                new_delta(workspace, issue, update=bytes([n]))._replace(created_at=NOON - timedelta(seconds=n))
                for n, issue in enumerate(issues)
            ]
        )
        page = await twin.page(workspace, 1, 3)
        assert await twin.page_by_issue(workspace, 1, 3) == [
            IssueDeltas(ISSUE, [2, 4], [b"\1", b"\3"], page[0].created_at, page[2].created_at),
            IssueDeltas(OTHER_ISSUE, [3], [b"\2"], page[1].created_at, page[1].created_at),
        ]
        assert await twin.page_by_issue(workspace, 5, 3) == []

    async def test_a_tail_is_one_issues(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace, issue) for issue in (ISSUE, ISSUE, OTHER_ISSUE, ISSUE)])
        assert [d.seq for d in await twin.tail(workspace, ISSUE, 1)] == [2, 4]

    async def test_untrimmed_it_is_loaded_from_the_first_edit(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        await twin.save_snapshot(snapshot(workspace, 2))
        log = await twin.load_log(workspace, ISSUE)
        assert (log.snapshot, [d.seq for d in log.tail]) == (None, [1, 2, 3])

    async def test_trimmed_it_is_loaded_from_the_snapshot_at_the_floor(self, twin: Store, workspace: int) -> None:
        await trimmed_at_two(twin, workspace)
        log = await twin.load_log(workspace, ISSUE)
        assert (log.snapshot, [d.seq for d in log.tail]) == (snapshot(workspace, 2), [3, 4, 5])

    async def test_until_a_seq_it_starts_at_the_nearest_snapshot(self, twin: Store, workspace: int) -> None:
        await trimmed_at_two(twin, workspace)
        between = await twin.load_log(workspace, ISSUE, until=3)
        assert (between.snapshot, [d.seq for d in between.tail]) == (snapshot(workspace, 2), [3])
        late = await twin.load_log(workspace, ISSUE, until=5)
        assert (late.snapshot, [d.seq for d in late.tail]) == (snapshot(workspace, 4), [5])

    async def test_below_the_floor_there_is_no_history(self, twin: Store, workspace: int) -> None:
        await trimmed_at_two(twin, workspace)
        with pytest.raises(Trimmed):
            await twin.load_log(workspace, ISSUE, until=1)

    async def test_issue_ids_are_listed_projected_or_not(self, twin: Store, workspace: int) -> None:
        ids = [UUID(int=n) for n in (5, 3, 4, 1)]
        await twin.append([new_delta(workspace, issue) for issue in ids[:2]])
        await project(twin, workspace)
        await twin.append([new_delta(workspace, issue) for issue in ids])
        assert await twin.issue_ids(workspace, None, 10) == sorted(ids)
        assert await twin.issue_ids(workspace, None, 2) == sorted(ids)[:2]
        assert await twin.issue_ids(workspace, UUID(int=3), 10) == [UUID(int=4), UUID(int=5)]
        assert await twin.issue_ids(UNKNOWN_WORKSPACE, None, 10) == []
        assert await twin.issue_count(workspace) == len(ids)
        assert await twin.issue_count(UNKNOWN_WORKSPACE) == 0

    async def test_extents_say_how_far_issues_go_and_how_big_they_are(self, twin: Store, workspace: int) -> None:
        await trimmed_at_two(twin, workspace)
        newest = len(snapshot(workspace, 4).state) + len(b"update")
        assert await twin.changed_extents(workspace, 0, None, 9) == [IssueExtent(ISSUE, 5, newest)]
        await twin.append([new_delta(workspace, UUID(int=9), b"abc"), new_delta(workspace, UUID(int=8), b"d")])
        unprojected = [IssueExtent(UUID(int=8), 7, 1), IssueExtent(UUID(int=9), 6, 3)]
        assert await twin.changed_extents(workspace, 0, ISSUE, 9) == unprojected
        assert await twin.changed_extents(workspace, 0, None, 1) == [IssueExtent(ISSUE, 5, newest)]
        assert await twin.changed_extents(UNKNOWN_WORKSPACE, 0, None, 9) == []

    async def test_extents_are_of_what_changed_projected_or_not(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace, UUID(int=n)) for n in (1, 2, 1)])
        await project(twin, workspace)
        await twin.append([new_delta(workspace, UUID(int=n)) for n in (3, 3, 3, 2)])

        async def changed(since: int, after: UUID | None = None, limit: int = 9) -> list[tuple[int, int]]:
            found = await twin.changed_extents(workspace, since, after, limit)
            return [(extent.issue_id.int, extent.seq) for extent in found]

        assert await changed(2) == [(1, 3), (2, 7), (3, 6)]
        assert await changed(3) == await changed(5) == [(2, 7), (3, 6)]
        assert await changed(6) == [(2, 7)]
        assert await changed(7) == []
        assert await changed(0, None, 2) == [(1, 3), (2, 7)]
        assert await changed(0, UUID(int=2)) == [(3, 6)]

    async def test_an_issue_that_is_only_under_quarantine_has_no_extent(self, twin: Store, workspace: int) -> None:
        await twin.quarantine(workspace, ISSUE, "for a test")
        assert await twin.changed_extents(workspace, 0, None, 9) == []


async def trimmed_at_two(store: Store, workspace: int) -> None:
    """Five deltas, snapshots at 2 and 4, trimmed through 2."""
    await store.append([new_delta(workspace)] * 5)
    await project(store, workspace)
    await store.save_snapshot(snapshot(workspace, 2))
    await store.save_snapshot(snapshot(workspace, 4))
    assert await store.trim(workspace, ISSUE, 2) == 2


class TestProjection:
    async def test_starts_at_zero_and_moves_with_what_is_saved(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 2)
        async with twin.projection(workspace) as turn:
            assert turn is not None
            assert turn.cursor == 0
            await turn.save([], await twin.page_by_issue(workspace, 0, 10))
            assert turn.cursor == 2
        async with twin.projection(workspace) as turn:
            assert turn is not None
            assert turn.cursor == 2
        assert await twin.projected_through(workspace) == 2
        assert await twin.projected_through(UNKNOWN_WORKSPACE) == 0

    async def test_only_one_has_the_turn(self, twin: Store, workspace: int) -> None:
        async with twin.projection(workspace) as mine:
            async with twin.projection(workspace) as theirs:
                assert theirs is None
            assert mine is not None
        async with twin.projection(workspace) as next_turn:
            assert next_turn is not None

    async def test_workspaces_are_projected_independently(self, twin: Store, workspace: int) -> None:
        other = (await twin.create_workspace("other", "Other")).id
        async with twin.projection(workspace) as one, twin.projection(other) as two:
            assert one is not None
            assert two is not None

    async def test_a_turn_that_fails_saves_nothing(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)])
        with pytest.raises(LookupError):
            await self.fail_after_saving(twin, workspace)
        assert await twin.projected(workspace, [ISSUE]) == {}
        assert await twin.document(workspace, ISSUE) is None
        async with twin.projection(workspace) as turn:
            assert turn is not None
            assert turn.cursor == 0

    async def fail_after_saving(self, store: Store, workspace: int) -> None:
        async with store.projection(workspace) as turn:
            assert turn is not None
            await turn.save([projected(1)], await store.page_by_issue(workspace, 0, 10))
            raise LookupError

    async def test_rows_come_back_as_they_were_saved(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)])
        content = IssueContent(
            title="Ä title",
            description="# Text\n",
            status="done",
            priority="high",
            user_id="ana",
            session_id="s-1",
            claude_task_id="t-1",
            labels=("a, b", 'c "d"', "e"),
            created_by="ben",
            created_at=NOON - timedelta(days=1),
            updated_at=NOON,
            completed_at=NOON + timedelta(days=1),
            deleted_at=NOON + timedelta(days=2),
            comments=(
                comment("z", minutes=0),
                comment("B", minutes=1),
                comment("a", minutes=1),
                comment("b", minutes=None),
            ),
            unreadable=("fields.status: list",),
        )
        row = ProjectedIssue(ISSUE, 1, 1, content)
        await project(twin, workspace, row)
        assert await twin.projected(workspace, [ISSUE, OTHER_ISSUE]) == {ISSUE: row}

    async def test_the_log_gives_the_times_a_document_does_not(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace, minutes=1), new_delta(workspace, minutes=2)])
        await project(twin, workspace, projected(2))
        await twin.append([new_delta(workspace, minutes=7)])
        await project(twin, workspace, projected(3))
        content = (await twin.projected(workspace, [ISSUE]))[ISSUE].content
        assert (content.created_at, content.updated_at) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=7))

    async def test_a_newer_row_replaces_an_older_one_and_its_comments(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)])
        await project(twin, workspace, projected(1, ISSUE, "old", comment("a"), comment("b")))
        await twin.append([new_delta(workspace)])
        await project(twin, workspace, projected(2, ISSUE, "new", comment("b", "edited"), comment("c")))
        content = (await twin.projected(workspace, [ISSUE]))[ISSUE].content
        assert content.title == "new"
        assert content.comments == (comment("b", "edited"), comment("c"))

    async def test_an_older_row_changes_nothing(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 2)
        await project(twin, workspace, projected(2, ISSUE, "new", comment("a")))
        await project(twin, workspace, projected(1, ISSUE, "old"))
        content = (await twin.projected(workspace, [ISSUE]))[ISSUE].content
        assert (content.title, content.comments) == ("new", (comment("a"),))

    async def test_a_row_of_the_same_seq_repairs_without_a_page(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)])
        await project(twin, workspace, projected(1, ISSUE, "wrong"))
        async with twin.projection(workspace) as turn:
            assert turn is not None
            await turn.save([projected(1, ISSUE, "right")], [])
            assert turn.cursor == 1
        assert (await twin.projected(workspace, [ISSUE]))[ISSUE].content.title == "right"
        status = await twin.document(workspace, ISSUE)
        assert status is not None
        assert status.version == 1

    async def test_pages_are_counted_by_issue(self, twin: Store, workspace: int) -> None:
        await twin.append(
            [new_delta(workspace, i, b"12345", minutes=n) for n, i in enumerate([ISSUE, OTHER_ISSUE, ISSUE])]
        )
        await project(twin, workspace)
        status = await twin.document(workspace, ISSUE)
        assert status is not None
        assert (status.version, status.last_seq, status.tail_updates, status.tail_bytes) == (2, 3, 2, 10)
        assert (status.created_at, status.updated_at) == (NOON, NOON + timedelta(minutes=2))

    async def test_an_unknown_workspace_has_no_turn(self, twin: Store) -> None:
        async with twin.projection(UNKNOWN_WORKSPACE) as turn:
            assert turn is None


class TestSnapshots:
    async def test_are_kept_newest_first(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        for seq in (1, 3):
            await twin.save_snapshot(snapshot(workspace, seq))
        assert await twin.snapshots(workspace, ISSUE) == [snapshot(workspace, 3), snapshot(workspace, 1)]

    async def test_an_older_one_or_a_second_one_changes_nothing(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        await twin.save_snapshot(snapshot(workspace, 2))
        await twin.save_snapshot(snapshot(workspace, 1))
        await twin.save_snapshot(snapshot(workspace, 2, version=77))
        assert await twin.snapshots(workspace, ISSUE) == [snapshot(workspace, 2)]

    async def test_start_the_tail_again(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace, update=b"12345")] * 5)
        await project(twin, workspace)
        await twin.save_snapshot(snapshot(workspace, 3))
        status = await twin.document(workspace, ISSUE)
        assert status is not None
        assert (status.snapshot_seq, status.version, status.tail_updates, status.tail_bytes) == (3, 5, 2, 10)

    async def test_ahead_of_the_projection_are_not_counted_as_tail_later(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 5)
        await twin.save_snapshot(snapshot(workspace, 4))
        await project(twin, workspace)
        status = await twin.document(workspace, ISSUE)
        assert status is not None
        assert (status.version, status.last_seq, status.tail_updates) == (5, 5, 1)

    async def test_are_thinned_but_for_the_newest_and_the_floor(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 4)
        await project(twin, workspace)
        for seq in (1, 2, 3, 4):
            await twin.save_snapshot(snapshot(workspace, seq))
        await twin.trim(workspace, ISSUE, 1)
        for protected in (1, 4):
            with pytest.raises(ValueError, match="must stay"):
                await twin.drop_snapshots(workspace, ISSUE, [2, protected])
        assert await twin.drop_snapshots(workspace, ISSUE, [2, 3, 77]) == 2
        assert [s.seq for s in await twin.snapshots(workspace, ISSUE)] == [4, 1]


class TestTrim:
    async def test_deletes_what_the_snapshot_holds_and_raises_the_floor(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace), new_delta(workspace, OTHER_ISSUE), new_delta(workspace)])
        await project(twin, workspace)
        await twin.save_snapshot(snapshot(workspace, 3))
        assert await twin.trim(workspace, ISSUE, 3) == 2
        assert [d.seq for d in await twin.page(workspace, 0, 10)] == [2]
        [after] = await twin.workspaces()
        assert (after.floor, after.head) == (3, 3)
        status = await twin.document(workspace, ISSUE)
        assert status is not None
        assert status.floor == 3

    async def test_deletes_older_snapshots(self, twin: Store, workspace: int) -> None:
        await trimmed_at_two(twin, workspace)
        await twin.trim(workspace, ISSUE, 4)
        assert [s.seq for s in await twin.snapshots(workspace, ISSUE)] == [4]

    async def test_the_document_stays_the_same(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        await project(twin, workspace)
        await twin.save_snapshot(snapshot(workspace, 2))
        before = await twin.load(workspace, ISSUE)
        await twin.trim(workspace, ISSUE, 2)
        assert await twin.load(workspace, ISSUE) == before

    async def test_the_sequence_goes_on(self, twin: Store, workspace: int) -> None:
        await trimmed_at_two(twin, workspace)
        assert await twin.append([new_delta(workspace)]) == [6]

    async def test_only_through_a_kept_snapshot(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        await project(twin, workspace)
        await twin.save_snapshot(snapshot(workspace, 3))
        with pytest.raises(ValueError, match="no snapshot"):
            await twin.trim(workspace, ISSUE, 2)
        assert len(await twin.page(workspace, 0, 10)) == 3

    async def test_never_past_the_projection(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        await twin.save_snapshot(snapshot(workspace, 3))
        with pytest.raises(ValueError, match="reader"):
            await twin.trim(workspace, ISSUE, 3)
        assert len(await twin.page(workspace, 0, 10)) == 3


class TestCompactionCandidates:
    async def test_are_long_or_heavy_and_longest_first(self, twin: Store, workspace: int) -> None:
        long, heavy, small = (UUID(int=n) for n in (1, 2, 3))
        await twin.append([new_delta(workspace, long, b"1")] * 10 + [new_delta(workspace, heavy, b"1" * 100)])
        await twin.append([new_delta(workspace, small, b"1")] * 2)
        await project(twin, workspace)
        assert [s.issue_id for s in await twin.issues_to_compact(10, 100, 5)] == [long, heavy]
        assert [s.issue_id for s in await twin.issues_to_compact(2, 100, 5)] == [long, small, heavy]
        assert [s.issue_id for s in await twin.issues_to_compact(2, 100, 1)] == [long]

    async def test_exclude_quarantined_issues(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)] * 3)
        await project(twin, workspace)
        await twin.quarantine(workspace, ISSUE, "hung")
        assert await twin.issues_to_compact(1, 1, 5) == []


class TestQuarantine:
    async def test_is_listed_with_its_reason_until_released(self, twin: Store, workspace: int) -> None:
        await twin.append([new_delta(workspace)])
        await twin.quarantine(workspace, ISSUE, "the engine hung")
        [status] = await twin.quarantined()
        assert (status.workspace_id, status.issue_id) == (workspace, ISSUE)
        assert status.quarantine_reason == "the engine hung"
        assert status.quarantined_at is not None
        assert await twin.release(workspace, ISSUE)
        assert await twin.quarantined() == []
        assert not await twin.release(workspace, ISSUE)

    async def test_does_not_stop_the_log_or_the_counting(self, twin: Store, workspace: int) -> None:
        await twin.quarantine(workspace, ISSUE, "hung")
        await twin.append([new_delta(workspace)])
        await project(twin, workspace)
        status = await twin.document(workspace, ISSUE)
        assert status is not None
        assert (status.version, status.quarantine_reason) == (1, "hung")


async def test_a_store_that_takes_edits_says_so(twin: Store) -> None:
    await twin.check_writable()
    await twin.check_writable()
