"""What happened in a workspace: entries of all its issues, newest first, a bounded piece of the log at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crdt.changes import is_one_entry
from crdt.errors import Refused
from crdt.jobs_history import Entry
from storage.engine import EngineFailed, IssueKey
from storage.errors import Corrupt, Purged, Trimmed
from storage.log_reader import NEWEST, DeltaHead, LogReader
from storage.timeline import Timeline


@dataclass(frozen=True, slots=True)
class ActivityLimits:
    """Rows of the log that are looked at for a page, and issues of it that are read at a time."""

    page_deltas: int = 2_000
    issues_at_once: int = 4


@dataclass(frozen=True, slots=True)
class ActivityQuery:
    """What to tell: deltas after seq `after` and before seq `before`, of one issue or one actor or of all."""

    limit: int
    before: int = NEWEST
    after: int = 0
    issue_id: UUID | None = None
    actor_id: str | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """An entry of one issue. `entry` is None where the issue was purged or cannot be read; then only its newest `head`
    is known."""

    issue_id: UUID
    head: DeltaHead
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """Entries, newest first, perhaps none. `before`: where the next page goes on, None at the end."""

    happenings: Sequence[Happening]
    before: int | None


class Activity:
    """Looks at `page_deltas` rows of the log a page, whatever is asked for. An entry is divided where a page ends."""

    def __init__(self, log: LogReader, timeline: Timeline, limits: ActivityLimits | None = None) -> None:
        self._log = log
        self._timeline = timeline
        self._limits = limits or ActivityLimits()

    async def page(self, workspace_id: int, query: ActivityQuery) -> ActivityPage:
        """Raises `StoreUnavailable` and `EngineUnavailable`."""
        heads = await self._log.heads(
            workspace_id, query.issue_id, self._limits.page_deltas, before=query.before, after=query.after
        )
        groups, read = _grouped(heads, query)
        slots = asyncio.Semaphore(self._limits.issues_at_once)
        issues: dict[UUID, list[list[DeltaHead]]] = {}
        for group in groups:
            if not group[0].is_tombstone:
                issues.setdefault(group[0].issue_id, []).append(group)
        told = await asyncio.gather(*(self._told(workspace_id, own, slots) for own in issues.values()))
        purges = [Happening(group[0].issue_id, group[0], None) for group in groups if group[0].is_tombstone]
        happenings = sorted((one for some in (*told, purges) for one in some), key=_seq, reverse=True)
        is_end = read == len(heads) and len(heads) < self._limits.page_deltas
        return ActivityPage(happenings, None if is_end else heads[read - 1].seq)

    async def seq_before(self, workspace_id: int, at: datetime) -> int:
        """The newest seq that is older than a time, 0 when none is kept."""
        return await self._log.seq_before(workspace_id, at)

    async def _told(
        self, workspace_id: int, groups: Sequence[Sequence[DeltaHead]], slots: asyncio.Semaphore
    ) -> list[Happening]:
        """The entries of one issue, whose groups are newest first."""
        key = IssueKey(workspace_id, groups[0][0].issue_id)
        by_seq: dict[int, Entry] = {}
        first, last = groups[-1][-1].seq, groups[0][0].seq
        async with slots:
            try:
                while last >= first:  # of too much the newest is told
                    entries = await self._timeline.entries(key, first, last)
                    by_seq |= {entry.seq: entry for entry in entries}
                    last = entries[0].first_seq - 1 if entries else 0
            except (EngineFailed, Refused, Corrupt, Purged, Trimmed):
                pass  # told without its changes
        return [Happening(key.issue_id, group[0], by_seq.get(group[0].seq)) for group in groups]


def _seq(happening: Happening) -> int:
    return happening.head.seq


def _grouped(heads: Sequence[DeltaHead], query: ActivityQuery) -> tuple[list[list[DeltaHead]], int]:
    """Up to `query.limit` entries as their deltas, newest first, and how many heads are in them or passed over."""
    groups: list[list[DeltaHead]] = []
    newest: dict[UUID, list[DeltaHead]] = {}
    for place, head in enumerate(heads):
        if query.actor_id not in (None, head.actor_id):
            newest.pop(head.issue_id, None)
            continue
        group = newest.get(head.issue_id)
        if group is not None and not group[-1].is_tombstone and is_one_entry(head, group[-1]):
            group.append(head)
            continue
        if len(groups) == query.limit:
            return groups, place
        newest[head.issue_id] = [head]
        groups.append(newest[head.issue_id])
    return groups, len(heads)
