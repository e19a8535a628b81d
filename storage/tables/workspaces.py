"""Rows of `workspaces` and `cursors`: who the tenants are, and how far each durable reader is."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from typing import Final

from asyncpg import Record

from storage.isolation import Connection
from storage.store import Workspace

PROJECTION: Final = "projection"

_COLUMNS: Final = "id, slug, name, head, floor, epoch"

ONE: Final = f"SELECT {_COLUMNS} FROM workspaces WHERE slug = $1"
ALL: Final = f"SELECT {_COLUMNS} FROM workspaces ORDER BY id"

# The cursor is made with the workspace, so that taking it is one row lock and nothing is ever created on the way.
CREATE: Final = f"""
WITH created AS (
    INSERT INTO workspaces (slug, name) VALUES ($1, $2)
    ON CONFLICT (slug) DO NOTHING
    RETURNING {_COLUMNS}
), cursor AS (
    INSERT INTO cursors (workspace_id, reader) SELECT id, $3 FROM created
)
SELECT {_COLUMNS} FROM created"""

CURSOR: Final = "SELECT seq FROM cursors WHERE workspace_id = $1 AND reader = $2"
TAKE_CURSOR: Final = "SELECT seq FROM cursors WHERE workspace_id = $1 AND reader = $2 FOR UPDATE SKIP LOCKED"
MOVE_CURSOR: Final = "UPDATE cursors SET seq = $3 WHERE workspace_id = $1 AND reader = $2"
SLOWEST_CURSOR: Final = "SELECT min(seq) FROM cursors WHERE workspace_id = $1"
RAISE_FLOOR: Final = "UPDATE workspaces SET floor = greatest(floor, $2) WHERE id = $1"


def workspace(row: Record) -> Workspace:
    return Workspace(*row)


async def create(connection: Connection, slug: str, name: str) -> Workspace:
    row = await connection.fetchrow(CREATE, slug, name, PROJECTION)
    # Two nodes may create it at once: the loser's statement cannot see the winner's row, the next statement can.
    if row is None:
        row = await connection.fetchrow(ONE, slug)
    assert row is not None
    return workspace(row)
