"""Compaction may lose nothing: it writes, loads back, compares, and only then trims below the watermark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from crdt.document import Document
from crdt.index import Index
from crdt.jobs import Compacted
from crdt.update import merge
from storage.compactor import CompactionStats, Compactor, CompactorLimits, superfluous, watermark
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from storage.history import History
from storage.memory import MemoryStore, Moment
from storage.projector import Projector, ProjectorLimits
from storage.store import Snapshot, Store
from tests import hostile
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed

ISSUE = UUID(int=1)
SMALL = CompactorLimits(tail_updates=5, idle_updates=2, interval_seconds=0.001)
TEXT = "keystrokes"


class Calendar:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, *, days: float) -> None:
        self.now += timedelta(days=days)


@pytest.fixture
def engine() -> InlineEngine:
    return InlineEngine()


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def key(workspace_id: int) -> IssueKey:
    return IssueKey(workspace_id, ISSUE)


@pytest.fixture
def compactor(twin: Store, engine: InlineEngine, calendar: Calendar) -> Compactor:
    return Compactor(twin, engine, SMALL, now=calendar)


@pytest.fixture
def author(key: IssueKey) -> Author:
    return Author(key.workspace_id, key.issue_id)


async def project(store: Store) -> None:
    projector = Projector(store, InlineEngine(), ProjectorLimits(), now=lambda: START)
    while await projector.project_once():
        pass


async def title(store: Store, key: IssueKey) -> str:
    stored = await store.load(key.workspace_id, key.issue_id)
    return Document.load(merge(stored.updates)).text("title")


async def log_length(store: Store, key: IssueKey) -> int:
    return len(await store.tail(key.workspace_id, key.issue_id, 0))


async def test_a_long_tail_becomes_a_snapshot_that_says_the_same(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await typed(twin, author, TEXT)
    await project(twin)
    assert await compactor.compact_due() == [key]
    stored = await twin.load(key.workspace_id, ISSUE)
    assert stored.snapshot is not None
    assert not stored.tail
    assert (stored.seq, stored.version, stored.snapshot.created_at) == (10, 10, author.at)
    assert await title(twin, key) == TEXT
    index = Index.decode(stored.snapshot.index)
    assert (index.state_vector, index.owners) == ({7: 10}, {7: "ana"})
    assert await log_length(twin, key) == 10, "history is kept"
    assert await compactor.compact_due() == []


async def test_what_is_stored_follows_content_and_not_keystrokes(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await twin.append([author.sets("status", f"value {number}") for number in range(1_000)])
    stats = await compactor.compact(key)
    assert stats.outcome == "compacted"
    assert stats.bytes_before > 20_000
    assert stats.bytes_after < 100


async def test_snapshots_build_on_each_other_and_the_previous_one_is_kept(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    for _ in range(2):
        await typed(twin, author, TEXT)
        await compactor.compact(key)
    kept = await twin.snapshots(key.workspace_id, ISSUE)
    assert [(snapshot.seq, snapshot.version) for snapshot in kept] == [(20, 20), (10, 10)]
    assert await title(twin, key) == TEXT * 2


async def test_short_tails_are_left_alone(twin: Store, key: IssueKey, author: Author, compactor: Compactor) -> None:
    await typed(twin, author, "abc")
    await project(twin)
    assert await compactor.compact_due() == []


async def test_a_room_that_goes_idle_is_worth_less(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    await typed(twin, author, "a")
    compactor.hint(key)
    await compactor.compact_due()
    assert await twin.snapshots(key.workspace_id, ISSUE) == []
    await typed(twin, author, "b")
    compactor.hint(key)
    await compactor.compact_due()
    assert len(await twin.snapshots(key.workspace_id, ISSUE)) == 1


async def test_hints_are_bounded(twin: Store, workspace_id: int, engine: InlineEngine, calendar: Calendar) -> None:
    compactor = Compactor(twin, engine, replace(SMALL, max_hints=3), now=calendar)
    for number in range(10):
        compactor.hint(IssueKey(workspace_id, UUID(int=number)))
    assert len(await compactor.compact_due()) == 3


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


async def days_of_work(
    store: Store, compactor: Compactor, author: Author, calendar: Calendar, days: Sequence[str]
) -> None:
    """Each day somebody types a word, and in the evening it is compacted."""
    for word in days:
        author.at = calendar.now
        await typed(store, author, word)
        await project(store)
        calendar.sleep(days=0.5)
        await compactor.compact(IssueKey(author.workspace_id, author.issue_id))
        calendar.sleep(days=0.5)


async def test_history_is_trimmed_outside_its_window_and_readable_inside(
    twin: Store, key: IssueKey, author: Author, engine: InlineEngine, calendar: Calendar
) -> None:
    compactor = Compactor(twin, engine, replace(SMALL, history_days=3.0), now=calendar)
    await days_of_work(twin, compactor, author, calendar, ["one ", "two ", "three ", "four ", "five ", "six "])
    status = await twin.document(key.workspace_id, ISSUE)
    assert status is not None
    assert status.floor > 0
    tail = await twin.tail(key.workspace_id, ISSUE, 0)
    assert tail[0].seq == status.floor + 1
    assert await title(twin, key) == "one two three four five six "
    history = History(twin, engine)
    then = await history.as_of(key.workspace_id, ISSUE, calendar.now - timedelta(days=2.75))
    assert then is not None
    assert then.content.title.startswith("one two three ")
    assert then.content.title != "one two three four five six "


async def test_the_log_is_never_trimmed_past_the_projection(
    twin: Store, key: IssueKey, author: Author, engine: InlineEngine, calendar: Calendar
) -> None:
    compactor = Compactor(twin, engine, replace(SMALL, history_days=0.0), now=calendar)
    for _ in range(3):
        await typed(twin, author, TEXT)
        stats = await compactor.compact(key)
        assert stats.trimmed_deltas == 0
        calendar.sleep(days=100)
    await project(twin)
    await compactor.compact(key)
    assert await log_length(twin, key) == 10
    assert await title(twin, key) == TEXT * 3


async def test_the_snapshots_of_one_day_are_thinned(
    twin: Store, key: IssueKey, author: Author, compactor: Compactor
) -> None:
    for _ in range(6):
        await typed(twin, author, TEXT)
        await compactor.compact(key)
        await project(twin)
    kept = await twin.snapshots(key.workspace_id, ISSUE)
    assert [snapshot.seq for snapshot in kept] == [60, 50]
    assert await log_length(twin, key) == 60


def kept_at(*days_ago: float) -> list[Snapshot]:
    """Snapshots, newest first; each one's seq is its place from the oldest, starting at 1."""
    now = START + timedelta(days=100)
    count = len(days_ago)
    return [
        Snapshot(1, ISSUE, count - place, 1, b"", b"", now - timedelta(days=days))
        for place, days in enumerate(days_ago)
    ]


