"""Rows of `memberships`, `users` and `standing_changes`: who belongs to a workspace, and whose standing has changed."""

from __future__ import annotations

from typing import Final

_MEMBER: Final = """
SELECT u.id, u.name, u.email, m.role, u.created_at, u.last_sync_at, u.device_id, m.removed_at IS NOT NULL AS is_removed
FROM users AS u LEFT JOIN memberships AS m ON m.workspace_id = u.workspace_id AND m.user_id = u.id
WHERE u.workspace_id = $1"""

ONE: Final = f"{_MEMBER} AND u.id = $2"
PAGE: Final = f"{_MEMBER} AND u.id > $2 ORDER BY u.id LIMIT $3"

# Keeps what is known when nothing new is said.
INTRODUCE: Final = """
INSERT INTO users (workspace_id, id, name, email) VALUES ($1, $2, $3, $4)
ON CONFLICT (workspace_id, id) DO UPDATE SET
    name = coalesce(excluded.name, users.name), email = coalesce(excluded.email, users.email), updated_at = now()
WHERE (coalesce(excluded.name, users.name), coalesce(excluded.email, users.email))
    IS DISTINCT FROM (users.name, users.email)"""

SET_ROLE: Final = """
INSERT INTO memberships (workspace_id, user_id, role) VALUES ($1, $2, $3)
ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = excluded.role, updated_at = now(), removed_at = NULL"""

REMOVE: Final = """
INSERT INTO memberships (workspace_id, user_id, removed_at, signed_out_at) VALUES ($1, $2, $3, $3)
ON CONFLICT (workspace_id, user_id) DO UPDATE SET
    role = NULL, updated_at = now(), removed_at = excluded.removed_at, signed_out_at = excluded.signed_out_at"""

SIGN_OUT: Final = """
INSERT INTO memberships (workspace_id, user_id, signed_out_at) VALUES ($1, $2, $3)
ON CONFLICT (workspace_id, user_id) DO UPDATE SET updated_at = now(), signed_out_at = excluded.signed_out_at"""

OWNERS: Final = """
SELECT count(*) FROM memberships WHERE workspace_id = $1 AND role = 'owner' AND removed_at IS NULL AND user_id <> $2"""

# $2: the user, and whom they act for · $3: the one of them whose membership counts · $4, $5: the device's user and the
# device · $6: token · $7: login.
STANDING: Final = """
SELECT
    m.role, m.removed_at,
    (SELECT max(signed_out_at) FROM memberships
        WHERE workspace_id = $1 AND user_id = ANY ($2::text[])) AS signed_out_at,
    EXISTS (SELECT FROM devices WHERE workspace_id = $1 AND user_id = $4 AND id = $5 AND revoked_at IS NOT NULL)
        AS is_device_revoked,
    EXISTS (SELECT FROM tokens WHERE workspace_id = $1 AND id = $6 AND revoked_at IS NOT NULL) AS is_token_revoked,
    $7::uuid IS NOT NULL AND NOT EXISTS (
        SELECT FROM logins WHERE workspace_id = $1 AND id = $7 AND ended_at IS NULL) AS is_login_over
FROM (SELECT) AS one LEFT JOIN memberships AS m ON m.workspace_id = $1 AND m.user_id = $3"""

# Taken before a change gets its number: so numbers appear in their order, and who reads on from one misses none.
LOCK_CHANGES: Final = "SELECT pg_advisory_xact_lock(7310293814)"
CHANGED: Final = "INSERT INTO standing_changes (workspace_id, user_id, visit_id) VALUES ($1, $2, $3)"
CHANGES: Final = "SELECT id, user_id, visit_id FROM standing_changes WHERE id > $1 ORDER BY id LIMIT $2"
LAST_CHANGE: Final = "SELECT coalesce(max(id), 0) FROM standing_changes"
FORGET_CHANGES: Final = "DELETE FROM standing_changes WHERE at < now() - interval '1 day'"
