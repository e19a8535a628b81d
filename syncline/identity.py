"""Who this device is to the server and to other replicas: device id, user, and the client ids it writes with."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from uuid import UUID, uuid4

from crdt.writing import CLIENT_ID_BITS


def begin(connection: sqlite3.Connection) -> None:
    """Give a new store its device id."""
    connection.execute("INSERT OR IGNORE INTO feed (only_row, device_id) VALUES (1, ?)", (str(uuid4()),))


def device_id(connection: sqlite3.Connection) -> str:
    """Drawn once a store."""
    (found,) = connection.execute("SELECT device_id FROM feed").fetchone()
    return str(found)


def user_id(connection: sqlite3.Connection) -> str | None:
    """Whom the store belongs to, None before the first token."""
    (found,) = connection.execute("SELECT user_id FROM feed").fetchone()
    return None if found is None else str(found)


def become(connection: sqlite3.Connection, user: str) -> None:
    """Write for `user` from now on. Another user writes with other client ids: the server binds an id to a user."""
    before = user_id(connection)
    if before == user:
        return
    connection.execute("UPDATE feed SET user_id = ?", (user,))
    if before is not None:
        connection.execute("DELETE FROM replicas")


def client_id(connection: sqlite3.Connection, slot: int, file: str, issue_id: UUID) -> int:
    """What the process in `slot` writes to an issue with.

    Clocks must not be used twice: a store that was copied draws another id, and so does one whose edits of this issue
    were refused after others on this device may have seen them.
    """
    row = connection.execute("SELECT client_id FROM replicas WHERE slot = ? AND file = ?", (slot, file)).fetchone()
    if row is not None and not is_retired(connection, issue_id, row[0]):
        return int(row[0])
    drawn = secrets.randbits(CLIENT_ID_BITS) or 1
    connection.execute("INSERT OR REPLACE INTO replicas (slot, client_id, file) VALUES (?, ?, ?)", (slot, drawn, file))
    return drawn


def retire(connection: sqlite3.Connection, issue_id: UUID, client: int) -> None:
    """Never write to the issue with this client id again."""
    connection.execute("INSERT OR IGNORE INTO retired (issue_id, client_id) VALUES (?, ?)", (issue_id.bytes, client))


def is_retired(connection: sqlite3.Connection, issue_id: UUID, client: int) -> bool:
    """Whether edits of the issue with this client id were refused."""
    row = connection.execute("SELECT 1 FROM retired WHERE issue_id = ? AND client_id = ?", (issue_id.bytes, client))
    return row.fetchone() is not None


def file_identity(path: str) -> str:
    """Which file this is, whatever it is called: a copy is another one."""
    if path == ":memory:":
        return ""
    status = Path(path).stat()
    return f"{status.st_dev}:{status.st_ino}"
