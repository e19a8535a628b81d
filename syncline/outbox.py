"""The outbox of the local store: edits from the moment they are durable here until the server has committed them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from crdt.native import PURGED
from crdt.parser import parse
from crdt.records import UNBOUNDED
from crdt.update import EMPTY_UPDATE, diff, merge
from syncline.documents import add_committed, base_of, forget, stranded, touch, view, waiting
from syncline.identity import is_retired, retire
from syncline.records import Acked, Content, Entry, MissingCame, Nacked

AFTER_REFUSED: Final = "after_refused"  # an edit that rests on a refused one

_SETTLED_KEPT: Final = 10_000  # outcomes kept for other processes that wait for them


def append(connection: sqlite3.Connection, issue_id: UUID, update: bytes, now: datetime) -> int:
    """Keep an edit to be sent; returns its id."""
    number = connection.execute(
        "INSERT INTO outbox (issue_id, change) VALUES (?, ?)", (issue_id.bytes, update)
    ).lastrowid
    assert number is not None
    touch(connection, issue_id, now)
    return number


def append_whole(connection: sqlite3.Connection, missing: MissingCame, now: datetime) -> None:
    """Keep, as one edit to be sent, all that the issue has beyond what the server has of it."""
    state = view(connection, missing.issue_id)
    if state is None:
        return
    number = append(connection, missing.issue_id, diff(state, missing.state_vector), now)
    connection.execute("UPDATE outbox SET is_whole = 1 WHERE id = ?", (number,))


def read_after(connection: sqlite3.Connection, entry_id: int, max_entries: int, max_bytes: int) -> list[Entry]:
    """The next entries to send, oldest first, as many as fit; always the first one, whatever its size."""
    entries: list[Entry] = []
    room = max_bytes
    rows = connection.execute(
        "SELECT id, issue_id, change FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (entry_id, max_entries)
    )
    for number, issue_id, change in rows:
        room -= len(change)
        if entries and room < 0:
            break
        entries.append(Entry(number, UUID(bytes=issue_id), change))
    return entries


def issues(connection: sqlite3.Connection, most: int) -> list[tuple[UUID, int]]:
    """Issues with entries waiting, those that wait longest first, each with its newest entry."""
    rows = connection.execute(
        "SELECT issue_id, max(id) FROM outbox GROUP BY issue_id ORDER BY min(id) LIMIT ?", (most,)
    )
    return [(UUID(bytes=issue_id), newest) for issue_id, newest in rows]


def count(connection: sqlite3.Connection) -> int:
    """Entries waiting."""
    (waiting_entries,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
    return int(waiting_entries)


def acknowledge(connection: sqlite3.Connection, acked: Acked, now: datetime) -> list[Acked]:
    """An entry is committed: it moves from the outbox into the document. Returns what is settled by that: nothing when
    it was before, and with an answer to `want` all that the issue had to send before it.
    """
    row = connection.execute("SELECT issue_id, is_whole FROM outbox WHERE id = ?", (acked.entry_id,)).fetchone()
    if row is None:
        return []
    issue_id, is_whole = UUID(bytes=row[0]), bool(row[1])
    committed = [
        entry
        for entry in waiting(connection, issue_id)
        if entry.id == acked.entry_id or (is_whole and entry.id < acked.entry_id)
    ]
    # The ack may come ahead of the feed, so the content counts as known but the document's seq does not move: whoever
    # follows the log by seq must still see this delta at its place.
    add_committed(connection, [Content(issue_id, 0, merge([entry.update for entry in committed]))], now)
    touch(connection, issue_id, now)
    for entry in committed:
        _take(connection, entry.id)
        connection.execute("INSERT OR REPLACE INTO settled (id, seq) VALUES (?, ?)", (entry.id, acked.seq))
    _prune(connection, acked.entry_id)
    return [Acked(entry.id, acked.seq) for entry in committed]


def refuse(connection: sqlite3.Connection, nacked: Nacked, now: datetime) -> list[tuple[Entry, Nacked]]:
    """An entry is refused for good: it is put aside, and with it the issue's later entries that rest on it."""
    entry = _take(connection, nacked.entry_id)
    if entry is None:
        return []
    refused = [(entry, nacked)]
    if nacked.code == PURGED:
        _put_aside(connection, entry, nacked, now)
        return refused + bury(connection, entry.issue_id, now)
    base = base_of(connection, entry.issue_id) or EMPTY_UPDATE
    for lost in stranded(base, waiting(connection, entry.issue_id)):
        _take(connection, lost.id)
        refused.append((lost, Nacked(lost.id, AFTER_REFUSED, f"rests on refused edit {entry.id}")))
    for one, why in refused:
        _retire_authors(connection, one)
        _put_aside(connection, one, why, now)
    touch(connection, entry.issue_id, now)
    _forget_if_empty(connection, entry.issue_id)
    return refused


