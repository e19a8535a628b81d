"""Finding parts of words and near misses, on a Postgres that has pg_trgm; the embedded one has not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import asyncpg
import pytest

from storage.database import Database, DatabaseLimits
from storage.isolation import TRIGRAMS, ScopedConnection, take_role
from storage.issue_reader import IssueReader
from storage.migrate import migrate
from storage.tables import issue_words
from storage.tables.issue_queries import IssueQuery, statement
from storage.words import Words, WordsLimits
from tests.js.toolchain import running

MAIN, OTHER = 1, 2
WORKSPACES = (
    "INSERT INTO workspaces (slug, name, epoch) SELECT s, s, gen_random_uuid() FROM unnest(ARRAY['a', 'b']) AS s"
)
ISSUE = """
INSERT INTO issues (workspace_id, id, seq, version, title, description, updated_at)
VALUES ($1, gen_random_uuid(), 1, 1, $2, '', now())"""
MANY = """
INSERT INTO issues (workspace_id, id, seq, version, title, description, updated_at)
SELECT 1, gen_random_uuid(), 1, 1, md5(n::text), repeat(md5(n::text) || ' ', 20), now()
FROM generate_series(1, 1000) AS n"""
DUE = "INSERT INTO issue_words_due SELECT workspace_id, seq, id FROM issues"
UNMARK = "ALTER FUNCTION word_similarity_op(text, text) NOT LEAKPROOF"


@pytest.fixture
async def dsn() -> AsyncIterator[str]:
    """In place of the embedded one's; for one connection at a time."""
    async with running("postgres.mjs") as node:
        dsn = f"postgresql://postgres@127.0.0.1:{await node.call('port')}/postgres?sslmode=disable"
        await migrate(dsn)
        yield dsn


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """Its one connection serves, as a server's do: policies hold."""

    async def nothing(_connection: Any) -> None: ...

    pool = await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=1,
        statement_cache_size=0,  # the session is the one of `migrate`, whose statements have these names
        connection_class=ScopedConnection,
        init=take_role,
        reset=nothing,
    )
    yield Database(pool, pool, DatabaseLimits(), cast(Any, nothing))
    await pool.close()


async def as_owner(database: Database, *statements: tuple[Any, ...]) -> None:
    async with database.session("fill", MAIN) as connection:
        await connection.execute("RESET ROLE")
        for statement, *arguments in statements:
            await connection.execute(statement, *arguments)
        await take_role(connection)


async def titles(reader: IssueReader, text: str) -> list[str]:
    page = await reader.page(MAIN, IssueQuery(text=text))
    return sorted(issue.content.title for issue in page.issues)


async def plan(database: Database, text: str) -> str:
    sql, arguments = statement(MAIN, IssueQuery(text=text), words=issue_words.BY_TRIGRAMS, is_looked_up=True)
    async with database.session("explain", MAIN) as connection:
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments))


@pytest.mark.long
async def test_parts_of_words_and_near_misses_are_found_in_an_index(database: Database) -> None:
    texts = [(MAIN, "Slow search"), (MAIN, "Crash in the synchronizer"), (MAIN, "100% of it"), (OTHER, "Slow search")]
    await as_owner(database, (WORKSPACES,), *((ISSUE, *text) for text in texts), (DUE,))
    words, reader = Words(database, WordsLimits(page_issues=2_000)), IssueReader(database)
    assert await words.read_once()
    for text, found in {
        "search": ["Slow search"],
        "EARC": ["Slow search"],
        "w sea": ["Slow search"],
        "synchroniser": ["Crash in the synchronizer"],
        "seach": [],
        "00%": ["100% of it"],
        "%": [],
        "s_arch": [],
    }.items():
        assert await titles(reader, text) == found, text

    await as_owner(database, (MANY,), (f"{DUE} ON CONFLICT DO NOTHING",))
    assert await words.read_once()
    await as_owner(database, ("VACUUM ANALYZE issue_words",))
    found_in = await plan(database, "earc")
    assert found_in.count(TRIGRAMS) == 2, found_in
    assert "issue_words_by_word" in found_in
    assert "Seq Scan" not in found_in

    # Where nobody may declare them leakproof, every text would be read: words are looked for then.
    await as_owner(database, (UNMARK,))
    assert TRIGRAMS not in await plan(database, "earc")
    assert await titles(IssueReader(database), "EARC") == []
    assert await titles(IssueReader(database), "search") == ["Slow search"]
