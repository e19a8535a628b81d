"""What a feed is made of: updates from the log, or projected rows. Both read the store and know no session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final, Protocol
from uuid import UUID

from crdt.issue import Comment
from crdt.native import AHEAD, EPOCH, FLOOR
from crdt.native_entries import ROW, Entry, write_row
from server.feed_pages import IssuePage, LogPage, OutOfReach, merged_deltas, merged_issues, tombstone
from storage.errors import UnknownWorkspace
from storage.store import Delta, IssueExtent, ProjectedIssue, Store, Workspace

_EXTENTS: Final = 1_000  # changed issues looked at for one page of a reload; most pages are full before


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Bounds of one page: rows of the log, and their bytes before they are merged."""

    deltas: int = 2_000
    bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class ConflictLimits:
    """Bounds of one page of conflicts: rows, and bytes of their values. `poll_seconds`: between two looks for what
    other nodes recorded."""

    rows: int = 500
    bytes: int = 256 * 1024
    poll_seconds: float = 1.0


class FeedReader(Protocol):
    """A log with a cursor, as one mode of the feed sees it. Every method raises `StoreError`."""

    async def look(self) -> Workspace:
        """The workspace now; its `head` is the newest seq this mode can show."""

    async def page(self, epoch: UUID, after: int, until: int | None, limit: int | None) -> LogPage:
        """What came after a cursor, not above `until`; nothing (`to_seq == after`) at the end. Raises `OutOfReach`."""

    async def reload_page(self, base: int, since: int, after: UUID | None) -> IssuePage:
        """Issues changed after `since`, whole, those with ids after `after`."""


class UpdatesReader:
    """The feed of documents."""

    def __init__(self, store: Store, workspace: Workspace, limits: PageLimits) -> None:
        self._store = store
        self._workspace = workspace
        self._limits = limits

    async def look(self) -> Workspace:
        """See `FeedReader.look`."""
        return await look_up(self._store, self._workspace.slug)

    async def page(self, epoch: UUID, after: int, until: int | None, limit: int | None) -> LogPage:
        """See `FeedReader.page`."""
        read = await read_log(self._store, self._workspace.id, after, self._limits, limit)
        deltas = [delta for delta in read if until is None or delta.seq <= until]
        # After the page: what was trimmed before or while it was read shows in this floor.
        now = await self.look()
        expect_in_reach(now, epoch, after)
        last = deltas[-1].seq if deltas else after
        return LogPage(after, last, max(now.head, last), await merged_deltas(deltas), len(read))

    async def reload_page(self, base: int, since: int, after: UUID | None) -> IssuePage:
        """See `FeedReader.reload_page`."""
        changed, until = await next_extents(self._store, self._workspace.id, since, after, self._limits)
        found = await self._store.load_many(self._workspace.id, [extent.issue_id for extent in changed])
        entries = await merged_issues((extent.issue_id, found[extent.issue_id]) for extent in changed)
        return IssuePage(until, entries)


