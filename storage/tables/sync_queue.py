"""Rows of `sync_queue`. Every statement is about the operations of one user's device, and takes many at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from storage.conflicts import NewConflict, Side

_OF_DEVICE: Final = "workspace_id = $1 AND user_id = $2 AND device_id = $3"
_FORGOTTEN_AT_ONCE: Final = 5_000

FORGET: Final = f"""
DELETE FROM sync_queue WHERE workspace_id = $1 AND (user_id, device_id, id) IN (
    SELECT user_id, device_id, id FROM sync_queue WHERE workspace_id = $1 AND at < $2 ORDER BY at
    LIMIT {_FORGOTTEN_AT_ONCE} FOR UPDATE SKIP LOCKED)
RETURNING id"""  # noqa: S608 -- built from constants of this module

# What nobody works on and what has no final outcome goes to the caller. Two who claim one wait for each other.
CLAIM: Final = """
INSERT INTO sync_queue AS q (
    workspace_id, user_id, device_id, id, table_name, record_id, issue_id, operation, at, claimed_until)
SELECT $1, $2, $3, given.*, $9, $10
FROM unnest($4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[])
    AS given (id, table_name, record_id, issue_id, operation)
ORDER BY given.id
ON CONFLICT (workspace_id, user_id, device_id, id) DO UPDATE SET
    retries = q.retries + 1, claimed_until = excluded.claimed_until, outcome = NULL, error = NULL, field = NULL,
    table_name = excluded.table_name, record_id = excluded.record_id, issue_id = excluded.issue_id,
    operation = excluded.operation, at = excluded.at
WHERE (q.outcome IS NULL AND q.claimed_until <= $9 AND q.update IS NULL)
    OR (q.outcome = 'rejected' AND q.retries < $11)
RETURNING id"""

KNOWN: Final = f"""
SELECT id, outcome, seq, version, error, field FROM sync_queue WHERE {_OF_DEVICE} AND id = ANY ($4::text[])"""  # noqa: S608

# Begun, and nobody works on it any more: whoever began it is gone.
TAKE_OVER: Final = f"""
UPDATE sync_queue SET claimed_until = $6, retries = retries + 1
WHERE {_OF_DEVICE} AND issue_id = ANY ($4::uuid[])
    AND outcome IS NULL AND update IS NOT NULL AND claimed_until <= $5
RETURNING id, issue_id, update, becomes, conflicts"""  # noqa: S608

# Only once: of two who have claimed one operation, one after the other, the first to come here has it.
INTEND: Final = f"""
UPDATE sync_queue AS q SET update = made.update, becomes = made.becomes, conflicts = made.conflicts::json
FROM unnest($4::text[], $5::bytea[], $6::text[], $7::text[]) AS made (id, update, becomes, conflicts)
WHERE {_OF_DEVICE} AND q.id = made.id AND q.outcome IS NULL AND q.update IS NULL
RETURNING q.id"""  # noqa: S608

FINISH: Final = f"""
UPDATE sync_queue AS q SET
    outcome = done.outcome, error = done.error, field = done.field, seq = done.seq, version = done.version,
    update = NULL, becomes = NULL, conflicts = NULL
FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[])
    AS done (id, outcome, error, field, seq, version)
WHERE {_OF_DEVICE} AND q.id = done.id AND q.outcome IS NULL"""  # noqa: S608

RELEASE: Final = f"""
UPDATE sync_queue SET claimed_until = $5 WHERE {_OF_DEVICE} AND id = ANY ($4::text[]) AND outcome IS NULL"""  # noqa: S608

WITHDRAW: Final = f"""
UPDATE sync_queue SET update = NULL, becomes = NULL, conflicts = NULL
WHERE {_OF_DEVICE} AND id = ANY ($4::text[]) AND outcome IS NULL"""  # noqa: S608


def conflicts_written(conflicts: Sequence[NewConflict]) -> str | None:
    """As the column has them."""
    if not conflicts:
        return None
    return json.dumps([asdict(each) for each in conflicts], default=datetime.isoformat)


def conflicts_read(stored: str | None) -> list[NewConflict]:
    """What was written."""
    return [NewConflict(**each | {name: _side(each[name]) for name in _SIDES}) for each in json.loads(stored or "[]")]


_SIDES: Final = ("standing", "losing")


def _side(stored: dict[str, Any]) -> Side:
    at = stored["at"]
    return Side(**stored | {"at": None if at is None else datetime.fromisoformat(at)})
