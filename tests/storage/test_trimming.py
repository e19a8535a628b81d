"""The log is trimmed below the watermark only, and snapshots are thinned behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from storage.compactor import Compactor, superfluous, watermark
from storage.engine import IssueKey
from storage.history import History
from storage.store import Snapshot, Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed
from tests.storage.compacting import ISSUE, SMALL, TEXT, Calendar, log_length, project, title


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
    assert superfluous(kept, lambda size: 100) == [5, 4, 2]


def test_thinning_keeps_snapshots_that_stand_far_apart() -> None:
    """Each of these is ten deltas from the next."""
    kept = [replace(one, version=10 * one.seq) for one in kept_at(*(-0.01 * n for n in range(7)))]
    assert superfluous(kept, lambda size: 20) == [5, 3, 1]
    assert superfluous(kept, lambda size: 10) == []


async def test_a_tail_that_grew_faster_than_it_was_compacted_gets_snapshots_along_it(
    twin: Store, key: IssueKey, author: Author, calendar: Calendar
) -> None:
    await typed(twin, author, "keystrokes" * 6)
    compactor = Compactor(twin, InlineEngine(), replace(SMALL, apart_updates=20), now=calendar)
    stats = await compactor.compact(key)
    kept = await twin.snapshots(key.workspace_id, key.issue_id)
    assert [(snapshot.seq, snapshot.version) for snapshot in kept] == [(60, 60), (20, 20)]
    assert stats.bytes_before > stats.bytes_after
    assert await title(twin, key) == "keystrokes" * 6
