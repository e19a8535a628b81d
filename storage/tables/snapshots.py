"""Rows of `snapshots`, and the consistent reads of snapshot and tail that every open, replay and check begins with."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID
from zlib import crc32

from asyncpg import Record

from storage.errors import Corrupt
from storage.store import Delta, Snapshot, StoredIssue
from storage.tables import deltas

_COLUMNS: Final = "workspace_id, issue_id, seq, version, state, index, created_at, checksum"

INSERT: Final = f"""
INSERT INTO snapshots ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""

_OF_ISSUE: Final = f"SELECT {_COLUMNS} FROM snapshots WHERE workspace_id = $1 AND issue_id = $2"
ALL: Final = f"{_OF_ISSUE} ORDER BY seq DESC"
ONE: Final = f"{_OF_ISSUE} AND seq = $3"
NEWEST_UNTIL: Final = f"{_OF_ISSUE} AND seq <= $3 ORDER BY seq DESC LIMIT 1"

SOME: Final = f"{_OF_ISSUE} AND seq = ANY ($3::bigint[])"
VERSIONS: Final = """
SELECT seq, version FROM snapshots WHERE workspace_id = $1 AND issue_id = $2 AND seq > $3 AND seq <= $4 ORDER BY seq"""

NEWEST_SEQ: Final = "SELECT max(seq) FROM snapshots WHERE workspace_id = $1 AND issue_id = $2"
TRIM: Final = "DELETE FROM snapshots WHERE workspace_id = $1 AND issue_id = $2 AND seq < $3"
DROP: Final = """
WITH dropped AS (
    DELETE FROM snapshots WHERE workspace_id = $1 AND issue_id = $2 AND seq = ANY ($3::bigint[]) RETURNING seq
)
SELECT count(*) FROM dropped"""

# One statement, so one view of the database: of each wanted issue the newest snapshot and the deltas after it. The
# rows of snapshots are the ones that have a version.
LOAD: Final = f"""
WITH wanted AS (
    SELECT DISTINCT issue_id FROM unnest($2::uuid[]) AS row (issue_id)
), newest AS MATERIALIZED (
    SELECT snapshot.* FROM wanted CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM snapshots
        WHERE workspace_id = $1 AND issue_id = wanted.issue_id ORDER BY seq DESC LIMIT 1
    ) AS snapshot
)
SELECT workspace_id, issue_id, seq, version, state, index, NULL AS actor_id, NULL AS device_id, created_at, checksum
FROM newest
UNION ALL
SELECT delta.workspace_id, delta.issue_id, delta.seq, NULL, delta.update, NULL, delta.actor_id, delta.device_id,
    delta.created_at, delta.checksum
FROM wanted LEFT JOIN newest USING (issue_id) JOIN deltas AS delta
    ON delta.workspace_id = $1 AND delta.issue_id = wanted.issue_id AND delta.seq > coalesce(newest.seq, 0)
ORDER BY issue_id, seq"""


def stored_issues(rows: Iterable[Record]) -> dict[UUID, StoredIssue]:
    """What `LOAD` returned, by issue; those that have no rows are missing. Raises `Corrupt`."""
    return {issue_id: _stored_issue(list(own)) for issue_id, own in groupby(rows, key=itemgetter("issue_id"))}


def _stored_issue(rows: list[Record]) -> StoredIssue:
    if rows[0]["version"] is None:
        return StoredIssue(None, _tail(rows))
    workspace_id, issue_id, seq, version, state, index, _, _, created_at, checksum = rows[0]
    newest = checked(Snapshot(workspace_id, issue_id, seq, version, state, index, created_at), checksum)
    return StoredIssue(newest, _tail(rows[1:]))


def _tail(rows: list[Record]) -> list[Delta]:
    found = [
        Delta(workspace_id, seq, issue_id, update, actor_id, device_id, created_at)
        for workspace_id, issue_id, seq, _, update, _, actor_id, device_id, created_at, _ in rows
    ]
    return deltas.checked(found, [row["checksum"] for row in rows])


def snapshot(row: Record) -> Snapshot:
    """A row of this table. Raises `Corrupt` when it is not what was written."""
    *columns, stored = row
    return checked(Snapshot(*columns), stored)


def insert_arguments(snapshot: Snapshot) -> tuple[object, ...]:
    s = snapshot
    return s.workspace_id, s.issue_id, s.seq, s.version, s.state, s.index, s.created_at, checksum(s)


def checked(snapshot: Snapshot, stored: int) -> Snapshot:
    if checksum(snapshot) != stored:
        raise Corrupt(
            f"snapshot at {snapshot.seq} of workspace {snapshot.workspace_id}, issue {snapshot.issue_id}: "
            "checksum does not match"
        )
    return snapshot


def checksum(snapshot: Snapshot) -> int:
    """CRC-32 of issue id, seq, version, state and index."""
    head = snapshot.issue_id.bytes + struct.pack(">qqq", snapshot.seq, snapshot.version, len(snapshot.state))
    return crc32(snapshot.index, crc32(snapshot.state, crc32(head)))
