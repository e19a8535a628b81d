"""Rows of `deltas`, the log: how a batch is appended in one statement and how rows are read back and checked."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID
from zlib import crc32

from asyncpg import Record

from storage.errors import Corrupt
from storage.store import Delta, IssueDeltas, NewDelta

_COLUMNS: Final = "workspace_id, seq, issue_id, update, actor_id, device_id, created_at, checksum"

# One statement, one round trip, committed on its own. The rows of `workspaces` are locked in the order of their ids, so
# that batches never deadlock, and stay locked until COMMIT: the next writer of a workspace numbers from what this one
# left, so commit order is seq order. A workspace that does not exist leaves `seq` NULL, which the table refuses: the
# statement then commits nothing. So does an issue that was purged, or that may have been while we waited for the lock:
# what is locked is read as it is now, but tombstones are read as they were when the statement began.
APPENDING: Final = """
WITH incoming AS (
    SELECT *, row_number() OVER (PARTITION BY workspace_id ORDER BY position) AS place
    FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
        WITH ORDINALITY
        AS row (workspace_id, issue_id, update, checksum, actor_id, device_id, created_at, position)
), counted AS (
    SELECT workspace_id, count(*) AS rows, (SELECT purges FROM workspaces WHERE id = workspace_id) AS seen
    FROM incoming GROUP BY workspace_id
), locked AS (
    SELECT id, rows, seen FROM workspaces JOIN counted ON id = workspace_id ORDER BY id FOR NO KEY UPDATE OF workspaces
), bumped AS (
    UPDATE workspaces SET head = head + rows FROM locked WHERE workspaces.id = locked.id
    RETURNING workspaces.id, head - rows AS before, purges, seen
), appended AS (
    INSERT INTO deltas (workspace_id, seq, issue_id, update, checksum, actor_id, device_id, created_at)
    SELECT workspace_id, CASE WHEN purges = 0 OR purges = seen AND (
        SELECT seq FROM tombstones AS t WHERE t.workspace_id = incoming.workspace_id AND t.issue_id = incoming.issue_id
    ) IS NULL THEN before + place END, issue_id, update, checksum, actor_id, device_id, created_at
    FROM incoming LEFT JOIN bumped ON id = workspace_id
)"""
APPENDED: Final = "SELECT id, before FROM bumped"
APPEND: Final = f"{APPENDING} {APPENDED}"

# The same promises for a batch of one workspace, as nearly all are, for two thirds of what the other costs.
APPEND_TO_ONE: Final = """
WITH bumped AS (
    UPDATE workspaces SET head = head + cardinality($2::uuid[]) WHERE id = $1::bigint
    RETURNING head - cardinality($2::uuid[]) AS before, purges, (SELECT purges FROM workspaces WHERE id = $1) AS seen
), appended AS (
    INSERT INTO deltas (workspace_id, seq, issue_id, update, checksum, actor_id, device_id, created_at)
    SELECT $1, CASE WHEN purges = 0 OR purges = seen AND (
        SELECT seq FROM tombstones AS t WHERE t.workspace_id = $1 AND t.issue_id = incoming.issue_id
    ) IS NULL THEN before + place END, issue_id, update, checksum, actor_id, device_id, created_at
    FROM unnest($2::uuid[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[]) WITH ORDINALITY
        AS incoming (issue_id, update, checksum, actor_id, device_id, created_at, place)
    LEFT JOIN bumped ON true
) SELECT before FROM bumped"""

# For deltas that may only come right after a certain one. The lock first, in a statement of its own, so that the next
# one sees what was committed while we waited for it. A snapshot tells of deltas that are trimmed.
LOCK: Final = "SELECT FROM workspaces WHERE id = $1 FOR NO KEY UPDATE"
OVERTAKEN: Final = """
SELECT issue_id FROM unnest($2::uuid[], $3::bigint[]) AS e (issue_id, after)
WHERE EXISTS (SELECT FROM deltas AS d WHERE d.workspace_id = $1 AND d.issue_id = e.issue_id AND d.seq > after)
    OR EXISTS (SELECT FROM snapshots AS s WHERE s.workspace_id = $1 AND s.issue_id = e.issue_id AND s.seq > after)
LIMIT 1"""

VERSION: Final = """
WITH snapshot AS (
    SELECT seq, version FROM snapshots WHERE workspace_id = $1 AND issue_id = $2 ORDER BY seq DESC LIMIT 1
), tail AS (
    SELECT count(*) AS deltas, max(seq) AS seq FROM deltas
    WHERE workspace_id = $1 AND issue_id = $2 AND seq > coalesce((SELECT seq FROM snapshot), 0)
)
SELECT coalesce((SELECT version FROM snapshot), 0) + deltas AS version,
    coalesce(seq, (SELECT seq FROM snapshot), 0) AS seq
FROM tail"""

TAIL: Final = f"""
SELECT {_COLUMNS} FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq > $3 ORDER BY seq"""
RANGE: Final = f"""
SELECT {_COLUMNS} FROM deltas
WHERE workspace_id = $1 AND issue_id = $2 AND seq > $3 AND ($4::bigint IS NULL OR seq <= $4) ORDER BY seq"""

SOME: Final = f"""
SELECT {_COLUMNS} FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq = ANY ($3::bigint[]) ORDER BY seq"""
STRETCHES: Final = f"""
SELECT delta.* FROM unnest($3::bigint[], $4::bigint[]) AS stretch (after, through) CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq > after AND seq <= through
) AS delta ORDER BY seq"""

# At most $3 rows and, after the first, at most $4 bytes of updates: a page fits into memory whatever was written.
_FITTING: Final = f"""
SELECT {_COLUMNS} FROM (
    SELECT {_COLUMNS}, sum(octet_length(update)) OVER (ORDER BY seq) AS bytes, row_number() OVER (ORDER BY seq) AS row
    FROM (SELECT {_COLUMNS} FROM deltas WHERE workspace_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS page
) AS measured
WHERE bytes <= $4 OR row = 1"""
PAGE: Final = f"{_FITTING} ORDER BY seq"

# A row an issue instead of a delta: where many deltas are of few issues, a fifth of the work to read it.
PAGE_BY_ISSUE: Final = f"""
SELECT issue_id, array_agg(seq ORDER BY seq), array_agg(update ORDER BY seq),
    (array_agg(created_at ORDER BY seq))[1], (array_agg(created_at ORDER BY seq))[count(*)],
    array_agg(checksum ORDER BY seq)
FROM ({_FITTING}) AS fitting GROUP BY issue_id ORDER BY min(seq)"""

TRIM: Final = """
WITH trimmed AS (
    DELETE FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq <= $3 RETURNING seq
)
SELECT count(*) AS rows, max(seq) AS floor FROM trimmed"""


def append_arguments(batch: Sequence[NewDelta]) -> tuple[Sequence[Any], ...]:
    """The columns of a batch, in the order `APPEND` takes them; `APPEND_TO_ONE` takes one id in place of the first."""
    workspaces, issues, updates, actors, devices, times, *_ = zip(*batch, strict=True)
    checksums = list(map(checksum, issues, updates))
    return workspaces, issues, updates, checksums, actors, devices, times


def numbered(batch: Sequence[NewDelta], bumped: Iterable[Record]) -> list[int]:
    """The seq of each delta of a batch, from what `APPEND` returned."""
    places = {row["id"]: count(row["before"] + 1) for row in bumped}
    return [next(places[delta.workspace_id]) for delta in batch]


def read(rows: Sequence[Record]) -> list[Delta]:
    """Rows of this table. Raises `Corrupt` for the first that is not what was written."""
    return checked([Delta._make(row[:-1]) for row in rows], [row[-1] for row in rows])


def checked(found: list[Delta], stored: Iterable[int]) -> list[Delta]:
    """The same, if each has the checksum that is stored of it. Raises `Corrupt`."""
    for delta, expected in zip(found, stored, strict=True):
        if checksum(delta.issue_id, delta.update) != expected:
            raise _corrupt(delta.workspace_id, delta.seq, delta.issue_id)
    return found


def read_by_issue(workspace_id: int, rows: Sequence[Record]) -> list[IssueDeltas]:
    """Rows of `PAGE_BY_ISSUE`. Raises `Corrupt` for a delta that is not what was written."""
    page = [IssueDeltas._make(row[:-1]) for row in rows]
    for found, row in zip(page, rows, strict=True):
        for seq, update, stored in zip(found.seqs, found.updates, row[-1], strict=True):
            if checksum(found.issue_id, update) != stored:
                raise _corrupt(workspace_id, seq, found.issue_id)
    return page


def _corrupt(workspace_id: int, seq: int, issue_id: UUID) -> Corrupt:
    return Corrupt(f"delta {seq} of workspace {workspace_id}, issue {issue_id}: checksum does not match")


def checksum(issue_id: UUID, update: bytes) -> int:
    """CRC-32 of issue id and update, so that a row that ended up under another issue is corrupt as well."""
    return crc32(update, crc32(issue_id.bytes))