def bury(connection: sqlite3.Connection, issue_id: UUID, now: datetime) -> list[tuple[Entry, Nacked]]:
    """The issue was deleted for good: it is dropped, and what waits for it put aside."""
    refused = [
        (entry, Nacked(entry.id, PURGED, "the issue was deleted for good")) for entry in waiting(connection, issue_id)
    ]
    for entry, why in refused:
        _take(connection, entry.id)
        _put_aside(connection, entry, why, now)
    forget(connection, issue_id)
    return refused


def append_unless_retired(
    connection: sqlite3.Connection, issue_id: UUID, update: bytes, client_id: int, now: datetime
) -> int | Nacked:
    """`append` an edit made with `client_id`; put it aside when it was made on top of one that is refused by now."""
    number = append(connection, issue_id, update, now)
    if not is_retired(connection, issue_id, client_id):
        return number
    why = Nacked(number, AFTER_REFUSED, "rests on a refused edit")
    entry = _take(connection, number)
    assert entry is not None
    _put_aside(connection, entry, why, now)
    return why


def outcomes(connection: sqlite3.Connection, entry_ids: Collection[int]) -> list[Acked | Nacked]:
    """How these entries ended, those that did and are not long gone."""
    found: list[Acked | Nacked] = []
    for entry_id in entry_ids:
        row = connection.execute("SELECT seq, code, message FROM settled WHERE id = ?", (entry_id,)).fetchone()
        if row is not None:
            seq, code, message = row
            found.append(Acked(entry_id, seq) if code is None else Nacked(entry_id, code, message))
    return found


def _take(connection: sqlite3.Connection, entry_id: int) -> Entry | None:
    row = connection.execute("DELETE FROM outbox WHERE id = ? RETURNING issue_id, change", (entry_id,)).fetchone()
    return None if row is None else Entry(entry_id, UUID(bytes=row[0]), row[1])


def _retire_authors(connection: sqlite3.Connection, entry: Entry) -> None:
    for section in parse(entry.update, UNBOUNDED).sections:
        retire(connection, entry.issue_id, section.client)


def _put_aside(connection: sqlite3.Connection, entry: Entry, why: Nacked, now: datetime) -> None:
    connection.execute(
        "INSERT INTO refused (id, issue_id, change, code, message, refused_at) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.id, entry.issue_id.bytes, entry.update, why.code, why.message, now.isoformat()),
    )
    connection.execute(
        "INSERT OR REPLACE INTO settled (id, code, message) VALUES (?, ?, ?)", (entry.id, why.code, why.message)
    )
    _prune(connection, entry.id)


def _forget_if_empty(connection: sqlite3.Connection, issue_id: UUID) -> None:
    """An issue whose only edit was refused never existed."""
    connection.execute(
        "DELETE FROM documents WHERE issue_id = ?1 AND base = ?2 AND seq = 0"
        " AND NOT EXISTS (SELECT 1 FROM outbox WHERE issue_id = ?1)",
        (issue_id.bytes, EMPTY_UPDATE),
    )


def _prune(connection: sqlite3.Connection, newest: int) -> None:
    connection.execute("DELETE FROM settled WHERE id <= ?", (newest - _SETTLED_KEPT,))
