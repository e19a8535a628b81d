"""The statements of `audit_log`."""

from __future__ import annotations

from typing import Final

WRITE: Final = """
INSERT INTO audit_log
    (workspace_id, at, action, is_refused, via, user_id, acting_for, device_id, address, count, detail)
SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::bool[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::bigint[], $11::jsonb[])"""

# Newest first; null filters nothing.
PAGE: Final = """
SELECT id, at, action, is_refused, via, user_id, acting_for, device_id, address, count, detail FROM audit_log
WHERE workspace_id = $1 AND ($2::bigint IS NULL OR id < $2) AND ($3::text IS NULL OR user_id = $3)
    AND ($4::text IS NULL OR action = $4) AND ($5::bool IS NULL OR is_refused = $5)
    AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
ORDER BY id DESC LIMIT $8"""

FORGET: Final = """
DELETE FROM audit_log WHERE workspace_id = $1 AND id IN (
    SELECT id FROM audit_log WHERE workspace_id = $1 AND at < $2 LIMIT $3)"""
