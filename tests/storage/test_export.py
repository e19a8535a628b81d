"""An export is one moment of a workspace, in a stable order, and is read a page at a time."""

from __future__ import annotations

import gc
from datetime import timedelta
from uuid import UUID

import asyncpg
import psutil
import pytest

from crdt.issue import Comment, IssueContent
from storage.errors import StoreUnavailable, UnknownWorkspace
from storage.export import ExportLimits, open_export
from storage.postgres import PostgresStore
from storage.store import ProjectedIssue
from tests.storage.rows import NOON, comment, new_delta

AT_ONCE = ExportLimits(wait_seconds=0)


async def project(store: PostgresStore, workspace_id: int, number: int, *comments: Comment, minutes: int = 0) -> None:
    """One delta and the row computed from it."""
    issue_id = UUID(int=number)
    (seq,) = await store.append([new_delta(workspace_id, issue_id)])
    content = IssueContent(title=f"issue {number}", comments=comments, created_at=NOON + timedelta(minutes=minutes))
    async with store.projection(workspace_id) as turn:
        assert turn is not None
        page = await store.page_by_issue(workspace_id, turn.cursor, 10)
        await turn.save([ProjectedIssue(issue_id, seq, 1, content)], page)


@pytest.fixture
async def main(store: PostgresStore) -> int:
    return (await store.create_workspace("main", "Main")).id


@pytest.mark.parametrize("limits", [AT_ONCE, ExportLimits(page_issues=1), ExportLimits(page_bytes=1)])
async def test_issues_come_by_creation_then_id_whatever_the_page(
    store: PostgresStore, dsn: str, main: int, limits: ExportLimits
) -> None:
    for number, minutes in ((3, 0), (1, 5), (2, 0)):
        await project(store, main, number, comment("b"), comment("a"), minutes=minutes)
    async with open_export(dsn, "main", limits) as export:
        rows = [row async for row in export.issues()]
    assert [row.issue_id.int for row in rows] == [2, 3, 1]
    assert [c.id for c in rows[0].content.comments] == ["a", "b"]
    assert (export.header.seq, export.header.issues) == (3, 3)


async def test_what_is_written_meanwhile_is_not_in_it(store: PostgresStore, dsn: str, main: int) -> None:
    await project(store, main, 1)
    async with open_export(dsn, "main", AT_ONCE) as export:
        await project(store, main, 2)
        assert [row.issue_id.int async for row in export.issues()] == [1]
        assert export.header.seq == 1


async def test_it_does_not_begin_before_the_projection_is_there(store: PostgresStore, dsn: str, main: int) -> None:
    await store.append([new_delta(main)])
    with pytest.raises(StoreUnavailable, match="at seq 0 of 1"):
        async with open_export(dsn, "main", AT_ONCE):
            pass


async def test_a_row_ahead_of_the_cursor_has_no_seq_to_be_exported_at(
    store: PostgresStore, dsn: str, main: int
) -> None:
    await project(store, main, 1)
    async with store.projection(main) as turn:
        assert turn is not None
        await turn.save([ProjectedIssue(UUID(int=1), 2, 2, IssueContent(title="ahead"))], [])
    with pytest.raises(StoreUnavailable):
        async with open_export(dsn, "main", AT_ONCE):
            pass


async def test_an_unknown_workspace_is_an_error(store: PostgresStore, dsn: str) -> None:
    with pytest.raises(UnknownWorkspace):
        async with open_export(dsn, "nowhere", AT_ONCE):
            pass


async def test_many_big_issues_do_not_grow_the_process(store: PostgresStore, dsn: str, main: int) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO issues (workspace_id, id, seq, version, title, description, created_at)"
        " SELECT $1, gen_random_uuid(), 0, 1, 't', repeat(md5(n::text), 320), now() FROM generate_series(1, 10000) n",
        main,
    )
    await connection.close()
    process = psutil.Process()
    async with open_export(dsn, "main", AT_ONCE) as export:
        count = before = peak = 0
        async for row in export.issues():
            assert len(row.content.description) == 10_240
            count += 1
            if count == 500:  # the buffers and the statements are there now
                gc.collect()
                before = peak = process.memory_info().rss
            elif count % 100 == 0:
                peak = max(peak, process.memory_info().rss)
    assert count == 10_000
    assert peak - before < 8 * 2**20, f"{(peak - before) / 2**20:.1f} MiB"
