"""Reads of the log for those who ask what happened: rows without their bytes first, then one stretch of one issue."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from typing import Final

from crdt.changes import REST, STRETCH

_HEAD: Final = "seq, issue_id, actor_id, device_id, created_at, octet_length(update) AS bytes"

# Newest first. The size comes from the row's head: an update that is stored out of line is not fetched.
OF_ISSUE: Final = f"""
SELECT {_HEAD} FROM deltas
WHERE workspace_id = $1 AND issue_id = $2 AND seq < $3 AND seq > $4 ORDER BY seq DESC LIMIT $5"""

# What `crdt.changes.is_one_entry` says, told of the newest $5 rows without bringing them here: the newest row of each
# entry, which knows its newer neighbour and how many came before it, and the last row of all; at most $6 of them.
ENDS: Final = f"""
SELECT seq, actor_id, device_id, created_at, bytes, row, newer_seq, newer_at, goes_on, is_last FROM (
    SELECT *, row_number() OVER newest AS row, lead(seq) OVER newest IS NULL AS is_last,
        lag(seq) OVER newest AS newer_seq, lag(created_at) OVER newest AS newer_at,
        (actor_id = lag(actor_id) OVER newest AND device_id IS NOT DISTINCT FROM lag(device_id) OVER newest
        AND lag(created_at) OVER newest - created_at <= interval '{REST.total_seconds():.0f} seconds'
        AND date_bin('{STRETCH.total_seconds():.0f} seconds', created_at, 'epoch')
            = date_bin('{STRETCH.total_seconds():.0f} seconds', lag(created_at) OVER newest, 'epoch')
        ) IS TRUE AS goes_on
    FROM (
        SELECT {_HEAD} FROM deltas
        WHERE workspace_id = $1 AND issue_id = $2 AND seq < $3 AND seq > $4 ORDER BY seq DESC LIMIT $5
    ) AS heads WINDOW newest AS (ORDER BY seq DESC)
) AS measured WHERE NOT goes_on OR is_last ORDER BY seq DESC LIMIT $6"""

# How many of the newest $5 rows hold at most $6 bytes of updates; at least one.
FITTING: Final = """
WITH heads AS (
    SELECT seq, octet_length(update) AS bytes FROM deltas
    WHERE workspace_id = $1 AND issue_id = $2 AND seq < $3 AND seq > $4 ORDER BY seq DESC LIMIT $5
)
SELECT CASE WHEN (SELECT sum(bytes) FROM heads) <= $6 THEN $5::bigint ELSE greatest(1, (
    SELECT count(*) FILTER (WHERE total <= $6)
    FROM (SELECT sum(bytes) OVER (ORDER BY seq DESC) AS total FROM heads) AS summed
)) END"""

NTH_NEWEST: Final = """
SELECT seq FROM deltas WHERE workspace_id = $1 AND issue_id = $2 ORDER BY seq DESC OFFSET $3 - 1 LIMIT 1"""

# Times grow with seqs, but for what nodes' clocks differ by: so a moment is looked for by halves, and where neighbours
# disagree the last row is meant that is not later. However long the log is: some forty rows, and the `_SKEWED` next.
_SKEWED: Final = 200
_LAST: Final = f"""
WITH RECURSIVE search (low, high, found) AS (
    SELECT 0::bigint, coalesce((SELECT seq FROM deltas WHERE {{rows}} ORDER BY seq DESC LIMIT 1), 0), 0::bigint
    UNION ALL
    SELECT CASE WHEN row.is_sought IS FALSE THEN low ELSE middle END,
        CASE WHEN row.is_sought IS FALSE THEN row.seq - 1 ELSE high END,
        CASE WHEN row.is_sought THEN row.seq ELSE found END
    FROM (SELECT *, (low + high + 1) / 2 AS middle FROM search WHERE low < high) AS half LEFT JOIN LATERAL (
        SELECT seq, {{sought}} AS is_sought FROM deltas WHERE {{rows}} AND seq > low AND seq <= middle
        ORDER BY seq DESC LIMIT 1
    ) AS row ON true
), nearly AS (
    SELECT max(found) AS seq FROM search
)
SELECT coalesce(max(next.seq), (SELECT nullif(seq, 0) FROM nearly)) AS seq FROM (
    SELECT seq, created_at FROM deltas WHERE {{rows}} AND seq > (SELECT seq FROM nearly) ORDER BY seq LIMIT {_SKEWED}
) AS next WHERE {{sought}}"""

SEQ_AT: Final = _LAST.format(rows="workspace_id = $1 AND issue_id = $2", sought="created_at <= $3")
SEQ_BEFORE: Final = _LAST.format(rows="workspace_id = $1", sought="created_at < $2")

# The snapshot from which a version is counted, a delta a version; then the row that made it.
VERSION_START: Final = """
SELECT seq, version FROM snapshots
WHERE workspace_id = $1 AND issue_id = $2 AND version <= $3 ORDER BY version DESC LIMIT 1"""
NTH_AFTER: Final = """
SELECT seq FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq > $3 ORDER BY seq OFFSET $4 - 1 LIMIT 1"""

# Of a workspace, newest first; how many rows are looked at is bounded, whatever is filtered out of them.
OF_WORKSPACE: Final = f"""
SELECT {_HEAD} FROM deltas WHERE workspace_id = $1 AND seq < $2 AND seq > $3 ORDER BY seq DESC LIMIT $4"""
