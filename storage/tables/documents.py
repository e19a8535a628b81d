"""Rows of `documents`: what is counted of each issue, whether it is quarantined, and which ones want compaction."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Record

from storage.store import DocumentStatus, IssueDeltas

_COLUMNS: Final = (
    "workspace_id, issue_id, version, last_seq, snapshot_seq, tail_updates, tail_bytes, quarantined_at, "
    "quarantine_reason, floor, created_at, updated_at"
)

ONE: Final = f"SELECT {_COLUMNS} FROM documents WHERE workspace_id = $1 AND issue_id = $2"
QUARANTINED: Final = f"""
SELECT {_COLUMNS} FROM documents WHERE quarantined_at IS NOT NULL ORDER BY workspace_id, issue_id"""

# Issues the projector has not seen yet are only in the log: there the index is walked from one issue to the next.
# A snapshot always has its row here.
ISSUE_IDS: Final = """
WITH RECURSIVE written AS (
    (SELECT issue_id FROM deltas WHERE workspace_id = $1 AND ($2::uuid IS NULL OR issue_id > $2)
     ORDER BY issue_id LIMIT 1)
    UNION ALL
    SELECT (SELECT issue_id FROM deltas WHERE workspace_id = $1 AND issue_id > written.issue_id
            ORDER BY issue_id LIMIT 1)
    FROM written WHERE written.issue_id IS NOT NULL
), known AS (
    (SELECT issue_id FROM written WHERE issue_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM tombstones AS t WHERE t.workspace_id = $1 AND t.issue_id = written.issue_id) LIMIT $3)
    UNION
    (SELECT issue_id FROM documents WHERE workspace_id = $1 AND ($2::uuid IS NULL OR issue_id > $2)
     ORDER BY issue_id LIMIT $3)
)
SELECT issue_id FROM known ORDER BY issue_id LIMIT $3"""

# Those that are counted, and those that only the log knows of yet.
ISSUE_COUNT: Final = """
SELECT (SELECT count(*) FROM documents WHERE workspace_id = $1) + (
    SELECT count(DISTINCT issue_id) FROM deltas AS d
    WHERE workspace_id = $1 AND octet_length(update) > 0
      AND seq > coalesce((SELECT seq FROM cursors WHERE workspace_id = $1 AND reader = $2), 0)
      AND NOT EXISTS (SELECT FROM documents WHERE workspace_id = $1 AND issue_id = d.issue_id)
)"""

# Issues changed after $4: those that are counted, by their last seq, and what the projection has yet to count, which
# the log still holds, because nothing above a cursor is trimmed. The sizes come from the rows' heads: updates and
# states are stored out of line once they are big, and not fetched.
CHANGED_EXTENTS: Final = """
WITH changed AS (
    (SELECT issue_id FROM documents
     WHERE workspace_id = $1 AND last_seq > $4 AND ($2::uuid IS NULL OR issue_id > $2) ORDER BY issue_id LIMIT $3)
    UNION
    (SELECT DISTINCT issue_id FROM deltas
     WHERE workspace_id = $1 AND ($2::uuid IS NULL OR issue_id > $2)
       AND seq > greatest($4, (SELECT seq FROM cursors WHERE workspace_id = $1 AND reader = $5))
     ORDER BY issue_id LIMIT $3)
    UNION
    (SELECT issue_id FROM tombstones
     WHERE workspace_id = $1 AND seq > $4 AND ($2::uuid IS NULL OR issue_id > $2) ORDER BY issue_id LIMIT $3)
)
SELECT issue_id, greatest(newest.seq, tail.seq), coalesce(newest.bytes, 0) + coalesce(tail.bytes, 0),
    coalesce(tail.is_purged, false)
