"""Rows of `visits` and `nodes`: who is here, from where."""

from __future__ import annotations

from typing import Final

WRITE: Final = """
INSERT INTO visits (workspace_id, node_id, id, user_id, role, acting_for, device_id, dialect, address, user_agent,
    token_id, login_id, began_at)
SELECT $1, $2, v.* FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::uuid[], $13::timestamptz[]) AS v
ON CONFLICT (workspace_id, id) DO UPDATE SET role = excluded.role, token_id = excluded.token_id,
    login_id = excluded.login_id"""

ERASE: Final = "DELETE FROM visits WHERE workspace_id = $1 AND id = ANY ($2::uuid[])"
ERASE_OF_THE_DEAD: Final = """
DELETE FROM visits AS v WHERE workspace_id = $1
AND NOT EXISTS (SELECT FROM nodes AS n WHERE n.id = v.node_id AND n.seen_at > now() - $2::interval)"""

_PAGE: Final = """
SELECT v.id, v.user_id, v.role, v.acting_for, v.device_id, v.dialect, v.address, v.user_agent, v.token_id, v.login_id,
    v.began_at
FROM visits AS v JOIN nodes AS n ON n.id = v.node_id AND n.seen_at > now() - $2::interval
WHERE {} ORDER BY v.user_id, v.began_at LIMIT $3"""
OF_ALL: Final = _PAGE.format("v.workspace_id = $1")
OF_USER: Final = _PAGE.format("v.workspace_id = $1 AND (v.user_id = $4 OR v.acting_for = $4)")
ONE: Final = "SELECT user_id, token_id, login_id FROM visits WHERE workspace_id = $1 AND id = $2"

BEAT: Final = """
INSERT INTO nodes (id, seen_at) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"""
FORGET_NODES: Final = "DELETE FROM nodes WHERE seen_at < now() - interval '1 day'"
LEAVE: Final = "DELETE FROM nodes WHERE id = $1"
