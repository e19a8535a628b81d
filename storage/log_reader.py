"""Reads an issue's log for those who ask what happened to it: heads of deltas, moments, and one stretch at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Record

from crdt.jobs_history import EntryHead, LoggedEntry
from storage.database import Database
from storage.errors import Purged, Trimmed
from storage.isolation import Connection
from storage.store import TOMBSTONE, Delta, Snapshot, StoredIssue, unless_purged
from storage.tables import delta_queries, deltas, documents, snapshots

NEWEST: Final = 2**63 - 1  # before no seq
_ENTRY_DELTAS: Final = 20  # of an entry, as a first guess
_LEAP_DELTAS: Final = 100  # to read so many costs about as much as a snapshot


class EntryBounds(NamedTuple):
    """What entries are made of: the newest deltas, and of more bytes of updates than these at least one."""

    deltas: int
    bytes: int


class DeltaHead(NamedTuple):
    """A delta of the log without its update, of which only the size is known."""

    seq: int
    issue_id: UUID
    actor_id: str
    device_id: str | None
    created_at: datetime
    bytes: int

    @property
    def is_tombstone(self) -> bool:
        """Whether this says that the issue was purged."""
        return self.bytes == len(TOMBSTONE)


@dataclass(frozen=True, slots=True)
class Walk:
    """Entries that follow each other, oldest first: what makes each of them of the one before, and the issue as it was
    before the first."""

    seen: StoredIssue
    entries: Sequence[LoggedEntry]


@dataclass(frozen=True, slots=True)
class Traces:
    """An issue as it is, and by entry, oldest first, what says which ids it brought; before the first of them there is
    `older`, if anything."""

    now: StoredIssue
    entries: Sequence[LoggedEntry]
    older: Snapshot | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Deltas of an issue that follow each other, and the issue as it was before the first of them."""

    seen: StoredIssue
    deltas: Sequence[Delta]