FROM (SELECT issue_id FROM changed ORDER BY issue_id LIMIT $3) AS page
LEFT JOIN LATERAL (
    SELECT seq, octet_length(state) AS bytes FROM snapshots
    WHERE workspace_id = $1 AND issue_id = page.issue_id ORDER BY seq DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT max(seq) AS seq, sum(octet_length(update))::bigint AS bytes, bool_or(octet_length(update) = 0) AS is_purged
    FROM deltas
    WHERE workspace_id = $1 AND issue_id = page.issue_id AND seq > coalesce(newest.seq, 0)
) AS tail ON true
ORDER BY issue_id"""

# Two questions, two indexes; the answers are few.
TO_COMPACT: Final = f"""
SELECT {_COLUMNS} FROM (
    (SELECT {_COLUMNS} FROM documents
     WHERE quarantined_at IS NULL AND tail_updates >= $1 ORDER BY tail_updates DESC LIMIT $3)
    UNION
    (SELECT {_COLUMNS} FROM documents
     WHERE quarantined_at IS NULL AND tail_bytes >= $2 ORDER BY tail_bytes DESC LIMIT $3)
) AS found
ORDER BY tail_updates DESC, tail_bytes DESC, workspace_id, issue_id LIMIT $3"""

# A new issue's row, or nothing; then the row's lock, under which snapshots and trims of one issue take turns.
CREATE: Final = "INSERT INTO documents (workspace_id, issue_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
LOCK: Final = "SELECT snapshot_seq, floor FROM documents WHERE workspace_id = $1 AND issue_id = $2 FOR UPDATE"

# Deltas through `last_seq` are counted; those of them the snapshot does not hold are the new tail.
NOTE_SNAPSHOT: Final = """
UPDATE documents SET snapshot_seq = $3, tail_updates = tail.rows, tail_bytes = tail.bytes
FROM (
    SELECT count(*) AS rows, coalesce(sum(octet_length(update)), 0) AS bytes
    FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq > $3
        AND seq <= (SELECT last_seq FROM documents WHERE workspace_id = $1 AND issue_id = $2)
) AS tail
WHERE workspace_id = $1 AND issue_id = $2"""
NOTE_TRIM: Final = "UPDATE documents SET floor = $3 WHERE workspace_id = $1 AND issue_id = $2"

QUARANTINE: Final = """
INSERT INTO documents (workspace_id, issue_id, quarantined_at, quarantine_reason) SELECT $1, $2, now(), $3
WHERE NOT EXISTS (SELECT FROM tombstones WHERE workspace_id = $1 AND issue_id = $2)
ON CONFLICT (workspace_id, issue_id) DO UPDATE SET quarantined_at = now(), quarantine_reason = $3"""
RELEASE: Final = """
UPDATE documents SET quarantined_at = NULL, quarantine_reason = NULL
WHERE workspace_id = $1 AND issue_id = $2 AND quarantined_at IS NOT NULL RETURNING true"""

SNAPSHOT_SEQS: Final = """
SELECT issue_id, snapshot_seq FROM documents
WHERE workspace_id = $1 AND issue_id = ANY ($2::uuid[]) ORDER BY issue_id FOR UPDATE"""

# A page counts once: the cursor moves in the same transaction.
COUNT: Final = """
INSERT INTO documents AS d (workspace_id, issue_id, version, last_seq, tail_updates, tail_bytes, created_at, updated_at)
SELECT $1, * FROM unnest(
    $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::timestamptz[])
ON CONFLICT (workspace_id, issue_id) DO UPDATE SET
    version = d.version + excluded.version,
    last_seq = excluded.last_seq,
    tail_updates = d.tail_updates + excluded.tail_updates,
    tail_bytes = d.tail_bytes + excluded.tail_bytes,
    created_at = coalesce(d.created_at, excluded.created_at),
    updated_at = excluded.updated_at"""


class Count(NamedTuple):
    """What one page of the log adds to one issue's row."""

    issue_id: UUID
    deltas: int
    last_seq: int
    tail_updates: int
    tail_bytes: int
    first_at: datetime
    last_at: datetime


def counted(page: Sequence[IssueDeltas], snapshot_seqs: Mapping[UUID, int]) -> list[Count]:
    """One `Count` an issue, by issue id. A delta its snapshot already holds is no longer tail, a tombstone never is."""
    counts = [_count(deltas, snapshot_seqs.get(deltas.issue_id, 0)) for deltas in page if not deltas.is_tombstone]
    return sorted(counts, key=lambda count: count.issue_id)


def _count(deltas: IssueDeltas, snapshot_seq: int) -> Count:
    tail = deltas.updates[bisect_right(deltas.seqs, snapshot_seq) :]
    return Count(
        deltas.issue_id,
        len(deltas.seqs),
        deltas.seqs[-1],
        len(tail),
        sum(map(len, tail)),
        deltas.first_at,
        deltas.last_at,
    )


def count_arguments(workspace_id: int, counts: Sequence[Count]) -> tuple[object, ...]:
    return workspace_id, *([count[column] for count in counts] for column in range(len(Count._fields)))


def status(row: Record) -> DocumentStatus:
    return DocumentStatus(*row)
