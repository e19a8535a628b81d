"""Group commit: what shares a commit, what fails with it, and that the log stays causally closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from storage.appender import DELTA_OVERHEAD_BYTES, Appender, CommitStats
from storage.errors import Overloaded, StoreError, StoreUnavailable, UnknownWorkspace
from storage.memory import MemoryStore, Moment
from storage.postgres import PostgresStore
from storage.store import NewDelta
from tests.storage.appending import append
from tests.storage.rows import ISSUE, OTHER_ISSUE, new_delta

WORKSPACE = 1
UNKNOWN_WORKSPACE = 999


class Door:
    """Stands between the appender and the log: commits wait while it is closed, and fail as told."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.knocked = asyncio.Event()
        self.failures: dict[Moment, list[Exception]] = {"before": [], "after": []}

    async def __call__(self, moment: Moment, operation: str) -> None:
        if operation != "append":
            return
        if moment == "before":
            self.knocked.set()
            await self.open.wait()
        if self.failures[moment]:
            raise self.failures[moment].pop(0)

    async def close_and_wait_for(self, appender: Appender, deltas: Sequence[NewDelta]) -> asyncio.Future[list[int]]:
        """Append something and return while its commit is in flight."""
        self.open.clear()
        self.knocked.clear()
        future = append(appender, deltas)
        await self.knocked.wait()
        return future


class CountingStore(MemoryStore):
    """Remembers the size of each batch."""

    def __init__(self, door: Door) -> None:
        super().__init__(fault=door)
        self.batches: list[int] = []

    async def append(self, batch: Sequence[NewDelta]) -> list[int]:
        self.batches.append(len(batch))
        if any(b"\0" in delta.update for delta in batch):
            raise ValueError("a defect that no translation knows")
        return await super().append(batch)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
async def log(door: Door) -> CountingStore:
    store = CountingStore(door)
    assert (await store.create_workspace("main", "Main")).id == WORKSPACE
    return store


@asynccontextmanager
async def running(store: MemoryStore | PostgresStore, **limits: Any) -> AsyncIterator[Appender]:
    appender = Appender(store, **limits)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        yield appender
        await appender.close()


async def updates(store: MemoryStore) -> list[bytes]:
    return [delta.update for delta in await store.page(WORKSPACE, 0, 10_000)]


def delta(update: bytes = b"u", issue: UUID = ISSUE, workspace: int = WORKSPACE) -> NewDelta:
    return new_delta(workspace, issue, update)


