"""How far the local store follows its workspace: cursor, epoch, an unfinished reload."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

from crdt.update import EMPTY_UPDATE, merge
from syncline import documents, outbox
from syncline.records import Content, Feed, PageCame, ReloadCame, ReloadProgress, ResetCame


class Stale(Exception):
    """What came does not continue what the store holds: another process moved it. Connect again."""


def read(connection: sqlite3.Connection) -> Feed:
    """How far."""
    epoch, cursor, base, since, after, is_new_history, synced_at = connection.execute(
        "SELECT epoch, cursor, reload_base, reload_since, reload_after, reload_is_new_history, synced_at FROM feed"
    ).fetchone()
    reload = None
    if base is not None:
        reload = ReloadProgress(base, since, None if after is None else UUID(bytes=after), bool(is_new_history))
    synced = None if synced_at is None else datetime.fromisoformat(synced_at)
    return Feed(None if epoch is None else UUID(bytes=epoch), cursor, reload, synced)


def take_page(connection: sqlite3.Connection, page: PageCame, now: datetime) -> list[Content]:
    """Merge a page in and move the cursor with it. Raises Stale for a page beyond the cursor."""
    (cursor,) = connection.execute("SELECT cursor FROM feed").fetchone()
    if page.from_seq > cursor:
        raise Stale
    news = documents.add_committed(connection, page.entries, now)
    connection.execute("UPDATE feed SET cursor = max(cursor, ?), synced_at = ?", (page.to_seq, now.isoformat()))
    return news


def take_reset(connection: sqlite3.Connection, reset: ResetCame) -> None:
    """Begin a reload; go on with it where it is the one that was interrupted."""
    present = read(connection)
    resumed = present.reload
    if resumed is not None and (present.epoch, resumed.base, resumed.since) == (reset.epoch, reset.base, reset.since):
        return
    connection.execute(
        "UPDATE feed SET epoch = ?, reload_base = ?, reload_since = ?, reload_after = NULL, reload_is_new_history = ?",
        (reset.epoch.bytes, reset.base, reset.since, reset.is_new_history),
    )
    if reset.is_new_history:
        # Nothing is known to be committed until the reload names it.
        connection.execute("UPDATE feed SET cursor = 0")
        connection.execute("UPDATE documents SET seq = 0")


def take_reload(connection: sqlite3.Connection, page: ReloadCame, now: datetime) -> list[Content]:
    """Take in whole issues. With the last page the cursor becomes the reload's base."""
    progress = read(connection).reload
    if progress is None or progress.base != page.base:
        raise Stale
    if progress.is_new_history:
        news = _by_issue(page.entries)
        for content in news:
            _take_over(connection, content, now)
    else:
        news = documents.add_committed(connection, page.entries, now)
    if page.until is not None:
        connection.execute("UPDATE feed SET reload_after = ?", (page.until.bytes,))
        return news
    if progress.is_new_history:
        _offer_unknown(connection, now)
    connection.execute(
        "UPDATE feed SET cursor = ?, synced_at = ?, reload_base = NULL, reload_since = NULL, reload_after = NULL,"
        " reload_is_new_history = NULL",
        (page.base, now.isoformat()),
    )
    return news


def _by_issue(entries: Sequence[Content]) -> list[Content]:
    """One entry for each issue: a big one comes in several."""
    return [
        Content(issue_id, max(part.seq for part in parts), merge([part.update for part in parts]))
        for issue_id, group in groupby(entries, lambda content: content.issue_id)
        for parts in [list(group)]
    ]


def _take_over(connection: sqlite3.Connection, content: Content, now: datetime) -> None:
    ours = documents.replace_base(connection, content, now)
    if ours is not None:
        outbox.append(connection, content.issue_id, ours, now)


def _offer_unknown(connection: sqlite3.Connection, now: datetime) -> None:
    """Issues that the new history does not have become edits of ours."""
    rows = connection.execute(
        "SELECT issue_id, base FROM documents WHERE seq = 0 AND base != ?", (EMPTY_UPDATE,)
    ).fetchall()
    for issue_id, base in rows:
        issue = UUID(bytes=issue_id)
        documents.clear_base(connection, issue)
        outbox.append(connection, issue, base, now)
