"""What is due to be read for the search is read once, however often it was edited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from storage.database import Database, DatabaseLimits, open_database
from storage.words import Words, WordsLimits
from tests.conftest import execute

ISSUES = """INSERT INTO issues (workspace_id, id, seq, version, title, description) SELECT
    1, lpad(to_hex(n), 32, '0')::uuid, 9, 1, 't', 'd' FROM generate_series(1, 3) AS n"""
# Issue 1 was edited all the while, 2 in between, 3 after them.
DUE = """INSERT INTO issue_words_due (workspace_id, seq, issue_id) SELECT 1, seq, lpad(to_hex(n), 32, '0')::uuid
    FROM (VALUES (1, 1), (2, 1), (3, 2), (4, 1), (5, 3), (6, 1)) AS due (seq, n)"""


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    await execute(dsn, "INSERT INTO workspaces (id, slug, name) OVERRIDING SYSTEM VALUE VALUES (1, 'main', 'Main')")
    await execute(dsn, ISSUES)
    await execute(dsn, DUE)
    database = await open_database(dsn, DatabaseLimits())
    yield database
    await database.close()


async def due(dsn: str) -> list[tuple[int, UUID]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT seq, issue_id FROM issue_words_due ORDER BY seq")
    finally:
        await connection.close()
    return [tuple(row) for row in rows]


async def test_an_issue_that_was_edited_many_times_is_read_once(database: Database, dsn: str) -> None:
    words = Words(database, WordsLimits(page_issues=2))
    assert await words.read_once()
    assert await due(dsn) == [(5, UUID(int=3))]
    assert await words.read_once()
    assert not await words.read_once()


async def test_no_more_notes_are_looked_at_than_may_be(database: Database, dsn: str) -> None:
    assert await Words(database, WordsLimits(page_rows=2)).read_once()
    assert [seq for seq, _ in await due(dsn)] == [3, 4, 5, 6]
