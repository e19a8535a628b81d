"""Documents in the local store: what is committed (`base`), what this device adds (the outbox), and how both read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from crdt.compaction import compact
from crdt.document import Document
from crdt.errors import Refused
from crdt.gate import check, index_of
from crdt.issue import IssueContent, read
from crdt.novelty import says_something_new
from crdt.records import UNBOUNDED
from crdt.update import EMPTY_UPDATE, diff, encode_state_vector, merge
from syncline.cuts import repaired
from syncline.issue import Issue, Standing, decode_content, encode_content, issue_of
from syncline.records import Content, Entry

_FOLD_SLACK_BYTES: Final = 8 * 1024  # merged bytes never shrink: folded when doubled and grown by this


def view(connection: sqlite3.Connection, issue_id: UUID) -> bytes | None:
    """The issue as this device knows it, as one update; None when it knows nothing of it."""
    base = base_of(connection, issue_id)
    if base is None:
        return None
    return merge([base, *(entry.update for entry in waiting(connection, issue_id))])


def base_of(connection: sqlite3.Connection, issue_id: UUID) -> bytes | None:
    """What is committed of an issue."""
    row = connection.execute("SELECT base FROM documents WHERE issue_id = ?", (issue_id.bytes,)).fetchone()
    return None if row is None else bytes(row[0])


def waiting(connection: sqlite3.Connection, issue_id: UUID) -> list[Entry]:
    """The issue's outbox entries, oldest first."""
    rows = connection.execute("SELECT id, change FROM outbox WHERE issue_id = ? ORDER BY id", (issue_id.bytes,))
    return [Entry(number, issue_id, change) for number, change in rows]


def add_committed(connection: sqlite3.Connection, contents: Iterable[Content], now: datetime) -> list[Content]:
    """Merge committed content in; returns what brought something new."""
    return [content for content in contents if _add(connection, content, now)]


def _add(connection: sqlite3.Connection, content: Content, now: datetime) -> bool:
    row = connection.execute(
        "SELECT base, folded, seq FROM documents WHERE issue_id = ?", (content.issue_id.bytes,)
    ).fetchone()
    if row is None:
        if not content.seq and content.update == EMPTY_UPDATE:
            return False  # nobody has written it: asked about, or refused by the time the answer came
        _insert(connection, content, now)
        return True
    base, folded, seq = row
    merged = merge([base, content.update])
    if merged == base and content.seq <= seq:
        return False
    if len(merged) > 2 * folded + _FOLD_SLACK_BYTES:
        merged = folded_state(merged)
        folded = len(merged)
    connection.execute(
        "UPDATE documents SET base = ?, folded = ?, seq = ? WHERE issue_id = ?",
        (merged, folded, max(seq, content.seq), content.issue_id.bytes),
    )
    touch(connection, content.issue_id, now)
    return True


def _insert(connection: sqlite3.Connection, content: Content, now: datetime) -> None:
    connection.execute(
        "INSERT INTO documents (issue_id, base, folded, seq, revision, seen_at) VALUES (?, ?, ?, ?, 0, '')",
        (content.issue_id.bytes, content.update, len(content.update), content.seq),
    )
    touch(connection, content.issue_id, now)


def touch(connection: sqlite3.Connection, issue_id: UUID, now: datetime) -> None:
    """The issue changed: a new revision, to be read anew when somebody asks. Makes it exist."""
    (revision,) = connection.execute("UPDATE feed SET revision = revision + 1 RETURNING revision").fetchone()
    connection.execute(
        "INSERT INTO documents (issue_id, base, folded, seq, revision, seen_at) VALUES (?1, ?2, 0, 0, ?3, ?4)"
        " ON CONFLICT (issue_id) DO UPDATE SET revision = ?3, seen_at = ?4, content = NULL",
        (issue_id.bytes, EMPTY_UPDATE, revision, now.isoformat()),
    )


def forget(connection: sqlite3.Connection, issue_id: UUID) -> None:
    """Know nothing of the issue any more."""
    if connection.execute("DELETE FROM documents WHERE issue_id = ?", (issue_id.bytes,)).rowcount:
        connection.execute("UPDATE feed SET revision = revision + 1")


