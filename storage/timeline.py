"""What happened to an issue, told from its log: entries newest first, and what differs between two moments.

A page costs what its entries cost, of a long one what lies between two snapshots, however long the log is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from crdt.changes import Change
from crdt.jobs_history import (
    Entry,
    EntryHead,
    LoggedDelta,
    Run,
    Since,
    TellBlame,
    TellChanges,
    TellDifference,
    TellSince,
)
from storage.engine import Engine, IssueKey
from storage.errors import Corrupt
from storage.log_reader import NEWEST, EntryBounds, LogReader, Stretch, Walk
from storage.store import Delta, StoredIssue


@dataclass(frozen=True, slots=True)
class TimelineLimits:
    """Bounds of one page: deltas and bytes that are read for it, characters it tells. Of each the newest, and never
    less than one delta. `span_…`: of what is read for a blame or to take something back."""

    page_deltas: int = 5_000
    page_bytes: int = 8 * 1024 * 1024
    page_chars: int = 1_000_000
    span_deltas: int = 20_000
    span_bytes: int = 32 * 1024 * 1024
    job_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Entries, newest first. `before`: where the next page goes on, None at the end. `floor`: the history of the issue
    begins after this seq, 0 where all of it is kept."""

    entries: Sequence[Entry]
    before: int | None
    floor: int


@dataclass(frozen=True, slots=True)
class Blamed:
    """A text in runs, as it is at `seq`. After seq `exact_after` it is known in which entry something was written, else
    only by whom."""

    runs: Sequence[Run]
    seq: int
    exact_after: int


class SpanTooLong(Exception):
    """More deltas, or bytes of them, than are read at once."""


