"""Reads of the log for those who ask what happened: rows without their bytes first, then one stretch of one issue."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from typing import Final

_HEAD: Final = "seq, issue_id, actor_id, device_id, created_at, octet_length(update) AS bytes"

# Newest first. The size comes from the row's head: an update that is stored out of line is not fetched.
OF_ISSUE: Final = f"""
SELECT {_HEAD} FROM deltas
WHERE workspace_id = $1 AND issue_id = $2 AND seq < $3 AND seq > $4 ORDER BY seq DESC LIMIT $5"""

# The last one that is not later rather than the first one that is: nodes' clocks differ a little.
SEQ_AT: Final = """
SELECT seq FROM deltas
WHERE workspace_id = $1 AND issue_id = $2 AND created_at <= $3 ORDER BY seq DESC LIMIT 1"""

# The snapshot from which a version is counted, a delta a version; then the row that made it.
VERSION_START: Final = """
SELECT seq, version FROM snapshots
WHERE workspace_id = $1 AND issue_id = $2 AND version <= $3 ORDER BY version DESC LIMIT 1"""
NTH_AFTER: Final = """
SELECT seq FROM deltas WHERE workspace_id = $1 AND issue_id = $2 AND seq > $3 ORDER BY seq OFFSET $4 - 1 LIMIT 1"""

# Of a workspace, newest first; how many rows are looked at is bounded, whatever is filtered out of them.
OF_WORKSPACE: Final = f"""
SELECT {_HEAD} FROM deltas WHERE workspace_id = $1 AND seq < $2 AND seq > $3 ORDER BY seq DESC LIMIT $4"""
SEQ_BEFORE: Final = """
SELECT coalesce((
    SELECT seq FROM deltas WHERE workspace_id = $1 AND created_at < $2 ORDER BY seq DESC LIMIT 1
), 0)"""