def folded_state(merged: bytes) -> bytes:
    """The same document in fewer bytes where that is safe."""
    return compact(merged, index_of(merged, {}).cuts).state


def replace_base(connection: sqlite3.Connection, content: Content, now: datetime) -> bytes | None:
    """Take the server's word for what is committed of an issue; returns what only we had, None when nothing.

    For a history that was replaced: what we thought committed becomes an edit of ours again.
    """
    before = base_of(connection, content.issue_id)
    connection.execute("DELETE FROM documents WHERE issue_id = ?", (content.issue_id.bytes,))
    _insert(connection, content, now)
    return None if before is None else beyond(before, content.update)


def clear_base(connection: sqlite3.Connection, issue_id: UUID) -> None:
    """Nothing of the issue is committed."""
    connection.execute(
        "UPDATE documents SET base = ?, folded = 0, seq = 0 WHERE issue_id = ?", (EMPTY_UPDATE, issue_id.bytes)
    )


def beyond(ours: bytes, theirs: bytes) -> bytes | None:
    """What `ours` has that `theirs` lacks, as one update; None when nothing."""
    known = index_of(theirs, {})
    rest = diff(ours, encode_state_vector(known.state_vector))
    return rest if says_something_new(known, rest, UNBOUNDED) else None


def stranded(base: bytes, entries: Sequence[Entry]) -> list[Entry]:
    """Entries that rest on something neither in `base` nor in the entries before them."""
    sound = base
    lost: list[Entry] = []
    for entry in entries:
        if _rests_on(sound, entry.update):
            sound = merge([sound, entry.update])
        else:
            lost.append(entry)
    return lost


def _rests_on(state: bytes, update: bytes) -> bool:
    try:
        return not check(index_of(state, {}), update, "", UNBOUNDED).gap
    except Refused:
        return False


# Reading keeps what it read: run these inside a transaction, or every issue pays a commit of its own.


def read_issue(connection: sqlite3.Connection, issue_id: UUID) -> Issue | None:
    """One issue, None when nothing is known of it."""
    rows = connection.execute(_SELECT.format("WHERE d.issue_id = ?"), (issue_id.bytes,)).fetchall()
    return _issue(connection, rows[0]) if rows else None


def read_all(connection: sqlite3.Connection) -> list[Issue]:
    """Every issue, in the order of their ids."""
    return [_issue(connection, row) for row in connection.execute(_SELECT.format("ORDER BY d.issue_id")).fetchall()]


def committed_after(connection: sqlite3.Connection, seq: int, limit: int) -> list[Issue]:
    """Issues whose newest delta is after `seq`, as far as the feed got, in seq order."""
    rows = connection.execute(
        _SELECT.format("WHERE d.seq > ? AND d.seq <= (SELECT cursor FROM feed) ORDER BY d.seq LIMIT ?"), (seq, limit)
    )
    return [_issue(connection, row) for row in rows.fetchall()]


def revised_after(connection: sqlite3.Connection, revision: int, limit: int) -> list[Issue]:
    """Issues that changed on this device after `revision`, in that order."""
    rows = connection.execute(_SELECT.format("WHERE d.revision > ? ORDER BY d.revision LIMIT ?"), (revision, limit))
    return [_issue(connection, row) for row in rows.fetchall()]


_SELECT: Final = (
    "SELECT d.issue_id, d.seq, (SELECT count(*) FROM outbox o WHERE o.issue_id = d.issue_id), d.revision, d.seen_at,"
    " d.content FROM documents d {}"
)


def _issue(connection: sqlite3.Connection, row: tuple[bytes, int, int, int, str, str | None]) -> Issue:
    issue_id, seq, pending, revision, seen_at, content = row
    standing = Standing(UUID(bytes=issue_id), seq, pending, revision, datetime.fromisoformat(seen_at))
    if content is not None:
        return issue_of(standing, decode_content(content))
    fresh = _read_content(connection, standing.id)
    connection.execute("UPDATE documents SET content = ? WHERE issue_id = ?", (encode_content(fresh), issue_id))
    return issue_of(standing, fresh)


def _read_content(connection: sqlite3.Connection, issue_id: UUID) -> IssueContent:
    return read(Document.load(repaired(view(connection, issue_id) or EMPTY_UPDATE)))
