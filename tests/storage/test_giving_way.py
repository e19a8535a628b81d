"""Work that nobody waits for leaves time to those who write."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import cast
from uuid import UUID

import pytest

from storage.compactor import Compactor
from storage.database import Database
from storage.engine import IssueKey
from storage.memory import MemoryStore
from storage.projector import PageStats, Projector, ProjectorLimits
from storage.words import Words, WordsLimits
from tests.inline_engine import InlineEngine
from tests.simulation.time import in_virtual_time
from tests.storage.authors import Author, typed
from tests.storage.compacting import SMALL, Calendar
from tests.storage.projecting import ISSUE, NOON, stop

JOB_S = 2.0


class Busy:
    """An engine whose jobs take two seconds, and when they began."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.engine = InlineEngine(self._work)

    async def _work(self, name: str, key: IssueKey) -> None:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(JOB_S)

    def rests(self) -> list[float]:
        """Seconds between the end of a job and the beginning of the next."""
        return [round(later - earlier - JOB_S, 6) for earlier, later in pairwise(self.began)]


async def _four_pages(*, is_writing: bool, longest_rest: float = 60.0) -> Busy:
    """Project four pages, while somebody writes all the time or while nobody does."""
    store, busy, done = MemoryStore(), Busy(), asyncio.Event()
    workspace = await store.create_workspace("main", "Main")
    await typed(store, Author(workspace.id, ISSUE), "four")

    def page(stats: PageStats) -> None:
        if len(busy.began) == 4:
            done.set()

    limits = ProjectorLimits(page_deltas=1, settle_seconds=0.1, rest_seconds=longest_rest, poll_seconds=60.0)
    reader = Projector(store, busy.engine, limits, now=lambda: NOON, on_page=page)

    async def write() -> None:
        while is_writing:
            reader.wake()
            await asyncio.sleep(0.05)

    running = [asyncio.create_task(work) for work in (reader.run(), write())]
    await done.wait()
    await stop(*running)
    return busy


@in_virtual_time
async def test_projection_rests_as_long_as_it_works_while_others_write() -> None:
    busy = await _four_pages(is_writing=True)
    assert busy.rests() == [JOB_S] * 3


@in_virtual_time
async def test_a_rest_of_the_projection_is_bounded() -> None:
    busy = await _four_pages(is_writing=True, longest_rest=0.5)
    assert busy.rests() == [0.5] * 3


@in_virtual_time
async def test_projection_goes_on_at_once_when_nobody_writes() -> None:
    busy = await _four_pages(is_writing=False)
    assert busy.rests() == [0.0, 0.0, 0.0]


@in_virtual_time
async def test_words_are_read_for_a_tenth_of_the_time_while_others_write(monkeypatch: pytest.MonkeyPatch) -> None:
    words, began = Words(cast(Database, None), WordsLimits(rest_seconds=60.0)), list[float]()

    async def read_once(self: Words) -> bool:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(JOB_S)
        words.wake()
        return True

    monkeypatch.setattr(Words, "read_once", read_once)
    running = asyncio.create_task(words.run())
    await asyncio.sleep(3.5 * 10 * JOB_S)
    await stop(running)
    assert [round(later - earlier, 6) for earlier, later in pairwise(began)] == [10 * JOB_S] * 3


@in_virtual_time
async def test_compaction_rests_several_times_as_long_as_an_issue_took() -> None:
    store, busy = MemoryStore(), Busy()
    workspace = await store.create_workspace("main", "Main")
    limits = replace(SMALL, rest=3.0, interval_seconds=30.0)
    compactor = Compactor(store, busy.engine, limits, now=Calendar())
    for number in (1, 2):
        await typed(store, Author(workspace.id, UUID(int=number)), "idle")
        compactor.hint(IssueKey(workspace.id, UUID(int=number)))
    await compactor.compact_due()
    fold_and_compare = 2 * JOB_S
    assert busy.rests() == [0.0, 3 * fold_and_compare, 0.0]
