"""Reads an issue's log for those who ask what happened to it: heads of deltas, moments, and one stretch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from storage.database import Database
from storage.errors import Purged, Trimmed
from storage.isolation import Connection
from storage.store import TOMBSTONE, Delta, StoredIssue
from storage.tables import delta_queries, deltas, documents, snapshots

NEWEST: Final = 2**63 - 1  # before no seq


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
        async with (
            self._database.session("read a stretch of the log", workspace_id) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(snapshots.NEWEST_UNTIL, *issue, after)
            start = snapshots.snapshot(row) if row else None
            floor = await _floor_snapshot(connection, *issue)
            if floor is not None and start is None:
                raise Trimmed(f"the history of this issue starts at seq {floor[0]}")
            rows = await connection.fetch(deltas.RANGE, *issue, start.seq if start else 0, through)
        found = [deltas.delta(row) for row in rows]
        if found and found[-1].is_tombstone:
            raise Purged(f"issue {issue_id} was purged")
        seen = StoredIssue(start, [delta for delta in found if delta.seq <= after])
        return Stretch(seen, [delta for delta in found if delta.seq > after])


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
