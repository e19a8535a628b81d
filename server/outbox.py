"""Operations that clients queued while offline: each becomes an ordinary edit, once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias, cast
from uuid import UUID

from crdt import edits
from crdt.edits import Edit
from crdt.jobs_outbox import Dated, MadeDated, MakeDated
from crdt.update import EMPTY_UPDATE
from server.clock import Clock
from server.permissions import Identity
from server.record_errors import Gone, RecordError, Unavailable
from server.records import Issue, Records
from storage.issue_reader import IssueReader
from storage.store import ProjectedIssue, Store, Workspace
from storage.sync_queue import (
    APPLIED,
    CONFLICT,
    MERGED,
    REJECTED,
    Begun,
    Finished,
    Intended,
    Known,
    Outcome,
    QueuedOperation,
    Sender,
    SyncQueue,
)

Status: TypeAlias = Literal["applied", "merged", "conflict", "duplicate", "rejected", "retry"]
DUPLICATE: Final = "duplicate"  # it was made before
RETRY: Final = "retry"  # somebody is at it, or it is unknown what became of it: send it again

_FAILURES: Final = {
    edits.NOT_THERE: "there is no such record",
    edits.OTHER_BEGINNING: "the id is taken: the record began otherwise",
    edits.NOT_PLAIN: "an embedded object stands where text should be written",
}


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Issues that are in rooms at a time, operations of one that are made at a time, and how long an answer waits for
    the rows of what it wrote."""

    issues_at_once: int = 32
    operations_at_once: int = 100
    rows_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class OutboxServices:
    """What it stands on."""

    records: Records
    queue: SyncQueue
    store: Store
    reader: IssueReader
    clock: Clock


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operation that can be made. `at`: when, by its device's clock."""

    queued: QueuedOperation
    edit: Edit
    at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an operation. `first`: of a duplicate, when it was made · `error` and `field`: why it was
    rejected · `seq`: of the delta that holds it · `row`: the issue as it is now, where its row is there in time."""

    status: Status
    first: Outcome | None = None
    error: str | None = None
    field: str | None = None
    seq: int | None = None
    version: int | None = None
    row: ProjectedIssue | None = None

    def repeated(self) -> Result:
        """What whoever sends it again is told."""
        if self.status in (APPLIED, MERGED, CONFLICT):
            return replace(self, status=DUPLICATE, first=cast(Outcome, self.status))
        return self


class Outbox:
    """Takes batches of operations."""

    def __init__(self, services: OutboxServices, limits: OutboxLimits | None = None) -> None:
        self._services = services
        self._limits = limits or OutboxLimits()

    async def take(
        self, workspace: Workspace, identity: Identity, device: str, wanted: Sequence[Wanted]
    ) -> dict[str, Result]:
        """Make operations, those of an issue in order; what became of each, by id. Ids are different from each other.
        Raises `StoreUnavailable`; then all may be sent again."""
        services = self._services
        sender = Sender(workspace.id, identity.user_id, device)
        now = services.clock.now()
        claimed = await services.queue.claim(sender, [each.queued for each in wanted], now)
        issues = {each.queued.issue_id for each in wanted}
        begun = await services.queue.take_over(sender, issues, now)
        batch = _Batch(services, self._limits, workspace, identity, sender)
        for known in claimed.known.values():
            batch.results[known.id] = _known(known)
        async with asyncio.TaskGroup() as tasks:
            for issue, (ready, new) in _by_issue(wanted, begun, claimed.new, batch).items():
                tasks.create_task(batch.make(issue, ready, new))
        await self._finish(sender, wanted, batch, {*claimed.new, *(each.id for each in begun)})
        return batch.results

    async def _finish(self, sender: Sender, wanted: Sequence[Wanted], batch: _Batch, claimed: Collection[str]) -> None:
        """Read the rows, and note how everything ended."""
        services, now = self._services, self._services.clock.now()
        newest = max((result.seq or 0 for result in batch.results.values()), default=0)
        rows: dict[UUID, ProjectedIssue] = {}
        if await services.reader.wait_for(sender.workspace_id, newest, self._limits.rows_seconds):
            issues = list({each.queued.issue_id for each in wanted})
            rows = await services.store.projected(sender.workspace_id, issues)
        for each in wanted:
            batch.show(each.queued, rows.get(each.queued.issue_id))
        if batch.finished:
            await services.queue.finish(sender, batch.finished)
        unknown = [each for each in claimed if batch.results[each].status == RETRY]
        if unknown:
            await services.queue.release(sender, unknown, now)


class _Batch:
    """One batch under way."""

    def __init__(
        self, services: OutboxServices, limits: OutboxLimits, workspace: Workspace, identity: Identity, sender: Sender
    ) -> None:
        self.results: dict[str, Result] = {}
        self._ended: dict[str, Finished] = {}
        self._services = services
        self._limits = limits
        self._workspace = workspace
        self._identity = identity
        self._sender = sender
        self._places = asyncio.Semaphore(limits.issues_at_once)

    @property
    def finished(self) -> list[Finished]:
        """What is known now and was not before."""
        return list(self._ended.values())

    def show(self, queued: QueuedOperation, row: ProjectedIssue | None) -> None:
        """Let the result of an operation tell of its record."""
        result = self.results[queued.id]
        version = result.version
        if queued.id in self._ended and row is not None:
            version = row.version
            self._ended[queued.id] = self._ended[queued.id]._replace(version=version)
        self.results[queued.id] = replace(result, row=row, version=version)

    async def make(self, issue: UUID, begun: Sequence[Begun], wanted: Sequence[Wanted]) -> None:
        """Everything of one issue: first what was begun, which comes before what is new."""
        async with self._places:
            try:
                if begun:
                    await self._end_begun(issue, begun)
                most = self._limits.operations_at_once
                for start in range(0, len(wanted), most):
                    await self._make_together(issue, wanted[start : start + most])
            except Unavailable:
                for operation in [*(each.id for each in begun), *(each.queued.id for each in wanted)]:
                    if operation not in self._ended:
                        self.results[operation] = Result(RETRY)

    async def _end_begun(self, issue: UUID, begun: Sequence[Begun]) -> None:
        made = MadeDated([each.update for each in begun], [])
        send, device = self._services.records.send, self._sender.device_id
        try:
            seq = await send(self._workspace, self._identity, issue, made.update, device=device)
        except Unavailable:
            raise
        except RecordError as error:
            self._reject([each.id for each in begun], str(error))
            return
        for each in begun:
            self._end(Finished(each.id, each.becomes, seq=seq), Result(DUPLICATE, first=each.becomes, seq=seq))

    async def _make_together(self, issue: UUID, wanted: Sequence[Wanted]) -> None:
        """In one commit; where the document does not take them together, one by one."""
        ids = [each.queued.id for each in wanted]
        try:
            await self._commit(issue, wanted)
        except Unavailable:
            raise
        except Gone as gone:
            self._reject(ids, str(gone))
        except RecordError as error:
            if len(wanted) == 1:
                self._reject(ids, str(error))
                return
            await self._services.queue.withdraw(self._sender, ids)
            for each in wanted:
                await self._make_together(issue, [each])

    async def _commit(self, issue: UUID, wanted: Sequence[Wanted]) -> None:
        def job(seen: Issue) -> MakeDated:
            dated = [Dated(each.edit, min(each.at, seen.author.at)) for each in wanted]
            return MakeDated(str(issue), seen.updates, seen.client_id, seen.author, dated)

        async def write_down(made: MadeDated) -> None:
            intended = [
                Intended(each.queued.id, update, APPLIED)
                for each, update in zip(wanted, made.updates, strict=True)
                if update != EMPTY_UPDATE
            ]
            if not await self._services.queue.intend(self._sender, intended):
                raise Unavailable("somebody else is at it")

        made, seq = await self._services.records.make(
            self._workspace, self._identity, issue, job, device=self._sender.device_id, write_down=write_down
        )
        for each, outcome in zip(wanted, made.outcomes, strict=True):
            if outcome in _FAILURES:
                self._reject([each.queued.id], _FAILURES[outcome])
            else:
                self._end(Finished(each.queued.id, APPLIED, seq=seq), Result(APPLIED, seq=seq))

    def _reject(self, ids: Iterable[str], error: str, field: str | None = None) -> None:
        for each in ids:
            self._end(Finished(each, REJECTED, error, field), Result(REJECTED, error=error, field=field))

    def _end(self, finished: Finished, result: Result) -> None:
        self._ended[finished.id] = finished
        self.results[finished.id] = result


def _known(known: Known) -> Result:
    if known.outcome is None:
        return Result(RETRY)
    return Result(DUPLICATE, first=known.outcome, seq=known.seq, version=known.version)


def _by_issue(
    wanted: Sequence[Wanted], begun: Sequence[Begun], new: Collection[str], batch: _Batch
) -> dict[UUID, tuple[list[Begun], list[Wanted]]]:
    """What is to be done to each issue. Behind an operation that somebody is at, all others of its issue wait."""
    work: dict[UUID, tuple[list[Begun], list[Wanted]]] = {}
    for each in begun:
        work.setdefault(each.issue_id, ([], []))[0].append(each)
    taken_over = {each.id for each in begun}
    waiting: set[UUID] = set()
    for one in wanted:
        queued = one.queued
        if queued.id in new and queued.issue_id not in waiting:
            work.setdefault(queued.issue_id, ([], []))[1].append(one)
        elif queued.id in new:
            batch.results[queued.id] = Result(RETRY)
        elif queued.id not in taken_over and batch.results[queued.id].status == RETRY:
            waiting.add(queued.issue_id)
    return work