class RowsReader:
    """The feed of projected rows. It is as far as the projection is."""

    def __init__(self, store: Store, workspace: Workspace, limits: PageLimits) -> None:
        self._store = store
        self._workspace = workspace
        self._limits = limits

    async def look(self) -> Workspace:
        """See `FeedReader.look`."""
        through = await self._store.projected_through(self._workspace.id)
        now = await look_up(self._store, self._workspace.slug)
        return Workspace(now.id, now.slug, now.name, through, now.floor, now.epoch)

    async def page(self, epoch: UUID, after: int, until: int | None, limit: int | None) -> LogPage:
        """See `FeedReader.page`."""
        projected = await self._store.projected_through(self._workspace.id)
        through = projected if until is None else min(projected, until)
        deltas = await read_log(self._store, self._workspace.id, after, self._limits, limit)
        now = await look_up(self._store, self._workspace.slug)
        expect_in_reach(now, epoch, after)
        shown = [delta for delta in deltas if delta.seq <= through]
        newest = {delta.issue_id: delta.seq for delta in shown}
        purged = {delta.issue_id for delta in shown if delta.is_tombstone}
        in_order = sorted(newest, key=newest.__getitem__)
        rows = await self._store.projected(self._workspace.id, in_order)
        entries = [
            tombstone(issue_id, newest[issue_id])
            if issue_id in purged
            else _row_entry(issue_id, newest[issue_id], rows.get(issue_id))
            for issue_id in in_order
        ]
        last = max(newest.values(), default=after)
        return LogPage(after, last, max(projected, last), entries, len(deltas))

    async def reload_page(self, base: int, since: int, after: UUID | None) -> IssuePage:
        """See `FeedReader.reload_page`."""
        changed, until = await next_extents(self._store, self._workspace.id, since, after, self._limits)
        rows = await self._store.projected(self._workspace.id, [extent.issue_id for extent in changed])
        # An issue that is not projected yet comes with the pages after `base`.
        shown = [extent for extent in changed if extent.issue_id in rows or extent.seq <= base]
        return IssuePage(
            until,
            [
                tombstone(e.issue_id, e.seq) if e.is_purged else _row_entry(e.issue_id, e.seq, rows.get(e.issue_id))
                for e in shown
            ],
        )


async def look_up(store: Store, slug: str) -> Workspace:
    """The workspace as it is now. Raises `UnknownWorkspace`."""
    now = await store.workspace(slug)
    if now is None:
        raise UnknownWorkspace(slug)
    return now


def expect_in_reach(now: Workspace, epoch: UUID, cursor: int) -> None:
    """Raises `OutOfReach` unless the log leads from the cursor to the head."""
    if now.epoch != epoch:
        raise OutOfReach(EPOCH)
    if cursor < now.floor:
        raise OutOfReach(FLOOR)
    if cursor > now.head:
        raise OutOfReach(AHEAD)


async def read_log(
    store: Store, workspace_id: int, after: int, limits: PageLimits, limit: int | None
) -> Sequence[Delta]:
    """The deltas of one page."""
    deltas = limits.deltas if limit is None else min(limit, limits.deltas)
    return await store.page(workspace_id, after, deltas, limits.bytes)


async def next_extents(
    store: Store, workspace_id: int, since: int, after: UUID | None, limits: PageLimits
) -> tuple[Sequence[IssueExtent], UUID | None]:
    """The next changed issues that fit a page, one at least, and through which id that is; None: all."""
    changed = await store.changed_extents(workspace_id, since, after, _EXTENTS)
    sizes = list(accumulate(extent.stored_bytes for extent in changed))
    fitting = max(1, sum(size <= limits.bytes for size in sizes))
    if fitting < len(changed):
        return changed[:fitting], changed[fitting - 1].issue_id
    return changed, changed[-1].issue_id if len(changed) == _EXTENTS else None


def _row_entry(issue_id: UUID, seq: int, row: ProjectedIssue | None) -> Entry:
    if row is None:
        return Entry(issue_id, seq, ROW, b"")
    return Entry(issue_id, row.seq, ROW, write_row(row_of(row)))


def row_of(row: ProjectedIssue) -> dict[str, object]:
    """A projected issue in plain values, as the protocol shows it."""
    content = row.content
    return {
        "id": str(row.issue_id),
        "seq": row.seq,
        "version": row.version,
        "title": content.title,
        "description": content.description,
        "status": content.status,
        "priority": content.priority,
        "user_id": content.user_id,
        "session_id": content.session_id,
        "claude_task_id": content.claude_task_id,
        "created_by": content.created_by,
        "created_at": _time(content.created_at),
        "updated_at": _time(content.updated_at),
        "completed_at": _time(content.completed_at),
        "deleted_at": _time(content.deleted_at),
        "labels": list(content.labels),
        "unreadable": list(content.unreadable),
        "comments": [_comment(comment) for comment in content.comments],
    }


def _comment(comment: Comment) -> dict[str, object]:
    return {
        "id": comment.id,
        "author": comment.author,
        "body": comment.body,
        "created_at": _time(comment.created_at),
        "edited_at": _time(comment.edited_at),
        "deleted_at": _time(comment.deleted_at),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