class LogReader:
    """Writes nothing. Every method raises `StoreUnavailable` when there is no answer, and `Purged` where an issue was
    purged."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def heads(
        self, workspace_id: int, issue_id: UUID | None, limit: int, *, before: int = NEWEST, after: int = 0
    ) -> list[DeltaHead]:
        """The newest deltas of an issue, or of the workspace, between two seqs, newest first."""
        async with self._database.session("read heads of deltas", workspace_id) as connection:
            if issue_id is None:
                rows = await connection.fetch(delta_queries.OF_WORKSPACE, workspace_id, before, after, limit)
            else:
                rows = await connection.fetch(delta_queries.OF_ISSUE, workspace_id, issue_id, before, after, limit)
        heads = [DeltaHead(*row) for row in rows]
        if issue_id is not None and heads and heads[0].is_tombstone:
            raise Purged(f"issue {issue_id} was purged")
        return heads

    async def entries(
        self,
        workspace_id: int,
        issue_id: UUID,
        limit: int,
        bounds: EntryBounds,
        *,
        before: int = NEWEST,
        after: int = 0,
    ) -> list[EntryHead]:
        """The newest entries of an issue between two seqs, newest first; the oldest is cut at the bounds."""
        rows: list[Record] = []
        async with self._database.session("read heads of entries", workspace_id) as connection:
            asked = (workspace_id, issue_id, before, after)
            most: int = await connection.fetchval(delta_queries.FITTING, *asked, *bounds)
            for guess in sorted({min(limit * _ENTRY_DELTAS, most), most}):
                rows = await connection.fetch(delta_queries.ENDS, *asked, guess, limit + 1)
                if not rows or not rows[-1]["is_last"] or rows[-1]["row"] < guess:
                    break
        if rows and rows[0]["bytes"] == len(TOMBSTONE):
            raise Purged(f"issue {issue_id} was purged")
        return list(_heads(rows))[:limit]

    async def walk(self, workspace_id: int, issue_id: UUID, heads: Sequence[EntryHead]) -> Walk:
        """Entries that follow each other, oldest first, with their updates. Over a long one a snapshot leads that
        stands in it: so a walk costs what snapshots are apart, however much was written. Raises `Trimmed` where the
        first lies below the issue's floor."""
        issue = (workspace_id, issue_id)
        async with self._reading("read entries", workspace_id) as connection:
            seen = await _seen(connection, *issue, heads[0].first_seq - 1)
            kept = await connection.fetch(snapshots.VERSIONS, *issue, heads[0].first_seq, heads[-1].seq)
            leaps = _leaps(heads, seen.version, [(row["seq"], row["version"]) for row in kept])
            starts = [leap or head.first_seq - 1 for head, leap in zip(heads, leaps, strict=True)]
            rows = await connection.fetch(deltas.STRETCHES, *issue, starts, [head.seq for head in heads])
            states = await connection.fetch(snapshots.SOME, *issue, [leap for leap in leaps if leap])
        state_at = {row["seq"]: snapshots.snapshot(row).state for row in states}
        entries = _entries(heads, deltas.read(rows))
        return Walk(
            seen,
            [
                replace(entry, updates=[state_at[leap], *entry.updates]) if leap else entry
                for entry, leap in zip(entries, leaps, strict=True)
            ],
        )

    async def traces(self, workspace_id: int, issue_id: UUID, bounds: EntryBounds, *, whole: bool) -> Traces | None:
        """The entries of about the newest deltas of an issue, and what is older; of each its first and its last delta,
        or the `whole` of it, for which bytes are bounded too. None for an issue nobody ever wrote."""
        issue = (workspace_id, issue_id)
        async with self._reading("read who wrote an issue", workspace_id) as connection:
            now = await _seen(connection, *issue, NEWEST)
            if now.snapshot is None and not now.tail:
                return None
            floor = await _floor_snapshot(connection, *issue)
            most = bounds.deltas
            if whole:
                most = await connection.fetchval(delta_queries.FITTING, *issue, NEWEST, 0, *bounds)
            first: int | None = await connection.fetchval(delta_queries.NTH_NEWEST, *issue, most)
            start = first - 1 if first else floor[0] if floor else 0
            row = await connection.fetchrow(snapshots.NEWEST_UNTIL, *issue, start)
            older = snapshots.snapshot(row) if row else None
            after = older.seq if older else 0
            ends = await connection.fetch(delta_queries.ENDS, *issue, NEWEST, after, NEWEST, NEWEST)
            heads = list(_heads(ends))[::-1]
            if whole:
                rows = await connection.fetch(deltas.RANGE, *issue, after, None)
            else:
                seqs = [seq for head in heads for seq in (head.first_seq, head.seq)]
                rows = await connection.fetch(deltas.SOME, *issue, seqs)
        return Traces(now, _entries(heads, deltas.read(rows)), older)

    async def floor(self, workspace_id: int, issue_id: UUID) -> int | None:
        """Through which seq the issue's log is trimmed, 0 where nothing is; None for an issue nobody ever wrote."""
        issue = (workspace_id, issue_id)
        async with self._database.session("read an issue's floor", workspace_id) as connection:
            is_written = await _is_written(connection, *issue)
            status = await connection.fetchrow(documents.ONE, *issue)
        floor: int = status["floor"] if status else 0
        return floor if is_written or floor else None

    async def first_seq(self, workspace_id: int, issue_id: UUID) -> int:
        """The seq of the issue's first delta, or of its floor where that is trimmed; 0 when nobody ever wrote it."""
        issue = (workspace_id, issue_id)
        async with self._database.session("find where an issue began", workspace_id) as connection:
            await _is_written(connection, *issue)
            start = await _floor_snapshot(connection, *issue)
            if start is not None:
                return start[0]
            seq: int | None = await connection.fetchval(delta_queries.NTH_AFTER, *issue, 0, 1)
        return seq or 0

    async def next_seq(self, workspace_id: int, issue_id: UUID, after: int) -> int:
        """The seq of the issue's first delta after a seq; 0 when there is none."""
        async with self._database.session("find a delta", workspace_id) as connection:
            seq: int | None = await connection.fetchval(delta_queries.NTH_AFTER, workspace_id, issue_id, after, 1)
        return seq or 0

    async def seq_before(self, workspace_id: int, at: datetime) -> int:
        """The newest seq of the workspace that is older than a time, 0 when none is kept."""
        async with self._database.session("find a moment of a workspace", workspace_id) as connection:
            seq: int | None = await connection.fetchval(delta_queries.SEQ_BEFORE, workspace_id, at)
        return seq or 0

    async def seq_at(self, workspace_id: int, issue_id: UUID, at: datetime) -> int:
        """The seq of the issue's last delta at or before a time, 0 when it did not exist yet. Raises `Trimmed`."""
        issue = (workspace_id, issue_id)
        async with self._database.session("find a moment of an issue", workspace_id) as connection:
            await _is_written(connection, *issue)
            seq: int | None = await connection.fetchval(delta_queries.SEQ_AT, *issue, at)
            if seq is not None:
                return seq
            start = await _floor_snapshot(connection, *issue)
        if start is None:
            return 0
        if start[1] <= at:
            return start[0]
        raise Trimmed(f"the history of this issue starts at {start[1].isoformat()}, seq {start[0]}")

    async def seq_of_version(self, workspace_id: int, issue_id: UUID, version: int) -> int | None:
        """The seq that made an issue this version, 0 for version 0. None: it never had it, or its log is trimmed."""
        issue = (workspace_id, issue_id)
        async with self._database.session("find a version of an issue", workspace_id) as connection:
            start = await connection.fetchrow(delta_queries.VERSION_START, *issue, version)
            seq, counted = (start["seq"], start["version"]) if start else (0, 0)
            if counted == version:
                return int(seq)
            if start is None and await _floor_snapshot(connection, *issue) is not None:
                return None
            found: int | None = await connection.fetchval(delta_queries.NTH_AFTER, *issue, seq, version - counted)
        return found

    async def stretch(self, workspace_id: int, issue_id: UUID, after: int, through: int) -> Stretch:
        """The issue as it was at seq `after`, from its nearest snapshot, and its deltas from there through `through`.
        Raises `Trimmed` when `after` lies below the issue's floor."""
        issue = (workspace_id, issue_id)
        async with self._reading("read a stretch of the log", workspace_id) as connection:
            seen = await _seen(connection, *issue, after)
            rows = await connection.fetch(deltas.RANGE, *issue, after, through)
        found = deltas.read(rows)
        if found and found[-1].is_tombstone:
            raise Purged(f"issue {issue_id} was purged")
        return Stretch(seen, found)

    @asynccontextmanager
    async def _reading(self, doing: str, workspace_id: int) -> AsyncIterator[Connection]:
        """One view of the database for several statements."""
        async with (
            self._database.session(doing, workspace_id) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


async def _seen(connection: Connection, workspace_id: int, issue_id: UUID, through: int) -> StoredIssue:
    """The issue as it was at a seq, from the snapshot before it. Raises `Trimmed` and `Purged`."""
    issue = (workspace_id, issue_id)
    row = await connection.fetchrow(snapshots.NEWEST_UNTIL, *issue, through)
    start = snapshots.snapshot(row) if row else None
    floor = await _floor_snapshot(connection, *issue)
    if floor is not None and start is None:
        raise Trimmed(f"the history of this issue starts at seq {floor[0]}")
    rows = await connection.fetch(deltas.RANGE, *issue, start.seq if start else 0, through)
    return unless_purged(StoredIssue(start, deltas.read(rows)), issue_id)


def _heads(rows: Sequence[Record]) -> Iterator[EntryHead]:
    """Whole entries, newest first, from their ends (`delta_queries.ENDS`)."""
    newest: Record | None = None
    for row in rows:
        if not row["goes_on"]:
            if newest is not None:
                yield _head(newest, row["newer_seq"], row["newer_at"], row["row"] - newest["row"])
            newest = row
        if row["is_last"]:
            assert newest is not None
            yield _head(newest, row["seq"], row["created_at"], row["row"] + 1 - newest["row"])


def _head(newest: Record, first_seq: int, began_at: datetime, deltas: int) -> EntryHead:
    whose = (newest["actor_id"], newest["device_id"])
    return EntryHead(first_seq, newest["seq"], deltas, *whose, began_at, newest["created_at"])


def _leaps(heads: Sequence[EntryHead], version: int, kept: Sequence[tuple[int, int]]) -> list[int | None]:
    """Of each entry the snapshot to begin at, by its seq: the last within it, where that spares many deltas. `version`:
    before the first of them · `kept`: seq and version of snapshots, ascending."""
    leaps: list[int | None] = []
    for head in heads:
        inside = [seq for seq, at in kept if head.first_seq < seq <= head.seq and at - version >= _LEAP_DELTAS]
        leaps.append(inside[-1] if inside else None)
        version += head.deltas
    return leaps


def _entries(heads: Sequence[EntryHead], found: Sequence[Delta]) -> list[LoggedEntry]:
    """Entries with those of their deltas that were read."""
    ends = [0, *(bisect_right(found, head.seq, key=lambda delta: delta.seq) for head in heads)]
    return [
        LoggedEntry(head, [delta.update for delta in found[start:end]])
        for head, (start, end) in zip(heads, pairwise(ends), strict=True)
    ]


async def _is_written(connection: Connection, workspace_id: int, issue_id: UUID) -> bool:
    """Whether the log has any of the issue. Raises `Purged`."""
    row = await connection.fetchrow(delta_queries.OF_ISSUE, workspace_id, issue_id, NEWEST, 0, 1)
    if row is not None and DeltaHead(*row).is_tombstone:
        raise Purged(f"issue {issue_id} was purged")
    return row is not None


async def _floor_snapshot(connection: Connection, workspace_id: int, issue_id: UUID) -> tuple[int, datetime] | None:
    """Seq and time of the snapshot an issue's log begins with; None where it reaches back to the first edit."""
    status = await connection.fetchrow(documents.ONE, workspace_id, issue_id)
    if status is None or not status["floor"]:
        return None
    row = await connection.fetchrow(snapshots.ONE, workspace_id, issue_id, status["floor"])
    return None if row is None else (row["seq"], row["created_at"])
