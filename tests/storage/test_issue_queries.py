"""Lists of issues stay on an index, whatever the filter, and never sort more than what they found."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from random import Random
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from crdt.issue import MAX_SHORT_CHARS
from storage.embedded import EmbeddedPostgres
from storage.postgres import PostgresStore
from storage.tables import issue_labels, issue_words
from storage.tables.issue_queries import COLUMNS, NEWEST_FIRST, IssueQuery, SortKey, statement
from tests.conftest import fresh_database, opened

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = (SortKey(COLUMNS["created_at"], is_descending=True),)
URGENT = (SortKey(COLUMNS["priority"], is_descending=True), *NEWEST_FIRST)

ISSUES = """
INSERT INTO issues (workspace_id, id, seq, version, title, description, status, priority, user_id, session_id,
    claude_task_id, labels, updated_at, created_at, deleted_at)
SELECT $1, gen_random_uuid(), n, 1, 't', 'every w' || n % 1000 || said, 'status ' || n % 5,
    (ARRAY['low', 'high', 'urgent'])[n % 3 + 1], 'user ' || n % 500, 'session ' || n % 900, 'task ' || n,
    ARRAY['l' || n % 20], now() - n * interval '1 minute', now(), CASE WHEN n % 3 = 0 THEN now() END
FROM generate_series(1, 10000) AS n,
    LATERAL (SELECT string_agg(' other' || (n + k) % 150, '') AS said FROM generate_series(1, 30) AS k) AS others"""
LABELS = """
INSERT INTO issue_labels SELECT workspace_id, id, label, deleted_at IS NOT NULL, updated_at, status, user_id
FROM issues, unnest(labels) AS label"""
WORDS = """
INSERT INTO issue_words SELECT workspace_id, id, seq, array_to_tsvector(search_words(workspace_id, description))
FROM issues"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled_database(postgres: EmbeddedPostgres, database_names: Iterator[str]) -> AsyncIterator[tuple[str, int]]:
    """Address and workspace of a database that is filled once: nobody writes into it any more."""
    async with fresh_database(postgres, next(database_names)) as dsn:
        async with opened(dsn) as store:
            workspace = (await store.create_workspace("main", "Main")).id
        connection = await asyncpg.connect(dsn)
        await connection.execute(ISSUES, workspace)
        await connection.execute(f"{LABELS}; {WORDS}; ANALYZE")
        for table in ("issues", "issue_labels"):
            await connection.execute(f"VACUUM {table}")
        await connection.close()
        yield dsn, workspace


@pytest.fixture
async def filled(filled_database: tuple[str, int]) -> AsyncIterator[tuple[Connection, int]]:
    dsn, workspace = filled_database
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET plan_cache_mode = force_generic_plan; SET default_transaction_read_only = on")
    yield connection, workspace
    await connection.close()


async def plan_of(connection: Connection, sql: str, *arguments: object) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (IssueQuery(), "issues_by_update"),
        (IssueQuery(after=(NOW, UUID(int=5))), "issues_by_update"),
        (IssueQuery(updated_since=NOW), "issues_by_update"),
        (IssueQuery(sort=CREATED), "issues_by_creation"),
        (IssueQuery(sort=CREATED, after=(NOW, UUID(int=5))), "issues_by_creation"),
        (IssueQuery(sort=URGENT), "issues_by_priority"),
        (IssueQuery(sort=URGENT, after=(3, NOW, UUID(int=5))), "issues_by_priority"),
        (IssueQuery(status="status 1"), "issues_by_status"),
        (IssueQuery(status="status 1", after=(NOW, UUID(int=5))), "issues_by_status"),
        (IssueQuery(status="status 1", sort=URGENT), "issues_by_status_and_priority"),
        (IssueQuery(status="status 1", priority="high"), "issues_by_status_and_priority"),
        (IssueQuery(priority="high"), "issues_by_priority"),
        (IssueQuery(user_id="user 1"), "issues_by_user"),
        (IssueQuery(session_id="session 1"), "issues_by_session"),
        (IssueQuery(claude_task_id="task 1"), "issues_by_task"),
        (IssueQuery(is_deleted=True), "issues_deleted_by_update"),
        (IssueQuery(label="l1"), "issue_labels_by_update"),
        (IssueQuery(label="l1", after=(NOW, UUID(int=5))), "issue_labels_by_update"),
        (IssueQuery(sort=(SortKey(COLUMNS["id"], is_descending=False),), after=(UUID(int=5),)), "issues_pkey"),
    ],
)
async def test_a_page_is_a_range_of_an_index(filled: tuple[Connection, int], query: IssueQuery, index: str) -> None:
    connection, workspace = filled
    sql, arguments = statement(workspace, query)
    plan = await plan_of(connection, sql, *arguments)
    assert re.search(rf"Index (Only )?Scan (Backward )?using {index}\b", plan), plan
    assert "Sort" not in plan, plan
    assert "Seq Scan" not in plan, plan


async def test_a_text_is_looked_for_in_an_index_or_walked_along_one(filled: tuple[Connection, int]) -> None:
    connection, workspace = filled
    query = IssueQuery(text="w1")
    finding, sought = statement(workspace, query, words=issue_words.BY_WORDS, is_looked_up=True)
    plan = await plan_of(connection, finding, *sought)
    assert "issue_words_by_word" in plan, plan
    assert "Seq Scan" not in plan, plan
    broad, of_broad = statement(workspace, query, words=issue_words.BY_WORDS)
    plan = await plan_of(connection, broad, *of_broad)
    assert re.search(r"Index (Only )?Scan Backward using issues_by_update", plan), plan
    assert "Index Scan using issue_words_pkey" in plan, plan
    assert "Sort" not in plan.partition("Limit")[2], plan


