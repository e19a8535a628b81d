"""Every statement that answers a request or runs for each edit stays on an index, however big its table is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from storage.conflicts import ConflictQuery
from storage.postgres import PostgresStore
from storage.tables import (
    audit_log,
    conflicts,
    delta_queries,
    devices,
    imports,
    issues,
    memberships,
    tokens,
)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
ISSUE: Final = UUID(int=5)

# n runs through 5,000 numbers; an issue is one of 200, a user one of 100.
_ISSUE: Final = "lpad(to_hex(n % 200 + 1), 32, '0')::uuid"
_FILL: Final = (
    """INSERT INTO issues (workspace_id, id, seq, version, title, description, labels)
    SELECT $1, lpad(to_hex(n), 32, '0')::uuid, n, 1, 't', '', ARRAY['l' || n % 20] FROM {numbers}""",
    f"""INSERT INTO comments (workspace_id, issue_id, id, author, body, created_at)
    SELECT $1, {_ISSUE}, n, 'ana', 'b', now() - n * interval '1 minute' FROM {{numbers}}""",
    f"""INSERT INTO deltas SELECT $1, n, {_ISSUE}, now() + n * interval '1 second', 0, 'ana', NULL, ''
    FROM {{numbers}}""",
    f"""INSERT INTO snapshots SELECT $1, {_ISSUE}, n, n, now(), 0, '', '' FROM {{numbers}}""",
    """INSERT INTO users (workspace_id, id) SELECT $1, 'user ' || n FROM {numbers}""",
    """INSERT INTO memberships (workspace_id, user_id, role) SELECT $1, 'user ' || n, 'member' FROM {numbers}""",
    """INSERT INTO devices (workspace_id, user_id, id, address, first_seen_at, last_seen_at)
    SELECT $1, 'user ' || n % 100, n, '', now(), now() FROM {numbers}""",
    """INSERT INTO tokens (workspace_id, id, user_id, role, expires_at, created_at)
    SELECT $1, n, 'user ' || n % 100, 'member', now() + interval '1 day', now() FROM {numbers}""",
    """INSERT INTO audit_log (workspace_id, at, action, is_refused, via, user_id, count, detail)
    SELECT $1, now() + n * interval '1 second', 'deleteIssue', false, 'http', 'user ' || n % 100, 1, '{{}}'
    FROM {numbers}""",
    """INSERT INTO import_batches (workspace_id, id, name, source, started_by, started_at)
    SELECT $1, gen_random_uuid(), 'f', 'csv', 'ana', now() FROM {numbers}""",
    f"""INSERT INTO conflicts (workspace_id, id, issue_id, seq, kind, field, standing_key, standing_actor, losing_key,
        losing_actor, strategy, state, resolution, resolved_by, resolved_at, created_at, change)
    SELECT $1, gen_random_uuid(), {_ISSUE}, n, 'update_update', 'status', 'a', 'ana', 'b', 'ben', 'merge_fields',
        'resolved', 'standing', 'ana', now(), now(), n FROM {{numbers}}""",
    """UPDATE conflicts SET state = 'open', resolution = NULL, resolved_by = NULL, resolved_at = NULL
    WHERE workspace_id = $1 AND seq % 50 = 0""",
)


@pytest.fixture
async def filled(store: PostgresStore, dsn: str) -> AsyncIterator[tuple[Connection, int]]:
    """Two workspaces, so that one's rows are half of each table."""
    connection = await asyncpg.connect(dsn)
    for slug in ("main", "other"):
        workspace = (await store.create_workspace(slug, slug)).id
        for statement in _FILL:
            await connection.execute(statement.format(numbers="generate_series(1, 5000) AS n"), workspace)
    await connection.execute("ANALYZE; SET plan_cache_mode = force_generic_plan")
    yield connection, workspace
    await connection.close()


# Name → the statement, its arguments behind the workspace, and the index it must be on.
HOT: Final[dict[str, tuple[str, Sequence[object], str]]] = {
    "an issue": (issues.SELECT, ([ISSUE],), "issues_pkey"),
    "whether an issue is there": (issues.EXISTS, (ISSUE,), "issues_pkey"),
    "a thread": (issues.SELECT_THREAD, (ISSUE, False, None, None, 51), "comments_by_creation"),
    "a thread, further on": (issues.SELECT_THREAD, (ISSUE, False, "7", NOW, 51), "comments_by_creation"),
    "a history": (delta_queries.OF_ISSUE, (ISSUE, 4_000, 0, 51), "deltas_by_issue"),
    "a moment of an issue": (delta_queries.SEQ_AT, (ISSUE, NOW), "deltas_by_issue"),
    "where a version is counted from": (delta_queries.VERSION_START, (ISSUE, 9), "snapshots_pkey"),
    "a version": (delta_queries.NTH_AFTER, (ISSUE, 9, 3), "deltas_by_issue"),
    "activity": (delta_queries.OF_WORKSPACE, (4_000, 0, 51), "deltas_pkey"),
    "a member": (memberships.ONE, ("user 5",), "users_pkey"),
    "members": (memberships.PAGE, ("user 5", 101), "users_pkey"),
    "how somebody stands": (
        memberships.STANDING,
        (["user 5"], "user 5", "user 5", "5", "5", UUID(int=1)),
        "memberships_pkey",
    ),
    "devices of a user": (devices.PAGE, ("user 5", 1_000), "devices_pkey"),
    "tokens of a user": (tokens.PAGE, ("user 5", NOW), "tokens"),
    "whose a token is": (tokens.OWNER, ("5",), "tokens_pkey"),
    "the audit log": (audit_log.PAGE, (None, None, None, None, None, None, 51), "audit_log_pkey"),
    "an import": (imports.ONE, (UUID(int=1),), "import_batches_pkey"),
    "a conflict": (conflicts.ONE, (UUID(int=1),), "conflicts_pkey"),
    **{
        f"conflicts {name}": (sql, arguments[1:], index)
        for name, query, index in (
            ("", ConflictQuery(), "conflicts_by_seq"),
            ("that are open", ConflictQuery(state="open"), "conflicts_open"),
            ("of an issue", ConflictQuery(issue_id=ISSUE), "conflicts_by_issue"),
        )
        for sql, arguments in [conflicts.page(0, query)]
    },
}
SORTED: Final = ("devices of a user", "tokens of a user", "where a version is counted from")  # few rows of one owner


@pytest.mark.long
async def test_what_requests_read_is_a_range_of_an_index(filled: tuple[Connection, int]) -> None:
    connection, workspace = filled
    wrong = []
    for name, (sql, arguments, index) in HOT.items():
        rows = await connection.fetch(f"EXPLAIN {sql}", workspace, *arguments)
        plan = "\n".join(row[0] for row in rows)
        if not re.search(rf"using {index}|on {index}", plan) or (name not in SORTED and re.search(r"\bSort\b", plan)):
            wrong.append(f"{name}\n{plan}")
    assert not wrong, "\n\n".join(wrong)
