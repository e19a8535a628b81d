"""What there is, in numbers, for operators. Read from counters, so that a big database answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from storage.database import connect, translated
from storage.tables import issue_words
from storage.tables.workspaces import PROJECTION

_WORKSPACES: Final = """
SELECT w.slug, w.name, w.head, w.floor, coalesce(c.seq, 0) AS cursor,
    count(d.issue_id) AS issues,
    coalesce(sum(d.tail_updates), 0)::bigint AS tail_updates,
    coalesce(sum(d.tail_bytes), 0)::bigint AS tail_bytes,
    count(d.quarantined_at) AS quarantined,
    (SELECT extract(epoch FROM greatest(now() - l.created_at, interval '0'))::float8 FROM deltas AS l
     WHERE l.workspace_id = w.id AND l.seq > coalesce(c.seq, 0) ORDER BY l.seq LIMIT 1) AS lag_seconds
FROM workspaces AS w
LEFT JOIN cursors AS c ON c.workspace_id = w.id AND c.reader = $1
LEFT JOIN documents AS d ON d.workspace_id = w.id
GROUP BY w.id, c.seq ORDER BY w.id"""
_TABLES: Final = """
SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace ORDER BY bytes DESC"""


@dataclass(frozen=True, slots=True)
class WorkspaceInventory:
    """`cursor`: projected through here · `tail_*`: not in a snapshot yet · `lag_seconds`: age of the oldest delta not
    projected, None when all are."""

    slug: str
    name: str
    head: int
    floor: int
    cursor: int
    issues: int
    tail_updates: int
    tail_bytes: int
    quarantined: int
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """`table_bytes`: table → bytes on disk with its indexes, biggest first · `has_trigrams`: texts are found by parts
    of words and near misses too."""

    postgres: str
    has_trigrams: bool
    workspaces: tuple[WorkspaceInventory, ...]
    table_bytes: tuple[tuple[str, int], ...]


async def take_inventory(dsn: str) -> Inventory:
    """Count. Raises `StoreUnavailable`."""
    connection = await connect(dsn)
    try:
        with translated("take inventory"):
            workspaces = await connection.fetch(_WORKSPACES, PROJECTION)
            tables = await connection.fetch(_TABLES)
            version: str = await connection.fetchval("SHOW server_version")
            has_trigrams: bool = await connection.fetchval(issue_words.HAS_TRIGRAMS)
    finally:
        await connection.close()
    return Inventory(
        version,
        has_trigrams,
        tuple(WorkspaceInventory(*row) for row in workspaces),
        tuple((row["name"], row["bytes"]) for row in tables),
    )
