"""Conflicts in the local store, and how far it follows them: a page and its cursor are one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from syncline.conflict import Conflict
from syncline.feed import Stale
from syncline.records import ConflictCursor, ConflictsCame

RESOLVED_KEPT: Final = 1_000  # of those that are decided, the newest


def read_cursor(connection: sqlite3.Connection) -> ConflictCursor:
    """How far."""
    epoch, change = connection.execute("SELECT epoch, change FROM conflict_feed").fetchone()
    return ConflictCursor(None if epoch is None else UUID(bytes=epoch), change)


def take(connection: sqlite3.Connection, page: ConflictsCame) -> None:
    """Take a page in, and move the cursor with it. Raises Stale for one that does not follow what is here."""
    cursor = read_cursor(connection)
    if page.from_change == 0:
        connection.execute("DELETE FROM conflicts")
    elif page.epoch != cursor.epoch or page.from_change > cursor.change:
        raise Stale
    elif page.to_change <= cursor.change:
        return  # another process was quicker
    for each in page.changed:
        if isinstance(each, Conflict):
            _keep(connection, each)
        else:
            connection.execute("DELETE FROM conflicts WHERE issue_id = ?", (each.bytes,))
    connection.execute(
        "DELETE FROM conflicts WHERE NOT is_open AND change <="
        " (SELECT change FROM conflicts WHERE NOT is_open ORDER BY change DESC LIMIT 1 OFFSET ?)",
        (RESOLVED_KEPT,),
    )
    connection.execute("UPDATE conflict_feed SET epoch = ?, change = ?", (page.epoch.bytes, page.to_change))


def read(connection: sqlite3.Connection, conflict_id: UUID) -> Conflict | None:
    """One of them."""
    row = connection.execute("SELECT content, change FROM conflicts WHERE id = ?", (conflict_id.bytes,)).fetchone()
    return None if row is None else _conflict(row)


def read_all(connection: sqlite3.Connection, issue_id: UUID | None, is_open: bool | None) -> list[Conflict]:
    """Those of an issue, or of all; None: open or not. The oldest change first."""
    rows = connection.execute(
        "SELECT content, change FROM conflicts WHERE (? IS NULL OR issue_id = ?) AND (? IS NULL OR is_open = ?)"
        " ORDER BY change",
        (*[None if issue_id is None else issue_id.bytes] * 2, is_open, is_open),
    )
    return [_conflict(row) for row in rows]


def changed_after(connection: sqlite3.Connection, change: int, limit: int) -> list[Conflict]:
    """By their newest change. A number above the cursor is of a history that was replaced: then from the beginning."""
    if change > read_cursor(connection).change:
        change = 0
    rows = connection.execute(
        "SELECT content, change FROM conflicts WHERE change > ? ORDER BY change LIMIT ?", (change, limit)
    )
    return [_conflict(row) for row in rows]


def _keep(connection: sqlite3.Connection, conflict: Conflict) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO conflicts (id, issue_id, change, is_open, content) VALUES (?, ?, ?, ?, ?)",
        (conflict.id.bytes, conflict.issue_id.bytes, conflict.change, conflict.is_open, conflict.told),
    )


def _conflict(row: Sequence[object]) -> Conflict:
    content, change = row
    assert isinstance(content, str)
    assert isinstance(change, int)
    return Conflict.of(json.loads(content), change)
