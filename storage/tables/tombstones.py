"""Rows of `tombstones`: what a purge deletes, what it leaves, and how the rest of the store learns of it."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from storage.errors import NotPurgeable
from storage.isolation import Connection
from storage.store import TOMBSTONE
from storage.tables import conflicts, workspaces
from storage.tables.deltas import checksum

AMONG: Final = """
SELECT DISTINCT issue_id FROM tombstones
JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (workspace_id, issue_id) USING (workspace_id, issue_id)"""
HOLES_BETWEEN: Final = """
SELECT count(*) FROM tombstones, unnest(seqs) AS hole
WHERE workspace_id = $1 AND seqs[1] <= $3 AND seqs[cardinality(seqs)] >= $2 AND hole BETWEEN $2 AND $3"""

# Deleted, and untouched since. Of all workspaces, so a function that gives away no more than ids.
DUE: Final = "SELECT * FROM syncline_issues_to_purge($1, $2)"

# The projection stands still meanwhile, and so do snapshots and trims of the issue.
_PROJECTION: Final = "SELECT seq FROM cursors WHERE workspace_id = $1 AND reader = $2 FOR UPDATE"
_DOCUMENT: Final = """
SELECT i.deleted_at, d.updated_at
FROM documents AS d LEFT JOIN issues AS i ON i.workspace_id = d.workspace_id AND i.id = d.issue_id
WHERE d.workspace_id = $1 AND d.issue_id = $2 FOR UPDATE OF d"""
_NEWEST: Final = "SELECT max(seq) FROM deltas WHERE workspace_id = $1 AND issue_id = $2"
_DELETE_DELTAS: Final = "DELETE FROM deltas WHERE workspace_id = $1 AND issue_id = $2 RETURNING seq"

# Every table that holds something of an issue, and the column that names it there; and `conflicts`.
HOLDERS: Final = (
    ("snapshots", "issue_id"),
    ("comments", "issue_id"),
    ("import_items", "issue_id"),
    ("sync_queue", "issue_id"),
    ("keyed_requests", "issue_id"),
    ("keyed_edits", "issue_id"),
    ("issue_labels", "issue_id"),
    ("issue_words", "issue_id"),
    ("issue_words_due", "issue_id"),
    ("issues", "id"),
    ("documents", "issue_id"),
)

# From here every writer of the workspace waits: the row's lock is what appends take.
_COUNT: Final = "UPDATE workspaces SET head = head + 1, purges = purges + 1 WHERE id = $1 RETURNING head, floor"
_BURY: Final = """
WITH stone AS (
    INSERT INTO tombstones (workspace_id, issue_id, seq, purged_at, purged_by, conflict_change, seqs)
    SELECT $1, $2, $3, $4, $5, $10, coalesce(array_agg(seq ORDER BY seq), '{}')
    FROM unnest($6::bigint[]) AS seq WHERE seq > $7
)
INSERT INTO deltas (workspace_id, issue_id, seq, created_at, checksum, actor_id, device_id, update)
VALUES ($1, $2, $3, $4, $8, $5, NULL, $9)"""


async def purge(
    connection: Connection, workspace_id: int, issue_id: UUID, by: str, at: datetime, untouched_since: datetime | None
) -> int:
    """Inside a transaction: delete an issue and leave its tombstone, whose seq is returned. Raises `NotPurgeable`,
    after which the transaction must not be committed."""
    issue = (workspace_id, issue_id)
    await connection.fetchval(_PROJECTION, workspace_id, workspaces.PROJECTION)
    await _expect_deleted(connection, issue, untouched_since)
    newest = await connection.fetchval(_NEWEST, *issue)
    slowest = await connection.fetchval(workspaces.SLOWEST_CURSOR, workspace_id)
    if slowest is None or (newest or 0) > slowest:
        raise NotPurgeable(f"a reader of the log is still at seq {slowest}")
    seqs = [row["seq"] for row in await connection.fetch(_DELETE_DELTAS, *issue)]
    for table, column in HOLDERS:
        await connection.execute(f"DELETE FROM {table} WHERE workspace_id = $1 AND {column} = $2", *issue)
    counted = await connection.fetchrow(_COUNT, workspace_id)
    if counted is None or await connection.fetchval(_NEWEST, *issue) is not None:
        raise NotPurgeable("it was edited meanwhile")
    head: int = counted["head"]
    change = await connection.fetchval(conflicts.FORGET, *issue)
    stone = (head, at, by, seqs, counted["floor"], checksum(issue_id, TOMBSTONE), TOMBSTONE, change)
    await connection.execute(_BURY, *issue, *stone)
    return head


async def _expect_deleted(connection: Connection, issue: tuple[int, UUID], untouched_since: datetime | None) -> None:
    row = await connection.fetchrow(_DOCUMENT, *issue)
    if row is None or row["deleted_at"] is None:
        raise NotPurgeable("it is not deleted")
    if untouched_since is not None and max(row["deleted_at"], row["updated_at"]) >= untouched_since:
        raise NotPurgeable("it was touched since")


async def purged_among(connection: Connection, workspace_ids: Iterable[int], issue_ids: Iterable[UUID]) -> list[UUID]:
    """Those of some issues, named by pairs, that are purged."""
    return [row["issue_id"] for row in await connection.fetch(AMONG, list(workspace_ids), list(issue_ids))]
