"""The account of operations that clients send from their queues: each is made once, however often it comes.

An operation is claimed, made into an update, which is written down before it is committed, and finished. Whoever finds
one that was written down and not finished commits the same bytes again, which changes nothing where they are in the log
already. So it does not matter where a server is killed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from storage.conflicts import NewConflict
from storage.database import Database
from storage.tables import sync_queue

Outcome: TypeAlias = Literal["applied", "merged", "conflict", "rejected"]
APPLIED: Final = "applied"  # as it was sent
MERGED: Final = "merged"  # beside what others have changed since
CONFLICT: Final = "conflict"  # something it says, or replaces, is in the ledger of conflicts
REJECTED: Final = "rejected"  # nothing of it was made; it may be sent again


@dataclass(frozen=True, slots=True)
class SyncQueueLimits:
    """How long a claim lasts, and what became of an operation is known; `retries`: how often one that was rejected is
    begun again."""

    claim_seconds: float = 10.0
    kept_days: float = 30.0
    retries: int = 100


class Sender(NamedTuple):
    """Whose operations: ids are a device's own."""

    workspace_id: int
    user_id: str
    device_id: str


class QueuedOperation(NamedTuple):
    """What an operation is about. `issue_id`: the record, or what it is a part of."""

    id: str
    table_name: str
    record_id: str
    issue_id: UUID
    operation: str


class Known(NamedTuple):
    """An operation that came before. `outcome` None: somebody is at it · `error` and `field`: as it was rejected."""

    id: str
    outcome: Outcome | None
    seq: int | None
    version: int | None
    error: str | None
    field: str | None


class Begun(NamedTuple):
    """An operation whose update was written down, and may be committed or not."""

    id: str
    issue_id: UUID
    update: bytes
    becomes: Outcome
    conflicts: Sequence[NewConflict]


class Intended(NamedTuple):
    """An operation's update before it is committed, and its outcome once it is."""

    id: str
    update: bytes
    becomes: Outcome
    conflicts: Sequence[NewConflict] = ()


class Finished(NamedTuple):
    """How an operation ended. `error` and `field`: of a rejected one; they hold no content."""

    id: str
    outcome: Outcome
    error: str | None = None
    field: str | None = None
    seq: int | None = None
    version: int | None = None


class _Taken(Exception):
    """Somebody else was first."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """`new`: ids for the caller to make · `known`: the others, by id."""

    new: Collection[str]
    known: dict[str, Known]


class SyncQueue:
    """Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database, limits: SyncQueueLimits | None = None) -> None:
        limits = limits or SyncQueueLimits()
        self._database = database
        self._claim = timedelta(seconds=limits.claim_seconds)
        self._kept = timedelta(days=limits.kept_days)
        self._retries = limits.retries

    async def claim(self, sender: Sender, operations: Sequence[QueuedOperation], now: datetime) -> Claimed:
        """Be the one who makes these, each id once, unless that is done, or begun, or was rejected too often."""
        columns = [list(column) for column in zip(*operations, strict=True)]
        async with self._database.session("claim operations", sender.workspace_id) as connection:
            until = now + self._claim
            rows = await connection.fetch(sync_queue.CLAIM, *sender, *columns, now, until, self._retries)
            new = {row["id"] for row in rows}
            others = [operation.id for operation in operations if operation.id not in new]
            found = await connection.fetch(sync_queue.KNOWN, *sender, others) if others else []
        return Claimed(new, {row["id"]: Known(*row) for row in found})

    async def forget(self, workspace_id: int, now: datetime) -> int:
        """Delete what is older than it is to be known, a bounded number; how many there were."""
        async with self._database.session("forget operations", workspace_id) as connection:
            return len(await connection.fetch(sync_queue.FORGET, workspace_id, now - self._kept))

    async def take_over(self, sender: Sender, issue_ids: Collection[UUID], now: datetime) -> list[Begun]:
        """What was begun on these issues by somebody who is gone."""
        async with self._database.session("take over operations", sender.workspace_id) as connection:
            until = now + self._claim
            rows = await connection.fetch(sync_queue.TAKE_OVER, *sender, list(issue_ids), now, until)
        return [Begun(*row)._replace(conflicts=sync_queue.conflicts_read(row["conflicts"])) for row in rows]

    async def intend(self, sender: Sender, made: Sequence[Intended]) -> bool:
        """Write updates down. False: somebody else has done so for some of them, and none may be committed."""
        columns = [[each.id for each in made], [each.update for each in made], [each.becomes for each in made]]
        told = [sync_queue.conflicts_written(each.conflicts) for each in made]
        try:
            async with (
                self._database.session("write operations down", sender.workspace_id) as connection,
                connection.transaction(),
            ):
                rows = await connection.fetch(sync_queue.INTEND, *sender, *columns, told)
                if len(rows) < len(made):
                    raise _Taken
        except _Taken:
            return False
        return True

    async def withdraw(self, sender: Sender, ids: Sequence[str]) -> None:
        """What was written down is not to be committed, and never will be."""
        async with self._database.session("withdraw operations", sender.workspace_id) as connection:
            await connection.execute(sync_queue.WITHDRAW, *sender, list(ids))

    async def finish(self, sender: Sender, finished: Sequence[Finished]) -> None:
        """Note how operations ended; the first word counts."""
        columns = [list(column) for column in zip(*finished, strict=True)]
        async with self._database.session("finish operations", sender.workspace_id) as connection:
            await connection.execute(sync_queue.FINISH, *sender, *columns)

    async def release(self, sender: Sender, ids: Sequence[str], now: datetime) -> None:
        """Give claims back: what became of these is unknown."""
        async with self._database.session("give operations back", sender.workspace_id) as connection:
            await connection.execute(sync_queue.RELEASE, *sender, list(ids), now)
