"""Rows of `devices`, and what is known of users by them."""

from __future__ import annotations

from typing import Final

# What a client does not say again is kept.
SEE: Final = """
INSERT INTO devices AS known (workspace_id, user_id, id, platform, user_agent, public_key, address, token_id, login_id,
    first_seen_at, last_seen_at, last_sync_at)
SELECT DISTINCT ON (d.user_id, d.id) $1::bigint, d.user_id, d.id, d.platform, d.user_agent, d.public_key, d.address,
    d.token_id, d.login_id, $11::timestamptz, $11::timestamptz, CASE WHEN d.has_synced THEN $11::timestamptz END
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::bool[])
    AS d (user_id, id, platform, user_agent, public_key, address, token_id, login_id, has_synced)
ON CONFLICT (workspace_id, user_id, id) DO UPDATE SET
    platform = coalesce(excluded.platform, known.platform),
    user_agent = coalesce(excluded.user_agent, known.user_agent),
    public_key = coalesce(known.public_key, excluded.public_key), address = excluded.address,
    token_id = excluded.token_id, login_id = excluded.login_id, last_seen_at = excluded.last_seen_at,
    last_sync_at = coalesce(excluded.last_sync_at, known.last_sync_at)"""

SEE_USERS: Final = """
INSERT INTO users AS known (workspace_id, id, last_sync_at, device_id)
SELECT DISTINCT ON (u.id) $1::bigint, u.id, CASE WHEN u.has_synced THEN $5::timestamptz END, u.device_id
FROM unnest($2::text[], $3::text[], $4::bool[]) AS u (id, device_id, has_synced)
ON CONFLICT (workspace_id, id) DO UPDATE SET
    last_sync_at = coalesce(excluded.last_sync_at, known.last_sync_at),
    device_id = coalesce(excluded.device_id, known.device_id)"""

_PAGE: Final = """
SELECT user_id, id, platform, user_agent, public_key, address, first_seen_at, last_seen_at, last_sync_at, revoked_at
FROM devices WHERE {} ORDER BY user_id, last_seen_at DESC LIMIT $2"""
OF_ALL: Final = _PAGE.format("workspace_id = $1")
OF_USER: Final = _PAGE.format("workspace_id = $1 AND user_id = $3")
REVOKE: Final = """
UPDATE devices SET revoked_at = coalesce(revoked_at, $4) WHERE workspace_id = $1 AND user_id = $2 AND id = $3
RETURNING token_id, login_id"""
ALLOW: Final = """
UPDATE devices SET revoked_at = NULL WHERE workspace_id = $1 AND user_id = $2 AND id = $3 AND revoked_at IS NOT NULL
RETURNING true"""
