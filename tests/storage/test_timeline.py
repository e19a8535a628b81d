"""What happened to an issue, page by page, from a log in Postgres that was compacted and trimmed meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from crdt.changes import FieldChange, Replacement, TextChange
from crdt.jobs_history import Entry, entry_of, groups_of
from storage.compactor import Compactor
from storage.database import DatabaseLimits, open_database
from storage.engine import IssueKey
from storage.errors import Trimmed
from storage.log_reader import NEWEST, EntryBounds, LogReader
from storage.postgres import PostgresStore
from storage.timeline import SpanTooLong, Timeline, TimelineLimits, logged
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author
from tests.storage.compacting import ISSUE, SMALL, Calendar, project


@pytest.fixture
async def log(dsn: str) -> AsyncIterator[LogReader]:
    database = await open_database(dsn, DatabaseLimits(connections_max=2))
    yield LogReader(database)
    await database.close()


@pytest.fixture
def timeline(log: LogReader, engine: InlineEngine) -> Timeline:
    return Timeline(log, engine)


@pytest.fixture
async def key(store: PostgresStore) -> IssueKey:
    return IssueKey((await store.create_workspace("main", "Main")).id, ISSUE)


@pytest.fixture
async def author(store: PostgresStore, key: IssueKey) -> Author:
    """Ten deltas, an hour apart: a title letter by letter, and a status."""
    author = Author(key.workspace_id, key.issue_id)
    for letter in "keystroke":
        author.at += timedelta(hours=1)
        await store.append([author.types(letter)])
    author.at += timedelta(hours=1)
    await store.append([author.sets("status", "done")])
    return author


async def all_entries(timeline: Timeline, key: IssueKey, limit: int) -> list[Entry]:
    """By pages, newest first."""
    page = await timeline.page(key, limit)
    assert page is not None
    entries = list(page.entries)
    while page.before is not None:
        page = await timeline.page(key, limit, page.before)
        assert page is not None
        assert 0 < len(page.entries) <= limit
        entries += page.entries
    return entries


def seqs(entries: Sequence[Entry]) -> list[int]:
    return [entry.seq for entry in entries]


@pytest.mark.parametrize("limit", [1, 3, 10, 50])
async def test_pages_tell_the_same_whatever_their_size(
    timeline: Timeline, key: IssueKey, author: Author, limit: int
) -> None:
    entries = await all_entries(timeline, key, limit)
    assert seqs(entries) == list(range(10, 0, -1))
    assert entries[0].changes == (FieldChange("status", "pending", "done"),)
    assert entries[1].changes == (TextChange("title", (Replacement(8, "", "e"),)),)
    assert [entry.version for entry in entries] == list(range(10, 0, -1))


async def test_a_page_is_read_from_the_nearest_snapshot(
    store: PostgresStore, timeline: Timeline, log: LogReader, key: IssueKey, author: Author
) -> None:
    await project(store)
    compactor = Compactor(store, InlineEngine(), SMALL, now=Calendar())
    await compactor.compact(key)
    for letter in "s and":
        author.at += timedelta(hours=1)
        await store.append([author.types(letter)])
    stretch = await log.stretch(key.workspace_id, key.issue_id, 12, 14)
    assert stretch.seen.snapshot is not None
    assert stretch.seen.snapshot.seq == 10
    assert ([delta.seq for delta in stretch.seen.tail], [delta.seq for delta in stretch.deltas]) == ([11, 12], [13, 14])
    entries = await all_entries(timeline, key, 2)
    assert seqs(entries) == list(range(15, 0, -1))
    assert [entry.version for entry in entries] == list(range(15, 0, -1))


async def test_history_ends_at_the_floor_and_says_so(
    store: PostgresStore, timeline: Timeline, log: LogReader, key: IssueKey, author: Author
) -> None:
    await project(store)
    calendar = Calendar()
    compactor = Compactor(store, InlineEngine(), SMALL, now=calendar)
    await compactor.compact(key)
    await store.append([author.types("!"), author.types("?")])
    await project(store)
    await compactor.compact(key)
    await store.trim(key.workspace_id, key.issue_id, 10)
    page = await timeline.page(key, 50)
    assert page is not None
    assert (seqs(page.entries), page.before, page.floor) == ([12], None, 10)
    assert await log.seq_of_version(key.workspace_id, key.issue_id, 11) == 11
    assert await log.seq_of_version(key.workspace_id, key.issue_id, 10) == 10
    assert await log.seq_of_version(key.workspace_id, key.issue_id, 9) is None
    for lost in (timeline.state(key, 9), timeline.seq_at(key, START + timedelta(hours=3)), timeline.since(key, 3)):
        with pytest.raises(Trimmed):
            await lost


async def test_moments_and_versions_are_found(log: LogReader, key: IssueKey, author: Author) -> None:
    issue = (key.workspace_id, key.issue_id)
    assert await log.seq_at(*issue, START) == 0
    assert await log.seq_at(*issue, START + timedelta(hours=3, minutes=30)) == 3
    assert await log.seq_at(*issue, START + timedelta(days=3)) == 10
    assert [await log.seq_of_version(*issue, version) for version in (0, 1, 10, 11)] == [0, 1, 10, None]


async def test_what_differs_between_two_moments(timeline: Timeline, key: IssueKey, author: Author) -> None:
    assert await timeline.difference(key, 3, 10) == (
        FieldChange("status", "pending", "done"),
        TextChange("title", (Replacement(3, "", "stroke"),)),
    )
    assert await timeline.difference(key, 10, 3) == (
        FieldChange("status", "done", "pending"),
        TextChange("title", (Replacement(3, "stroke", ""),)),
    )
    assert await timeline.difference(key, 5, 5) == ()


async def test_who_touched_what_since_a_seq(timeline: Timeline, key: IssueKey, author: Author) -> None:
    since = await timeline.since(key, 8)
    assert (since.before.title, since.after.title, since.after.status) == ("keystrok", "keystroke", "done")
    assert [(touch.path, touch.seq) for touch in since.touches] == [(("title",), 9), (("fields", "status"), 10)]


async def test_pages_are_bounded_by_deltas_bytes_and_characters(log: LogReader, key: IssueKey, author: Author) -> None:
    for limits in (TimelineLimits(page_deltas=3), TimelineLimits(page_bytes=50), TimelineLimits(page_chars=300)):
        bounded = Timeline(log, InlineEngine(), limits)
        page = await bounded.page(key, 10)
        assert page is not None
        assert 0 < len(page.entries) < 10
        assert seqs(await all_entries(bounded, key, 10)) == list(range(10, 0, -1))


async def test_an_issue_nobody_wrote_has_no_history(timeline: Timeline, key: IssueKey) -> None:
    assert await timeline.page(key, 10) is None


async def test_a_page_and_a_blame_read_the_same_however_much_was_typed(
    store: PostgresStore, timeline: Timeline, log: LogReader, key: IssueKey
) -> None:
    author, issue, typed = Author(key.workspace_id, key.issue_id), (key.workspace_id, key.issue_id), 0
    compactor = Compactor(store, InlineEngine(), replace(SMALL, apart_updates=150), now=Calendar())
    read: list[list[int]] = []
    for _ in range(3):
        for count in (400, 40):
            batch = []
            for _ in range(count):
                author.at -= timedelta(seconds=0.99)  # a hundredth of a second each: all of it is one entry
                batch.append(author.types("x"))
            typed = (await store.append(batch))[-1]
            await project(store)
            if count == 400:
                await compactor.compact(key)
        page, blamed = await timeline.page(key, 50), await timeline.blame(key, "title")
        assert page is not None
        assert [(entry.first_seq, entry.seq, entry.deltas, entry.version) for entry in page.entries] == [
            (1, typed, typed, typed)
        ]
        assert page.entries[0].changes == (TextChange("title", (Replacement(0, "", "x" * typed),)),)
        assert blamed is not None
        assert [(run.text, run.first_seq, run.seq) for run in blamed.runs] == [("x" * typed, 1, typed)]
        read.append([await updates_of_a_page(log, issue, before) for before in (NEWEST, typed - 150)])
        traces = await log.traces(*issue, EntryBounds(5_000, 1 << 20), whole=False)
        assert traces is not None
        read[-1].append(len(traces.now.updates) + sum(len(entry.updates) for entry in traces.entries))
    newest, middle, blamed_by = zip(*read, strict=True)
    assert set(newest) == {41}
    assert set(blamed_by) == {43}
    assert max(middle) <= 2 * 150


async def test_what_one_writer_did_is_read_by_turns_however_much_that_was(
    store: PostgresStore, timeline: Timeline, log: LogReader, key: IssueKey
) -> None:
    writers = [Author(key.workspace_id, key.issue_id, client_id) for client_id in (7, 8)]
    compactor = Compactor(store, InlineEngine(), replace(SMALL, apart_updates=150), now=Calendar())
    [began] = await store.append([writers[0].types("x")])
    for count in (400, 40, 400):
        for writer, name in zip(writers, ("ana", "ben"), strict=True):
            await store.append([writer.types("x")._replace(actor_id=name) for _ in range(count)])
            await project(store)
            await compactor.compact(key)
    walk = await timeline.turns(key, began)
    assert [(entry.head.actor_id, entry.head.deltas) for entry in walk.entries] == [
        (name, count) for count in (400, 40, 400) for name in ("ana", "ben")
    ]
    assert max(len(entry.updates) for entry in walk.entries) <= 2 * 150
    assert len((await timeline.turns(key, 1_681)).entries) == 0
    bounded = Timeline(log, InlineEngine(), TimelineLimits(span_deltas=1_679))
    with pytest.raises(SpanTooLong):
        await bounded.turns(key, began)


async def updates_of_a_page(log: LogReader, issue: tuple[int, UUID], before: int) -> int:
    heads = await log.entries(*issue, 50, EntryBounds(5_000, 1 << 20), before=before)
    walk = await log.walk(*issue, heads[::-1])
    return len(walk.seen.updates) + sum(len(entry.updates) for entry in walk.entries)


async def test_entries_are_the_same_wherever_they_are_told(store: PostgresStore, log: LogReader, key: IssueKey) -> None:
    chance = Random(7)
    author, issue = Author(key.workspace_id, key.issue_id), (key.workspace_id, key.issue_id)
    batch = []
    for _ in range(400):
        author.at += timedelta(seconds=chance.choice((-1, 0, 1, 58.999, 59, 59.001, 300)))
        actor, device = chance.choice((("ana", None), ("ana", "phone"), ("ben", None), ("ana", None)))
        batch.append(author.types("x")._replace(actor_id=actor, device_id=device))
    await store.append(batch)
    stretch = await log.stretch(*issue, 0, NEWEST)
    wanted = [entry_of(group) for group in groups_of(logged(stretch.deltas))]
    told = await log.entries(*issue, 1_000, EntryBounds(5_000, 1 << 20))
    assert told[::-1] == [entry.head for entry in wanted]
    assert await log.entries(*issue, 7, EntryBounds(5_000, 1 << 20)) == told[:7]
    assert await log.entries(*issue, 7, EntryBounds(5_000, 1 << 20), before=told[2].first_seq) == told[3:10]
    assert [entry.seq for entry in await log.entries(*issue, 7, EntryBounds(1, 1 << 20))] == [400]
    assert [entry.seq for entry in await log.entries(*issue, 7, EntryBounds(9, 1))] == [400]


async def test_two_tabs_of_one_device_are_blamed_by_all_their_deltas(
    store: PostgresStore, timeline: Timeline, key: IssueKey
) -> None:
    one, other = (Author(key.workspace_id, key.issue_id, client_id) for client_id in (7, 8))
    await store.append([one.types("a"), other.types("b"), one.types("c")])
    blamed = await timeline.blame(key, "title")
    assert blamed is not None
    assert (sorted("".join(run.text for run in blamed.runs)), blamed.seq) == (["a", "b", "c"], 3)
    assert {(run.actor_id, run.first_seq, run.seq) for run in blamed.runs} == {("ana", 1, 3)}
