"""Rows of `tokens`: what was printed for a script, and what of it is still good."""

from __future__ import annotations

from typing import Final

RECORD: Final = """
INSERT INTO tokens (workspace_id, id, user_id, role, acting_for, device_id, expires_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING"""

# Of tokens that were issued without the database nothing is known until they are used.
USE: Final = """
INSERT INTO tokens (workspace_id, id, user_id, role, acting_for, device_id, expires_at, created_at, used_at)
SELECT DISTINCT ON (t.id) $1::bigint, t.*, $8::timestamptz, $8::timestamptz
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
    AS t (id, user_id, role, acting_for, device_id, expires_at)
ON CONFLICT (workspace_id, id) DO UPDATE SET used_at = excluded.used_at"""

_VALID: Final = """
SELECT id, user_id, role, acting_for, device_id, created_at, used_at, expires_at, revoked_at FROM tokens
WHERE {} AND expires_at > $2 ORDER BY user_id, created_at"""
OF_ALL: Final = _VALID.format("workspace_id = $1")
OF_USER: Final = _VALID.format("workspace_id = $1 AND user_id = $3")

OWNER: Final = "SELECT user_id FROM tokens WHERE workspace_id = $1 AND id = $2"

REVOKE: Final = """
UPDATE tokens SET revoked_at = coalesce(revoked_at, $3) WHERE workspace_id = $1 AND id = $2 RETURNING user_id"""