@pytest.mark.parametrize(
    "query",
    [
        IssueQuery(text="w1"),
        IssueQuery(text="w1", status="status 1"),
        IssueQuery(text="w1", status="status 1", sort=CREATED),
        IssueQuery(text="w1", sort=URGENT),
    ],
)
async def test_of_what_a_text_finds_only_the_rows_of_the_page_are_fetched(
    filled: tuple[Connection, int], query: IssueQuery
) -> None:
    connection, workspace = filled
    sql, arguments = statement(workspace, query, words=issue_words.BY_WORDS, is_looked_up=True)
    whole = await plan_of(connection, sql, *arguments)
    few, _, more = whole.partition('Subquery Scan on "*SELECT* 2"')
    few = few.partition('Subquery Scan on "*SELECT* 1"')[2]
    more = more.partition("Index Scan using issues_pkey on issues i ")[0]
    assert "Index Only Scan using issues_pkey" in few, whole
    # Of more the order is walked, past what is not among them, and nothing sorted.
    assert re.search(r"Index (Only )?Scan (Backward )?using issues_by_", more), whole
    assert "hashed SubPlan" in more, whole
    assert "Sort" not in more, whole
    assert "Seq Scan" not in whole, whole


async def test_how_many_issues_a_text_finds_is_known_beforehand(filled: tuple[Connection, int]) -> None:
    connection, workspace = filled
    for text, holding in (("every", 10_000), ("w99", 110), ("w999", 10), ("every w999", 10), ("!", 0)):
        [[told]] = await connection.fetch(issue_words.ESTIMATE, workspace, text)
        plan = json.loads(told)[0]["Plan"]
        estimated = plan["Plan Rows"]
        assert (issue_words.INDEX in told) == (0 < holding < 1_000), told
        assert holding / 4 <= estimated <= holding * 4 + 50, (text, estimated)


async def test_words_stand_outside_their_rows_whenever_they_are_written(store: PostgresStore, dsn: str) -> None:
    row_bytes, issues = 150, 1_000
    workspace = (await store.create_workspace("main", "Main")).id
    connection = await asyncpg.connect(dsn)
    await connection.execute(ISSUES.replace("10000", str(issues)), workspace)
    ids = await connection.fetchval("SELECT array_agg(id) FROM issues")
    for written in (1, 2):
        assert await connection.execute(issue_words.READ, workspace, ids, False) == f"INSERT 0 {issues}"
        assert await connection.fetchval("SELECT pg_relation_size('issue_words')") < written * issues * row_bytes
        await connection.execute("UPDATE issues SET seq = seq + $1, description = 'a' || description", issues)
    await connection.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (IssueQuery(label="l1", status="status 1", user_id="nobody"), "issue_labels_by_update"),
        (IssueQuery(label="l1", status="none"), "issues_by_status"),
        (IssueQuery(label="l1", session_id="session 1"), "issues_by_session"),
        (IssueQuery(status="status 1", user_id="user 1"), "issues_by_user"),
        (IssueQuery(is_deleted=True, user_id="user 1"), "issues_by_user"),
    ],
)
async def test_of_several_filters_the_one_that_finds_least_is_walked(
    filled: tuple[Connection, int], query: IssueQuery, index: str
) -> None:
    connection, workspace = filled
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    sql, arguments = statement(workspace, query)
    plan = await plan_of(connection, sql, *arguments)
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan


async def test_a_label_is_walked_in_its_index_alone_past_what_another_filter_leaves_out(
    filled: tuple[Connection, int],
) -> None:
    connection, workspace = filled
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    sql, arguments = statement(workspace, IssueQuery(label="l1", status="status 2"))  # no issue has both
    plan = await plan_of(connection, sql, *arguments)
    walked = plan.partition("Index Only Scan Backward using issue_labels_by_update")[2].partition("->")[0]
    assert "Filter: (status = 'status 2'::text)" in walked, plan
    assert await connection.fetch(sql, *arguments) == []


async def test_the_longest_values_fit_into_every_index(store: PostgresStore, dsn: str) -> None:
    workspace = (await store.create_workspace("main", "Main")).id
    connection = await asyncpg.connect(dsn)
    chance = Random(1)
    status, priority, user, session, task = (
        "".join(chr(chance.randrange(0x10000, 0x10FFFF)) for _ in range(MAX_SHORT_CHARS)) for _ in range(5)
    )
    await connection.execute(
        """INSERT INTO issues (workspace_id, id, seq, version, title, description, status, priority, user_id,
        session_id, claude_task_id, created_at, updated_at, completed_at, deleted_at)
        VALUES ($1, gen_random_uuid(), 1, 1, '', '', $2, $3, $4, $5, $6, now(), now(), now(), now())""",
        *(workspace, status, priority, user, session, task),
    )
    await connection.execute("UPDATE issues SET labels = ARRAY[session_id]")
    ids = await connection.fetchval("SELECT array_agg(id) FROM issues")
    assert await connection.execute(issue_labels.UPSERT, workspace, ids) == "INSERT 0 1"
    await connection.close()