class TestBatches:
    async def test_what_one_turn_appends_is_one_commit(self, log: CountingStore) -> None:
        async with running(log) as appender:
            futures = [append(appender, [delta()]) for _ in range(50)]
            assert await asyncio.gather(*futures) == [[seq] for seq in range(1, 51)]
        assert log.batches == [50]

    async def test_the_next_batch_forms_while_one_commits(self, log: CountingStore, door: Door) -> None:
        async with running(log) as appender:
            first = await door.close_and_wait_for(appender, [delta()])
            later = [append(appender, [delta(), delta()]) for _ in range(3)]
            assert not first.done()
            door.open.set()
            assert await asyncio.gather(first, *later) == [[1], [2, 3], [4, 5], [6, 7]]
        assert log.batches == [1, 6]

    async def test_nothing_resolves_before_the_commit(self, log: CountingStore, door: Door) -> None:
        async with running(log) as appender:
            future = await door.close_and_wait_for(appender, [delta()])
            assert not future.done()
            assert await updates(log) == []
            door.open.set()
            await future
            assert await updates(log) == [b"u"]

    async def test_a_batch_is_bounded_by_deltas(self, log: CountingStore) -> None:
        async with running(log, max_batch_deltas=4) as appender:
            await asyncio.gather(*(append(appender, [delta()] * 3) for _ in range(3)))
        assert log.batches == [3, 3, 3]

    async def test_a_batch_is_bounded_by_bytes(self, log: CountingStore) -> None:
        async with running(log, max_batch_bytes=2 * (1000 + DELTA_OVERHEAD_BYTES)) as appender:
            await asyncio.gather(*(append(appender, [delta(b"x" * 1000)]) for _ in range(5)))
        assert log.batches == [2, 2, 1]

    async def test_what_is_bigger_than_a_batch_is_one_of_its_own(self, log: CountingStore) -> None:
        async with running(log, max_batch_deltas=2) as appender:
            await asyncio.gather(append(appender, [delta()]), append(appender, [delta()] * 5))
        assert log.batches == [1, 5]

    async def test_nothing_is_committed_at_once(self, log: CountingStore) -> None:
        assert await append(Appender(log), []) == []

    async def test_who_fails_at_hearing_of_it_keeps_nobody_else_from_it(self, log: CountingStore) -> None:
        def fail(_seqs: Sequence[int], _failure: StoreError | None) -> None:
            raise ValueError("a defect of a room")

        async with running(log) as appender:
            appender.append([delta(b"first")], fail)
            assert await append(appender, [delta(b"second")]) == [2]
        assert await updates(log) == [b"first", b"second"]

    async def test_it_groups_on_postgres(self, store: PostgresStore) -> None:
        workspaces = [(await store.create_workspace(slug, slug)).id for slug in ("one", "two")]
        async with running(store) as appender:
            futures = [append(appender, [delta(workspace=w)] * 2) for _ in range(40) for w in workspaces]
            seqs = await asyncio.gather(*futures)
        assert [s for pair in seqs[::2] for s in pair] == list(range(1, 81)) == [s for pair in seqs[1::2] for s in pair]


