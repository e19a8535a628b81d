"""How conflicts change, as a feed of its own: its numbers are those of the changes, and its pages hold whole conflicts.

Whoever is out of reach, because history was replaced, is told from the beginning what is open.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

from crdt.native import AHEAD, EPOCH, NEW, Conflicts
from crdt.native_codec import encode
from crdt.native_entries import CONFLICT, Entry, write_body, write_conflict
from server.feed_pages import IssuePage, LogPage, OutOfReach, tombstone
from server.feed_readers import ConflictLimits, look_up
from server.follower import Follower
from storage.conflicts import Conflict, Forgotten, Side
from storage.store import Store, Workspace


class ConflictsReader:
    """See `FeedReader`. Its log is the ledger, which has no floor: a row is there as it is, whenever it changed."""

    def __init__(self, store: Store, workspace: Workspace, limits: ConflictLimits) -> None:
        self._store = store
        self._workspace = workspace
        self._limits = limits

    async def look(self) -> Workspace:
        """See `FeedReader.look`."""
        newest = await self._store.ledger.newest_change(self._workspace.id)
        now = await look_up(self._store, self._workspace.slug)
        return replace(now, head=newest, floor=0)

    async def page(self, epoch: UUID, after: int, until: int | None, limit: int | None) -> LogPage:
        """See `FeedReader.page`."""
        rows = self._limits.rows if limit is None else min(limit, self._limits.rows)
        read = await self._store.ledger.changes(self._workspace.id, after, rows, self._limits.bytes)
        now = await look_up(self._store, self._workspace.slug)
        if now.epoch != epoch:
            raise OutOfReach(EPOCH)
        if after > read.newest:
            raise OutOfReach(AHEAD)
        through = read.through if until is None else min(read.through, until)
        entries = [_entry(each) for each in read.changed if each.change <= through]
        return LogPage(after, through, max(read.newest, through), entries, len(read.changed))

    async def reload_page(self, base: int, since: int, after: UUID | None) -> IssuePage:
        """There is none; what is open comes with the page after 0. Raises `OutOfReach`."""
        raise OutOfReach(NEW)


class ConflictFollower(Follower):
    """Sends one connection the conflicts of its workspace."""

    _kind: ClassVar = "conflicts"

    async def _reset(self, reason: str) -> None:
        now = await self._feed.look()
        self._epoch = now.epoch
        self._out_of_reach = None
        self._knows_it_is_live = False
        self.cursor = 0
        self._metrics.feed_resets.labels(reason).inc()

    def _nothing(self) -> bytes:
        return encode(Conflicts(self._epoch, self.cursor, self.cursor, self.cursor, False, write_body([], 0)))


def conflicts_frame(epoch: UUID, page: LogPage, is_packed: bool, body: bytes) -> bytes:
    """A page as followers get it."""
    return encode(Conflicts(epoch, page.from_seq, page.to_seq, page.head, is_packed, body))


def shown(conflict: Conflict) -> dict[str, object]:
    """A conflict in plain values, as `GET …/conflicts` shows it."""
    return {
        "id": str(conflict.id),
        "issue_id": str(conflict.issue_id),
        "seq": conflict.seq,
        "kind": conflict.kind,
        "field": conflict.field or None,
        "standing": _side(conflict.standing),
        "losing": _side(conflict.losing),
        "strategy": conflict.strategy,
        "state": conflict.state,
        "resolution": conflict.resolution,
        "resolved_value": conflict.resolved_value,
        "resolved_by": conflict.resolved_by,
        "resolved_at": _time(conflict.resolved_at),
        "created_at": _time(conflict.created_at),
    }


def _entry(each: Conflict | Forgotten) -> Entry:
    if isinstance(each, Forgotten):
        return tombstone(each.issue_id, each.change)
    return Entry(each.issue_id, each.change, CONFLICT, write_conflict(shown(each)))


def _side(side: Side) -> dict[str, object]:
    return {"value": side.value, "actor_id": side.actor_id, "device_id": side.device_id, "at": _time(side.at)}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