@pytest.mark.parametrize(
    ("days_ago", "floor", "projected", "through"),
    [
        ([1, 2, 3], 0, 3, None),  # all inside the window
        ([40], 0, 1, None),  # never through the newest
        ([40, 50], 0, 2, 1),
        ([1, 40, 50], 0, 3, 2),
        ([1, 40, 50], 0, 1, 1),  # the projector is not that far
        ([1, 40, 50], 0, 0, None),
        ([1, 40, 50], 2, 3, None),  # trimmed already
    ],
)
def test_the_watermark(days_ago: list[float], floor: int, projected: int, through: int | None) -> None:
    cutoff = START + timedelta(days=70)
    assert watermark(kept_at(*days_ago), cutoff, floor=floor, projected=projected) == through


def test_thinning_keeps_the_newest_the_previous_and_one_a_day() -> None:
    kept = kept_at(0.0, -0.1, -0.2, -0.3, -1.1, -1.2, -2.0)
    assert superfluous(kept) == [5, 4, 2]


async def test_a_compaction_slower_than_its_interval_is_not_joined_by_a_second(
    twin: Store, key: IssueKey, author: Author, calendar: Calendar
) -> None:
    running = most = 0
    is_compacting, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly(name: str, key: IssueKey) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        is_compacting.set()
        await may_go_on.wait()
        running -= 1

    compactor = Compactor(twin, InlineEngine(slowly), SMALL, now=calendar)
    await typed(twin, author, TEXT)
    await project(twin)
    rounds = [asyncio.create_task(compactor.compact_due()) for _ in range(3)]
    await is_compacting.wait()
    compactor.hint(key)
    rounds.append(asyncio.create_task(compactor.compact_due()))
    may_go_on.set()
    await asyncio.gather(*rounds)
    assert most == 1
    assert len(await twin.snapshots(key.workspace_id, ISSUE)) == 1


async def test_an_issue_that_fails_unexpectedly_does_not_stop_the_others(
    twin: Store, workspace_id: int, calendar: Calendar
) -> None:
    broken, well = IssueKey(workspace_id, UUID(int=1)), IssueKey(workspace_id, UUID(int=2))

    async def bug(name: str, key: IssueKey) -> None:
        if key == broken:
            raise ZeroDivisionError

    failures: list[str] = []
    compactor = Compactor(twin, InlineEngine(bug), SMALL, now=calendar, on_failure=failures.append)
    for key in (broken, well):
        await typed(twin, Author(workspace_id, key.issue_id), TEXT)
    await project(twin)
    await compactor.compact_due()
    assert failures == ["compaction"]
    assert len(await twin.snapshots(workspace_id, well.issue_id)) == 1


async def test_the_loop_survives_an_outage_and_then_compacts(engine: InlineEngine, calendar: Calendar) -> None:
    store = MemoryStore()
    workspace_id = (await store.create_workspace("main", "Main")).id
    await typed(store, Author(workspace_id, ISSUE), TEXT)
    await project(store)
    failed, compacted = asyncio.Event(), asyncio.Event()

    async def outage(moment: Moment, operation: str) -> None:
        if not failed.is_set() and operation == "save_snapshot" and moment == "after":
            raise StoreUnavailable("out")

    store.fault = outage
    compactor = Compactor(
        store,
        engine,
        replace(SMALL, longest_backoff_seconds=0.001),
        now=calendar,
        on_issue=lambda key, stats: compacted.set(),
        on_failure=lambda name: failed.set(),
    )
    compactor.hint(IssueKey(workspace_id, ISSUE))
    loop = asyncio.create_task(compactor.run())
    async with asyncio.timeout(10):
        await failed.wait()
        await compacted.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    stored = await store.load(workspace_id, ISSUE)
    assert not stored.tail