class TestFailures:
    async def test_a_batch_that_fails_fails_all_its_futures(self, log: CountingStore, door: Door) -> None:
        door.failures["before"] = [StoreUnavailable("down")]
        async with running(log) as appender:
            futures = [append(appender, [delta(issue=issue)]) for issue in (ISSUE, OTHER_ISSUE)]
            for future in futures:
                with pytest.raises(StoreUnavailable, match="down"):
                    await future
            assert str(appender.last_failure) == "down"
            assert await append(appender, [delta(issue=UUID(int=3))]) == [1]
            assert appender.last_failure is None

    async def test_an_answer_that_got_lost_fails_the_future_of_a_committed_delta(
        self, log: CountingStore, door: Door
    ) -> None:
        door.failures["after"] = [StoreUnavailable("connection lost")]
        async with running(log) as appender:
            with pytest.raises(StoreUnavailable):
                await append(appender, [delta(b"committed")])
        assert await updates(log) == [b"committed"]

    async def test_what_is_queued_for_a_lost_issue_is_lost_too(self, log: CountingStore, door: Door) -> None:
        async with running(log) as appender:
            lost = await door.close_and_wait_for(appender, [delta(b"cause")])
            effect = append(appender, [delta(b"effect")])
            unrelated = append(appender, [delta(b"unrelated", OTHER_ISSUE)])
            door.failures["before"] = [StoreUnavailable("down")]
            door.open.set()
            for future in (lost, effect):
                with pytest.raises(StoreUnavailable, match="down"):
                    await future
            assert await unrelated == [1]
        assert await updates(log) == [b"unrelated"]

    async def test_losing_one_delta_of_an_entry_loses_the_issues_of_the_others(
        self, log: CountingStore, door: Door
    ) -> None:
        third = UUID(int=3)
        async with running(log) as appender:
            lost = await door.close_and_wait_for(appender, [delta(b"1", ISSUE)])
            before = append(appender, [delta(b"2", OTHER_ISSUE)])
            both = append(appender, [delta(b"3", ISSUE), delta(b"4", OTHER_ISSUE)])
            after = append(appender, [delta(b"5", OTHER_ISSUE)])
            unrelated = append(appender, [delta(b"6", third)])
            door.failures["before"] = [StoreUnavailable("down")]
            door.open.set()
            outcomes = await asyncio.gather(lost, before, both, after, unrelated, return_exceptions=True)
        assert [isinstance(outcome, StoreUnavailable) for outcome in outcomes] == [True, False, True, True, False]
        assert await updates(log) == [b"2", b"6"]

    async def test_a_room_that_has_not_heard_yet_cannot_append_to_a_lost_issue(
        self, log: CountingStore, door: Door
    ) -> None:
        late: list[asyncio.Future[list[int]]] = []
        async with running(log) as appender:
            door.open.clear()
            # Hears of it ahead of the issue's room, as a turn that was scheduled earlier would.
            appender.append([delta(b"first")], lambda _, failure: late.append(append(appender, [delta(b"effect")])))
            lost = append(appender, [delta(b"cause")])
            await door.knocked.wait()
            door.failures["before"] = [StoreUnavailable("down")]
            door.open.set()
            with pytest.raises(StoreUnavailable, match="down"):
                await lost
            with pytest.raises(StoreUnavailable, match="an earlier delta"):
                await late[0]
            assert await append(appender, [delta(b"after reading the log again")]) == [1]

    async def test_a_commit_that_takes_too_long_is_given_up(self, log: CountingStore, door: Door) -> None:
        async with running(log, commit_timeout=0.01) as appender:
            future = await door.close_and_wait_for(appender, [delta()])
            with pytest.raises(StoreUnavailable, match=r"no COMMIT within 0\.01 s"):
                await future
            door.open.set()
            assert await append(appender, [delta(issue=OTHER_ISSUE)]) == [1]

    async def test_an_unknown_workspace_only_fails_its_own(self, log: CountingStore) -> None:
        async with running(log) as appender:
            good, bad, too = (append(appender, [delta(workspace=w)]) for w in (WORKSPACE, UNKNOWN_WORKSPACE, WORKSPACE))
            with pytest.raises(UnknownWorkspace):
                await bad
            assert (await good, await too) == ([1], [2])

    async def test_a_defect_only_fails_the_delta_that_has_it_and_those_behind_it(self, log: CountingStore) -> None:
        async with running(log) as appender:
            futures = [
                append(appender, [delta(update, issue)])
                for update, issue in [(b"1", ISSUE), (b"\0", ISSUE), (b"3", ISSUE), (b"4", OTHER_ISSUE)]
            ]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(outcome, StoreError) for outcome in outcomes] == [False, True, True, False]
        assert await updates(log) == [b"1", b"4"]

    async def test_a_store_that_goes_down_while_looking_for_a_defect_fails_the_rest(
        self, log: CountingStore, door: Door
    ) -> None:
        door.failures["before"] = [StoreUnavailable("down")]
        async with running(log) as appender:
            futures = [append(appender, [delta(update)]) for update in (b"1", b"\0", b"3")]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert await updates(log) == []


