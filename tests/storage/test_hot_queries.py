"""Every statement that answers a request or runs for each edit stays on an index, however big its table is."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from storage.conflicts import ConflictQuery
from storage.postgres import PostgresStore
from storage.tables import (
    audit_log,
    conflicts,
    delta_queries,
    deltas,
    devices,
    imports,
    issue_labels,
    issues,
    keyed_requests,
    memberships,
    snapshots,
    tokens,
    tombstones,
    visits,
)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
ISSUE: Final = UUID(int=5)
NODE: Final = UUID(int=1)

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
    f"""INSERT INTO visits (workspace_id, id, node_id, user_id, role, acting_for, dialect, address, began_at)
    SELECT $1, gen_random_uuid(), '{NODE}', 'user ' || n % 100, 'member', 'user ' || n % 90, 'native', '', now()
    FROM {{numbers}}""",
    """INSERT INTO keyed_requests (workspace_id, user_id, key, fingerprint, at, claimed_until)
    SELECT $1, 'user ' || n % 100, n, '', '2026-01-01'::timestamptz + n * interval '1 minute', now() FROM {numbers}""",
    """INSERT INTO keyed_edits SELECT $1, 'user ' || n % 100, n, gen_random_uuid(), n, 'made' FROM {numbers}""",
    """INSERT INTO tombstones (workspace_id, issue_id, seq, purged_at, purged_by, conflict_change, seqs)
    SELECT $1, lpad(to_hex(n + 10000), 32, '0')::uuid, n, now(), 'ana', NULL, ARRAY[n] FROM {numbers}""",
    f"""INSERT INTO conflicts (workspace_id, id, issue_id, seq, kind, field, standing_key, standing_actor, losing_key,
        losing_actor, strategy, state, resolution, resolved_by, resolved_at, created_at, change)
    SELECT $1, gen_random_uuid(), {_ISSUE}, n, 'update_update', 'status', 'a', 'ana', 'b', 'ben', 'merge_fields',
        'resolved', 'standing', 'ana', now(), now(), n FROM {{numbers}}""",
    """INSERT INTO issue_labels SELECT workspace_id, id, label, false, now() FROM issues, unnest(labels) AS label
    WHERE workspace_id = $1""",
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
    await connection.execute("INSERT INTO nodes VALUES ($1, now())", NODE)
    await connection.execute("VACUUM issue_labels")
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
    "entries of a history": (delta_queries.ENDS, (ISSUE, 4_000, 0, 1_000, 51), "deltas_by_issue"),
    "how much a history may read": (delta_queries.FITTING, (ISSUE, 4_000, 0, 5_000, 10_000), "deltas_by_issue"),
    "where a blame begins": (delta_queries.NTH_NEWEST, (ISSUE, 20), "deltas_by_issue"),
    "updates of entries": (deltas.STRETCHES, (ISSUE, [5, 900], [805, 1_000]), "deltas_by_issue"),
    "updates at the ends of entries": (deltas.SOME, (ISSUE, [5, 805]), "deltas_by_issue"),
    "snapshots within entries": (snapshots.VERSIONS, (ISSUE, 5, 905), "snapshots_pkey"),
    "states within entries": (snapshots.SOME, (ISSUE, [5]), "snapshots_pkey"),
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
    "devices of a user": (devices.OF_USER, (1_000, "user 5"), "devices_pkey"),
    "devices of all": (devices.OF_ALL, (1_000,), "devices_pkey"),
    "tokens of a user": (tokens.OF_USER, (NOW, "user 5"), "tokens"),
    "tokens of all": (tokens.OF_ALL, (NOW,), "tokens_by_user"),
    "who is here": (visits.OF_ALL, (timedelta(minutes=1), 1_000), "visits_by_user"),
    "where somebody is": (visits.OF_USER, (timedelta(minutes=1), 1_000, "user 5"), "visits_by_represented"),
    "a visit": (visits.ONE, (UUID(int=1),), "visits_pkey"),
    "labels with counts": (issue_labels.COUNTS, ("l8", 100), "issue_labels_by_update"),
    "a moment of a workspace": (delta_queries.SEQ_BEFORE, (NOW,), "deltas_pkey"),
    "an old key": (keyed_requests.FORGET_ONE, ("ana", "k", NOW + timedelta(days=2)), "keyed_requests_pkey"),
    "a request with a key": (keyed_requests.KNOWN, ("ana", "k"), "keyed_requests_pkey"),
    "old keys": (keyed_requests.FORGET, (NOW + timedelta(minutes=9),), "keyed_requests_by_age"),
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
# A few rows of one owner, or of each by itself.
SORTED: Final = (
    "devices of a user",
    "devices of all",
    "tokens of a user",
    "tokens of all",
    "where somebody is",
    "where a version is counted from",
    "updates of entries",
    "updates at the ends of entries",
    "old keys",
    "a purged issue",
)


@pytest.mark.long
async def test_what_requests_read_is_a_range_of_an_index(filled: tuple[Connection, int]) -> None:
    connection, workspace = filled
    asked = {name: (sql, (workspace, *arguments), index) for name, (sql, arguments, index) in HOT.items()}
    asked["a purged issue"] = (tombstones.AMONG, ([workspace], [ISSUE]), "tombstones_pkey")
    wrong = []
    for name, (sql, arguments, index) in asked.items():
        rows = await connection.fetch(f"EXPLAIN {sql}", *arguments)
        plan = "\n".join(row[0] for row in rows)
        is_sorted = name not in SORTED and re.search(r"\bSort\b", plan)
        if (
            not re.search(rf"using {index}|on {index}", plan)
            or is_sorted
            or re.search("Seq Scan on (?!nodes|logins)", plan)
        ):
            wrong.append(f"{name}\n{plan}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.long
async def test_a_moment_is_found_without_reading_what_came_since(filled: tuple[Connection, int]) -> None:
    connection, workspace = filled
    [(first, last)] = await connection.fetch(
        "SELECT min(created_at), max(created_at) FROM deltas WHERE workspace_id = $1", workspace
    )
    for sql, arguments, rows, sought in (
        (delta_queries.SEQ_BEFORE, (workspace,), "workspace_id = $1", "created_at < $2"),
        (delta_queries.SEQ_AT, (workspace, ISSUE), "workspace_id = $1 AND issue_id = $2", "created_at <= $3"),
    ):
        for part in (-0.1, 0, 0.01, 0.3, 0.5, 0.999, 1, 1.1):
            moment = first + part * (last - first)
            wanted = await connection.fetchval(
                f"SELECT max(seq) FROM deltas WHERE {rows} AND {sought}", *arguments, moment
            )
            assert await connection.fetchval(sql, *arguments, moment) == wanted, (sql, part)
            plan = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments, moment)
            assert rows_read(json.loads(plan[0][0])[0]["Plan"]) < 600, (sql, part)


def rows_read(plan: dict[str, Any]) -> float:
    """Of tables, by all nodes of a plan."""
    own = plan["Actual Rows"] * plan["Actual Loops"] if "Relation Name" in plan else 0
    removed = plan.get("Rows Removed by Filter", 0) * plan["Actual Loops"]
    return float(own + removed + sum(map(rows_read, plan.get("Plans", ()))))