class Timeline:
    """Reads the log, and has an engine tell what is in it. Every method raises `StoreUnavailable`, `EngineUnavailable`,
    and `EngineFailed` or `Refused` for an issue that cannot be read."""

    def __init__(self, log: LogReader, engine: Engine, limits: TimelineLimits | None = None) -> None:
        self._log = log
        self._engine = engine
        self._limits = limits or TimelineLimits()
        self._page = EntryBounds(self._limits.page_deltas, self._limits.page_bytes)

    async def page(self, key: IssueKey, limit: int, before: int = NEWEST) -> TimelinePage | None:
        """Up to `limit` entries before a seq; None for an issue nobody ever wrote."""
        floor = await self._log.floor(key.workspace_id, key.issue_id)
        if floor is None:
            return None
        issue = (key.workspace_id, key.issue_id)
        heads = await self._log.entries(*issue, limit, self._page, before=before, after=floor)
        if not heads:
            return TimelinePage((), None, floor)
        entries = await self._told(key, heads)
        first = entries[0].first_seq
        return TimelinePage(entries[::-1], None if first <= await self._log.next_seq(*issue, floor) else first, floor)

    async def entries(self, key: IssueKey, first: int, last: int) -> Sequence[Entry]:
        """What the issue's deltas from `first` through `last` changed, oldest first; of too much the newest. Raises
        `Trimmed`."""
        most = self._limits.page_deltas
        issue = (key.workspace_id, key.issue_id)
        heads = await self._log.entries(*issue, most, self._page, before=last + 1, after=first - 1)
        return await self._told(key, heads) if heads else ()

    async def _told(self, key: IssueKey, heads: Sequence[EntryHead]) -> Sequence[Entry]:
        walk = await self._log.walk(key.workspace_id, key.issue_id, heads[::-1])
        job = TellChanges(walk.seen.updates, walk.seen.version, walk.entries, self._limits.page_chars)
        told = await self._engine.run(job, key=key, deadline=self._limits.job_seconds)
        return told.entries

    async def since(self, key: IssueKey, seq: int, through: int = NEWEST) -> Since:
        """The issue as it was at a seq and as it is, and who touched what in between. Raises `Trimmed`."""
        stretch = await self._log.stretch(key.workspace_id, key.issue_id, seq, through)
        job = TellSince(stretch.seen.updates, logged(stretch.deltas))
        return await self._engine.run(job, key=key, deadline=self._limits.job_seconds)

    async def difference(self, key: IssueKey, earlier: int, later: int) -> Sequence[Change]:
        """What makes the issue at one seq of the issue at another. Raises `Trimmed`."""
        states = [await self.state(key, seq) for seq in (earlier, later)]
        job = TellDifference(states[0].updates, states[1].updates)
        difference = await self._engine.run(job, key=key, deadline=self._limits.job_seconds)
        return difference.changes

    async def blame(self, key: IssueKey, root: str) -> Blamed | None:
        """Who wrote which characters of a text; None for an issue nobody ever wrote."""
        bounds = EntryBounds(self._limits.span_deltas, self._limits.span_bytes)
        for whole in (False, True):
            traces = await self._log.traces(key.workspace_id, key.issue_id, bounds, whole=whole)
            if traces is None:
                return None
            older = traces.older
            job = TellBlame(traces.now.updates, older.index if older else None, traces.entries, root)
            blame = await self._engine.run(job, key=key, deadline=self._limits.job_seconds)
            if blame.runs is not None:
                return Blamed(blame.runs, traces.now.seq, older.seq if older else 0)
        raise Corrupt(f"issue {key.issue_id} holds what its log does not")

    async def span(self, key: IssueKey, after: int) -> Stretch:
        """The issue as it was at a seq, and all deltas after it. Raises `SpanTooLong`, and `Trimmed`."""
        most = self._limits.span_deltas
        heads = await self._log.heads(key.workspace_id, key.issue_id, most + 1, after=after)
        if len(heads) > most or sum(head.bytes for head in heads) > self._limits.span_bytes:
            raise self._too_long()
        return await self._log.stretch(key.workspace_id, key.issue_id, after, NEWEST)

    async def turns(self, key: IssueKey, after: int) -> Walk:
        """The issue as it was at a seq, and what came after it, as one entry for each turn of a writer: of a long one
        from a snapshot on. Raises `SpanTooLong`, and `Trimmed`."""
        issue = (key.workspace_id, key.issue_id)
        bounds = EntryBounds(self._limits.span_deltas, self._limits.span_bytes)
        heads = await self._log.entries(*issue, bounds.deltas, bounds, after=after)
        if not heads:
            return Walk(await self.state(key, after), ())
        if heads[-1].first_seq > await self._log.next_seq(*issue, after):
            raise self._too_long()
        return await self._log.walk(*issue, _turns(heads[::-1]))

    def _too_long(self) -> SpanTooLong:
        return SpanTooLong(f"more than {self._limits.span_deltas} edits, or {self._limits.span_bytes} bytes of them")

    async def floor(self, key: IssueKey) -> int:
        """Through which seq the log of the issue is trimmed, 0 where it is not."""
        return await self._log.floor(key.workspace_id, key.issue_id) or 0

    async def first_seq(self, key: IssueKey) -> int:
        """Where the issue began: the seq of its first delta, or of its floor; 0 when nobody ever wrote it."""
        return await self._log.first_seq(key.workspace_id, key.issue_id)

    async def state(self, key: IssueKey, seq: int) -> StoredIssue:
        """The issue as it was at a seq, in bytes. Raises `Trimmed`."""
        return (await self._log.stretch(key.workspace_id, key.issue_id, seq, seq)).seen

    async def seq_at(self, key: IssueKey, moment: int | datetime) -> int:
        """The seq of a moment: of the issue's last delta at or before a time. Raises `Trimmed`."""
        if isinstance(moment, int):
            return moment
        return await self._log.seq_at(key.workspace_id, key.issue_id, moment)


def _turns(heads: Sequence[EntryHead]) -> list[EntryHead]:
    """Entries that follow each other, oldest first, as one where one writer made them."""
    turns: list[EntryHead] = []
    for head in heads:
        if turns and (turns[-1].actor_id, turns[-1].device_id) == (head.actor_id, head.device_id):
            first = turns.pop()
            head = replace(first, seq=head.seq, deltas=first.deltas + head.deltas, created_at=head.created_at)
        turns.append(head)
    return turns


def logged(deltas: Sequence[Delta]) -> list[LoggedDelta]:
    """Deltas as jobs take them."""
    return [LoggedDelta(d.seq, d.update, d.actor_id, d.device_id, d.created_at) for d in deltas]
