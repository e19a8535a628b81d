"""Finding parts of words and near misses, on a Postgres that has pg_trgm; the embedded one has not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest

from storage.database import Database, DatabaseLimits
from storage.isolation import MAINTENANCE, SETTING, TRIGRAMS, ScopedConnection, take_role
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
# What docs/rest.md tells an administrator to run.
BY_ADMINISTRATOR = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm; ALTER FUNCTION ts_match_vq(tsvector, tsquery) LEAKPROOF COST 100; "
    "ALTER FUNCTION textlike(text, text) LEAKPROOF; ALTER FUNCTION word_similarity_op(text, text) LEAKPROOF"
)
BE_OWNER = f"RESET ROLE; SELECT set_config('{SETTING}', '{MAINTENANCE}', false)"
UNMARK = "ALTER FUNCTION word_similarity_op(text, text) NOT LEAKPROOF"


@pytest.fixture
async def empty_dsn() -> AsyncIterator[str]:
    """For one connection at a time; what one sets holds for the next."""
    async with running("postgres.mjs") as node:
        yield f"postgresql://postgres@127.0.0.1:{await node.call('port')}/postgres?sslmode=disable"


@pytest.fixture
async def dsn(empty_dsn: str) -> str:
    """In place of the embedded one's."""
    await migrate(empty_dsn)
    return empty_dsn


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """Its one connection serves, as a server's do: policies hold."""
    async with serving(dsn) as database:
        yield database


@asynccontextmanager
async def serving(dsn: str) -> AsyncIterator[Database]:

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
    await pool.execute(BE_OWNER)  # the session is the one of what comes next
    await pool.close()


async def as_owner(database: Database, *statements: tuple[Any, ...]) -> None:
    async with database.session("fill", MAIN) as connection:
        await connection.execute(BE_OWNER)
        for statement, *arguments in statements:
            await connection.execute(statement, *arguments)
        await take_role(connection)
        await connection.execute(f"SELECT set_config('{SETTING}', '{MAIN}', false)")


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


@pytest.mark.long
async def test_an_owner_who_is_no_superuser_finds_words_until_an_administrator_marks_what_is_leakproof(
    empty_dsn: str,
) -> None:
    connection = await asyncpg.connect(empty_dsn, statement_cache_size=0)
    await connection.execute(
        "CREATE ROLE keeper LOGIN CREATEROLE; ALTER DATABASE postgres OWNER TO keeper; "
        "ALTER SCHEMA public OWNER TO keeper; SET SESSION AUTHORIZATION keeper"
    )
    await connection.close()
    await migrate(empty_dsn)
    async with serving(empty_dsn) as database:
        await as_owner(database, (WORKSPACES,), (ISSUE, MAIN, "Slow search"), (DUE,))
        assert await Words(database, WordsLimits()).read_once()
        assert await titles(IssueReader(database), "sear") == ["Slow search"]
        assert await titles(IssueReader(database), "earc") == []
        # The extension is trusted, so an owner may make it; alone it is of no use, and nothing is done with it.
        await as_owner(database, ("CREATE EXTENSION pg_trgm",))
    await migrate(empty_dsn)
    connection = await asyncpg.connect(empty_dsn, statement_cache_size=0)
    assert await connection.fetchval("SELECT current_setting('is_superuser')") == "off"
    assert await connection.fetchval("SELECT to_regclass($1)", TRIGRAMS) is None

    await connection.execute("SET SESSION AUTHORIZATION postgres")
    for command in BY_ADMINISTRATOR.split("; "):
        await connection.execute(command)
    await connection.execute("SET SESSION AUTHORIZATION keeper")
    await connection.close()
    await migrate(empty_dsn)
    async with serving(empty_dsn) as database:
        await as_owner(database, (MANY,), (f"{DUE} ON CONFLICT DO NOTHING",))
        assert await Words(database, WordsLimits(page_issues=2_000)).read_once()
        await as_owner(database, ("VACUUM ANALYZE issue_words",))
        assert await titles(IssueReader(database), "earc") == ["Slow search"]
        found_in = await plan(database, "earc")
        assert found_in.count(TRIGRAMS) == 2, found_in
        assert "issue_words_by_word" in found_in
        assert "Seq Scan" not in found_in, found_in
