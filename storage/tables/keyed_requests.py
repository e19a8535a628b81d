"""Rows of `keyed_requests` and `keyed_edits`: requests that are to be done once, and what of them is committed."""

from __future__ import annotations

from typing import Final

_FORGOTTEN_AT_ONCE: Final = 1_000
_ONE: Final = "workspace_id = $1 AND user_id = $2 AND key = $3"

_FORGET: Final = """
WITH forgotten AS (
    DELETE FROM keyed_requests WHERE {old} RETURNING user_id, key
), edits AS (
    DELETE FROM keyed_edits AS edit USING forgotten AS f
    WHERE edit.workspace_id = $1 AND edit.user_id = f.user_id AND edit.key = f.key
)
SELECT count(*) FROM forgotten"""
FORGET: Final = _FORGET.format(
    old=f"""workspace_id = $1 AND (user_id, key) IN (
        SELECT user_id, key FROM keyed_requests WHERE workspace_id = $1 AND at < $2 ORDER BY at
        LIMIT {_FORGOTTEN_AT_ONCE} FOR UPDATE SKIP LOCKED)"""  # noqa: S608
)
FORGET_ONE: Final = _FORGET.format(old=f"{_ONE} AND at < $4")

# Nobody works on it, it has no answer and is not too old: the caller has it now. Two who claim one wait for each
# other.
CLAIM: Final = """
INSERT INTO keyed_requests AS known (workspace_id, user_id, key, fingerprint, issue_id, at, claimed_until)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (workspace_id, user_id, key) DO UPDATE SET claimed_until = excluded.claimed_until
WHERE known.status IS NULL AND known.claimed_until <= excluded.at AND known.fingerprint = excluded.fingerprint
    AND known.at >= $8
RETURNING at, xmax = 0 AS is_new"""

KNOWN: Final = f"SELECT at, fingerprint, status, headers, body FROM keyed_requests WHERE {_ONE}"  # noqa: S608
EDITS: Final = f"SELECT issue_id, seq, outcomes FROM keyed_edits WHERE {_ONE}"  # noqa: S608
FINISH: Final = f"""
UPDATE keyed_requests SET status = $4, headers = $5, body = $6, issue_id = coalesce(issue_id, $7)
WHERE {_ONE} AND status IS NULL"""  # noqa: S608
RELEASE: Final = f"UPDATE keyed_requests SET claimed_until = $4 WHERE {_ONE} AND status IS NULL"  # noqa: S608

# In the transaction of the deltas. Fewer rows than arguments: somebody has made one of these edits already.
NOTE_EDITS: Final = """
INSERT INTO keyed_edits (workspace_id, user_id, key, issue_id, seq, outcomes)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::uuid[], $5::bigint[], $6::text[])
ON CONFLICT DO NOTHING RETURNING seq"""
