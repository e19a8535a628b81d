"""Rows of `logins`: families of refresh tokens."""

from __future__ import annotations

from typing import Final

BEGIN: Final = """
INSERT INTO logins (workspace_id, id, user_id, role, acting_for, device_id, secret, created_at, used_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)"""

TAKE: Final = """
SELECT user_id, role, acting_for, device_id, secret, expires_at, ended_at
FROM logins WHERE workspace_id = $1 AND id = $2 FOR UPDATE"""

TURN: Final = "UPDATE logins SET secret = $3, used_at = $4, expires_at = $5 WHERE workspace_id = $1 AND id = $2"

_END: Final = "UPDATE logins SET ended_at = $3, end_reason = $4 WHERE workspace_id = $1 AND ended_at IS NULL"
END: Final = f"{_END} AND id = $2 RETURNING user_id"
END_OF_USER: Final = f"{_END} AND user_id = $2"
END_OF_DEVICE: Final = f"{_END} AND user_id = $2 AND device_id = $5"

FORGET: Final = "DELETE FROM logins WHERE workspace_id = $1 AND expires_at < $2"
