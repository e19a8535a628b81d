"""The projector turns the log into rows, whatever happens to it on the way."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from storage.memory import MemoryStore
from storage.projection import ProjectionLimits
from storage.projector import PageStats, Projector, ProjectorLimits
from storage.store import IssueDeltas, Snapshot, Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed
from tests.storage.projecting import ISSUE, NOON, OTHER, QUICK, cursor, project_all, projector, row, stop


async def test_what_is_in_the_log_becomes_rows(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    ana, ben = Author(workspace_id, ISSUE), Author(workspace_id, OTHER)
    await twin.append([ana.types("Crash"), ben.types("Feature"), ana.sets("status", "open")])
    await project_all(projector(twin, engine))
    found = await row(twin, workspace_id)
    assert (found.seq, found.version) == (3, 2)
    assert (found.content.title, found.content.status) == ("Crash", "open")
    assert (found.content.created_at, found.content.updated_at) == (START + timedelta(seconds=1), ana.at)
    assert (await row(twin, workspace_id, OTHER)).content.title == "Feature"
    assert await cursor(twin, workspace_id) == 3


async def test_a_document_that_says_when_it_was_created_is_believed(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    await twin.append([Author(workspace_id, ISSUE).sets("createdAt", "2020-02-02T00:00:00.000Z")])
    await project_all(projector(twin, engine))
    created_at = (await row(twin, workspace_id)).content.created_at
    assert created_at is not None
    assert created_at.year == 2020


async def test_an_issue_read_before_costs_only_what_is_new(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    author, reader = Author(workspace_id, ISSUE), projector(twin, engine)
    await typed(twin, author, "Cra")
    await project_all(reader)
    await typed(twin, author, "sh")
    await project_all(reader)
    assert engine.ran == ["ProjectWhole", "ProjectTail"]
    found = await row(twin, workspace_id)
    assert (found.content.title, found.version, found.seq, found.content.updated_at) == ("Crash", 5, 5, author.at)


async def test_an_engine_that_was_replaced_is_told_everything(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    author, reader = Author(workspace_id, ISSUE), projector(twin, engine)
    await typed(twin, author, "Cra")
    await project_all(reader)
    engine.forget()
    await typed(twin, author, "sh")
    await project_all(reader)
    assert engine.ran == ["ProjectWhole", "ProjectTail", "ProjectWhole"]
    assert (await row(twin, workspace_id)).content.title == "Crash"


async def test_pages_are_bounded_and_follow_each_other(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    pages: list[PageStats] = []
    limits = ProjectorLimits(page_deltas=2)
    reader = Projector(twin, engine, limits, now=lambda: NOON, on_page=pages.append)
    await typed(twin, Author(workspace_id, ISSUE), "Crash")
    await project_all(reader)
    assert [(page.deltas, page.issues) for page in pages] == [(2, 1), (2, 1), (1, 1)]
    assert pages[0].lag_seconds == (NOON - START - timedelta(seconds=1)).total_seconds()
    found = await row(twin, workspace_id)
    assert (found.content.title, found.version) == ("Crash", 5)


async def test_a_page_has_no_more_issues_than_it_may(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    pages: list[PageStats] = []
    reader = Projector(twin, engine, ProjectorLimits(page_issues=2), now=lambda: NOON, on_page=pages.append)
    ana, ben, eve = (Author(workspace_id, UUID(int=number)) for number in (1, 2, 3))
    await twin.append([ana.types("a"), ben.types("b"), ana.types("a"), eve.types("e"), ana.types("a")])
    await project_all(reader)
    assert [(page.deltas, page.issues) for page in pages] == [(3, 2), (2, 2)]


async def test_a_page_that_was_cut_makes_the_next_ones_smaller_and_those_that_fit_larger_again(
    twin: Store, workspace_id: int, engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = twin.page_by_issue

    async def page_by_issue(workspace_id: int, after: int, limit: int) -> list[IssueDeltas]:
        asked.append(limit)
        return await read(workspace_id, after, limit)

    monkeypatch.setattr(twin, "page_by_issue", page_by_issue)
    reader = projector(twin, engine, ProjectorLimits(page_deltas=16, page_issues=2))
    authors = [Author(workspace_id, UUID(int=number)) for number in range(1, 7)]
    await twin.append([author.types("x") for author in authors] + [authors[0].types("x") for _ in range(20)])
    await project_all(reader)
    assert asked == [16, 2, 4, 2, 4, 2, 4, 8, 16]
    assert await cursor(twin, workspace_id) == 26


async def test_a_snapshot_ahead_of_the_cursor_is_no_trouble(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    author = Author(workspace_id, ISSUE)
    await typed(twin, author, "Crash")
    state = author.doc.get_update()
    await twin.save_snapshot(Snapshot(workspace_id, ISSUE, 5, 5, state, b"", author.at))
    await project_all(projector(twin, engine, ProjectorLimits(page_deltas=2)))
    found = await row(twin, workspace_id)
    assert (found.content.title, found.seq, found.version, found.content.updated_at) == ("Crash", 5, 5, author.at)


async def test_many_cold_issues_are_read_in_bounded_groups(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    limits = ProjectorLimits(projection=ProjectionLimits(loads_at_once=3, held_issues=4))
    authors = [Author(workspace_id, UUID(int=number)) for number in range(1, 11)]
    reader = projector(twin, engine, limits)
    for _ in range(2):
        await twin.append([author.types("x") for author in authors])
        await project_all(reader)
    rows = await twin.projected(workspace_id, [author.issue_id for author in authors])
    assert {found.content.title for found in rows.values()} == {"xx"}
    assert len(rows) == 10


async def test_several_nodes_share_the_work_without_doing_it_twice(
    twin: Store, workspace_id: int, engine: InlineEngine
) -> None:
    deltas: list[int] = []
    done = asyncio.Event()

    def count(page: PageStats) -> None:
        deltas.append(page.deltas)
        if sum(deltas) >= 19:
            done.set()

    limits = ProjectorLimits(page_deltas=3, poll_seconds=0.01)
    nodes = [Projector(twin, InlineEngine(), limits, now=lambda: NOON, on_page=count) for _ in range(3)]
    author = Author(workspace_id, ISSUE)
    await typed(twin, author, "a long enough title")
    running = [asyncio.create_task(node.run()) for node in nodes]
    async with asyncio.timeout(10):
        await done.wait()
    await stop(*running)
    assert sum(deltas) == 19
    found = await row(twin, workspace_id)
    assert (found.content.title, found.version) == ("a long enough title", 19)


async def test_woken_it_projects_and_cancelled_it_ends(twin: Store, workspace_id: int, engine: InlineEngine) -> None:
    projected = asyncio.Event()
    limits = ProjectorLimits(settle_seconds=0.0, poll_seconds=3_600.0)
    reader = Projector(twin, engine, limits, now=lambda: NOON, on_page=lambda page: projected.set())
    running = asyncio.create_task(reader.run())
    for letter in "ab":
        await twin.append([Author(workspace_id, ISSUE, client_id=ord(letter)).types(letter)])
        reader.wake()
        async with asyncio.timeout(10):
            await projected.wait()
        projected.clear()
    await stop(running)
    assert (await row(twin, workspace_id)).version == 2


def test_ages_are_never_negative(engine: InlineEngine) -> None:
    """Clocks of nodes differ."""
    reader = Projector(MemoryStore(), engine, QUICK, now=lambda: datetime.min.replace(tzinfo=START.tzinfo))
    assert reader._age_seconds([IssueDeltas(ISSUE, [1], [b""], START, START)]) == 0.0