class TestBounds:
    async def test_a_full_queue_refuses(self, log: CountingStore, door: Door) -> None:
        async with running(log, max_queued_bytes=3 * (100 + DELTA_OVERHEAD_BYTES)) as appender:
            first = await door.close_and_wait_for(appender, [delta(b"x" * 100)])
            rest = [append(appender, [delta(b"x" * 100)]) for _ in range(2)]
            with pytest.raises(Overloaded):
                append(appender, [delta(b"x")])
            door.open.set()
            await asyncio.gather(first, *rest)
            assert appender.queued_bytes == 0
            assert await append(appender, [delta()]) == [4]

    async def test_an_empty_queue_takes_what_is_bigger_than_itself(self, log: CountingStore) -> None:
        async with running(log, max_queued_bytes=10) as appender:
            assert await append(appender, [delta(b"x" * 1000)]) == [1]

    async def test_bytes_are_counted_until_they_are_committed_or_lost(self, log: CountingStore, door: Door) -> None:
        async with running(log) as appender:
            futures = [await door.close_and_wait_for(appender, [delta(b"x" * 10)])]
            futures += [append(appender, [delta(b"x" * 10, issue)]) for issue in (ISSUE, OTHER_ISSUE)]
            assert appender.queued_bytes == 3 * (10 + DELTA_OVERHEAD_BYTES)
            door.failures["before"] = [StoreUnavailable("down")]
            door.open.set()
            await asyncio.gather(*futures, return_exceptions=True)
            assert appender.queued_bytes == 0

    async def test_it_tells_how_long_the_oldest_has_waited(self, log: CountingStore, door: Door) -> None:
        now = asyncio.get_running_loop().time
        async with running(log) as appender:
            assert appender.stuck_for(now() + 60) == 0
            future = await door.close_and_wait_for(appender, [delta()])
            assert 59 < appender.stuck_for(now() + 60) < 61
            door.open.set()
            await future
            assert appender.stuck_for(now() + 60) == 0

    async def test_every_attempt_is_reported(self, log: CountingStore, door: Door) -> None:
        reports: list[CommitStats] = []
        door.failures["before"] = [StoreUnavailable("down")]
        async with running(log, on_commit=reports.append) as appender:
            with pytest.raises(StoreUnavailable):
                await append(appender, [delta(b"123")])
            await append(appender, [delta(b"123", OTHER_ISSUE), delta(b"45", OTHER_ISSUE)])
        assert [(r.deltas, r.update_bytes, r.failure is None) for r in reports] == [(1, 3, False), (2, 5, True)]
        assert all(r.waited_seconds >= 0 and r.commit_seconds >= 0 for r in reports)


class TestEnd:
    async def test_closing_commits_what_is_queued_and_takes_nothing_more(self, log: CountingStore, door: Door) -> None:
        appender = Appender(log)
        run = asyncio.create_task(appender.run())
        first = await door.close_and_wait_for(appender, [delta()])
        second = append(appender, [delta()])
        closing = asyncio.create_task(appender.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="shutting down"):
            append(appender, [delta()])
        door.open.set()
        await closing
        assert (first.result(), second.result()) == ([1], [2])
        await run

    async def test_closing_an_idle_appender_ends_it(self, log: CountingStore) -> None:
        async with running(log):
            pass

    async def test_cancelling_fails_what_is_in_flight_and_what_is_queued(self, log: CountingStore, door: Door) -> None:
        appender = Appender(log)
        run = asyncio.create_task(appender.run())
        futures = [await door.close_and_wait_for(appender, [delta()])]
        futures.append(append(appender, [delta(issue=OTHER_ISSUE)]))
        run.cancel()
        outcomes = await asyncio.gather(run, *futures, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, StoreUnavailable, StoreUnavailable]
        await appender.close()


async def test_order_survives_many_writers_and_random_failures(log: CountingStore, door: Door) -> None:
    """Each issue's log is a prefix of what its writer sent after its last loss: no delta without the one before it."""
    door.failures["before"] = [StoreUnavailable("down")] * 5
    issues = [UUID(int=n) for n in range(20)]

    async def write(appender: Appender, issue: UUID) -> None:
        generation, number = 0, 0
        while number < 30:
            try:
                sent = [append(appender, [delta(b"%d.%d" % (generation, number + i), issue)]) for i in range(3)]
                await asyncio.gather(*sent)
                number += 3
            except StoreUnavailable:
                await asyncio.gather(*sent, return_exceptions=True)
                generation, number = generation + 1, 0

    async with running(log, max_batch_deltas=7) as appender:
        await asyncio.gather(*(write(appender, issue) for issue in issues))
    for issue in issues:
        written = [tuple(map(int, d.update.split(b"."))) for d in await log.tail(WORKSPACE, issue, 0)]
        for before, after in pairwise([(-1, -1), *written]):
            assert after in ((before[0], before[1] + 1), (max(after[0], before[0] + 1), 0))
