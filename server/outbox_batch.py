"""One batch of a client's queue under way: its operations issue by issue, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, cast
from uuid import UUID

from crdt import edits
from crdt.edits import Edit
from crdt.jobs_outbox import Based, Dated, MadeDated, MakeDated
from crdt.update import EMPTY_UPDATE
from server.bases import Base, Bases, NoBase, conflicts_of, heads_of
from server.clock import Clock
from server.permissions import Identity
from server.record_errors import Forbidden, Gone, RecordError, Unavailable
from server.records import Issue, Records, Terms
from storage.conflicts import NewConflict
from storage.engine import IssueKey
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
    Outcome,
    QueuedOperation,
    Sender,
    SyncQueue,
)

Status: TypeAlias = Literal["applied", "merged", "conflict", "duplicate", "rejected", "retry"]
DUPLICATE: Final = "duplicate"  # it was made before
RETRY: Final = "retry"  # somebody is at it, it is too early, or unknown what became of it: send it again

_FAILURES: Final = {
    edits.NOT_THERE: "there is no such record",
    edits.NO_COMMENT: "there is no such comment",
    edits.OTHER_COMMENT: "the id is taken by another comment",
    edits.NOT_PLAIN: "an embedded object stands where text should be written",
}


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """`operations` and `bytes` of a request, its issues that are in rooms at a time, operations of one that are made at
    a time, and how long an answer waits for the rows of what it wrote."""

    operations: int = 1_000
    bytes: int = 20 * 1024 * 1024
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
    bases: Bases
    max_clock_lead_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operation that can be made. `at`: when, by its device's clock · `base`: what its author saw."""

    queued: QueuedOperation
    edit: Edit
    at: datetime
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an operation. `first`: of a duplicate, when it was made · `error` and `field`: why it was
    rejected, `is_forbidden`: because they may not · `retry_after`: seconds, where it came too early · `seq`: of the
    delta that holds it · `row`: the issue as it is now, where its row is there in time."""

    status: Status
    first: Outcome | None = None
    error: str | None = None
    field: str | None = None
    retry_after: int | None = None
    is_forbidden: bool = False
    seq: int | None = None
    version: int | None = None
    row: ProjectedIssue | None = None

    def repeated(self) -> Result:
        """What whoever sends it again is told."""
        if self.status in (APPLIED, MERGED, CONFLICT):
            return replace(self, status=DUPLICATE, first=cast(Outcome, self.status))
        return self


class Batch:
    """One batch under way."""

    def __init__(
        self,
        services: OutboxServices,
        limits: OutboxLimits,
        workspace: Workspace,
        identity: Identity,
        sender: Sender,
        wanted: Sequence[Wanted],
    ) -> None:
        self.results: dict[str, Result] = {}
        self._ended: dict[str, Finished] = {}
        self._services = services
        self._limits = limits
        self._workspace = workspace
        self._identity = identity
        self._sender = sender
        self._wanted: dict[UUID, list[Wanted]] = {}
        for each in wanted:
            self._wanted.setdefault(each.queued.issue_id, []).append(each)
        self._places = asyncio.Semaphore(limits.issues_at_once)
        self._max_lead = timedelta(seconds=services.max_clock_lead_seconds)

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
        update = MadeDated([each.update for each in begun]).update
        conflicts = [conflict for each in begun for conflict in each.conflicts]
        send, device = self._services.records.send, self._sender.device_id
        try:
            seq = await send(self._workspace, self._identity, issue, update, device=device, conflicts=conflicts)
        except Unavailable:
            raise
        except RecordError as error:
            self._reject([each.id for each in begun], str(error), is_forbidden=isinstance(error, Forbidden))
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
                self._reject(ids, str(error), is_forbidden=isinstance(error, Forbidden))
                return
            await self._services.queue.withdraw(self._sender, ids)
            for each in wanted:
                await self._make_together(issue, [each])

    async def _commit(self, issue: UUID, wanted: Sequence[Wanted]) -> None:
        services, key = self._services, IssueKey(self._workspace.id, issue)
        attempt = _Attempt(self._max_lead)

        async def job(seen: Issue) -> MakeDated:
            attempt.seen = seen
            for each in wanted:
                try:
                    await attempt.rest(each, key, services.bases)
                except NoBase as wrong:
                    self._reject([each.queued.id], str(wrong), wrong.field)
            return attempt.job(issue, self._made_before(issue, wanted))

        async def write_down(made: MadeDated) -> list[NewConflict]:
            intended = [  # what changes nothing too, so that nothing behind it is made before it
                Intended(each.queued.id, update, status, conflicts)
                for (each, update, status, conflicts), outcome in zip(attempt.told(made), made.outcomes, strict=True)
                if outcome not in _FAILURES
            ]
            if not await services.queue.intend(self._sender, intended):
                raise Unavailable("somebody else is at it")
            return [conflict for _, _, _, conflicts in attempt.told(made) for conflict in conflicts]

        made, seq = await services.records.make(
            self._workspace, self._identity, issue, job, device=self._sender.device_id, terms=Terms(write_down)
        )
        for (each, _, status, conflicts), outcome in zip(attempt.told(made), made.outcomes, strict=True):
            if conflicts and made.update == EMPTY_UPDATE:  # nothing was written that they could have gone with
                at = services.clock.now()
                await services.store.ledger.note(self._workspace.id, issue, seq, conflicts, at)
            if outcome in _FAILURES:
                self._reject([each.queued.id], _FAILURES[outcome])
            else:
                self._end(Finished(each.queued.id, status, seq=seq), Result(status, seq=seq))

    def _made_before(self, issue: UUID, wanted: Sequence[Wanted]) -> list[tuple[Wanted, int | None]]:
        """Everything the device did to the issue through the last of `wanted`, with where it was made; None: it is to
        be made now."""
        now = {each.queued.id for each in wanted}
        did: list[tuple[Wanted, int | None]] = []
        for each in self._wanted.get(issue, ()):
            result = self.results.get(each.queued.id)
            if each.queued.id in now:
                did += [(each, None)] if result is None else []
            elif result is not None and result.status == DUPLICATE:
                did.append((each, result.seq or 0))
            elif result is not None and result.status in (APPLIED, MERGED, CONFLICT):
                did.append((each, 0))
            if each is wanted[-1]:
                break
        return did

    def _reject(self, ids: Iterable[str], error: str, field: str | None = None, *, is_forbidden: bool = False) -> None:
        result = Result(REJECTED, error=error, field=field, is_forbidden=is_forbidden)
        for each in ids:
            self._end(Finished(each, REJECTED, error, field), result)

    def _end(self, finished: Finished, result: Result) -> None:
        self._ended[finished.id] = finished
        self.results[finished.id] = result


class _Attempt:
    """Operations of one issue on what was read of it."""

    def __init__(self, max_lead: timedelta) -> None:
        self.seen: Issue | None = None
        self._max_lead = max_lead
        self._resting: dict[str, int | None] = {}  # operation → the seq it rests on
        self._bases: dict[int, Based] = {}
        self._made: list[Wanted] = []

    async def rest(self, each: Wanted, key: IssueKey, bases: Bases) -> None:
        """Read what an operation rests on. Raises `NoBase`."""
        assert self.seen is not None
        seq = None
        if each.base is not None:
            seq = await bases.seq_of(key, each.base, self.seen.seq)
            if seq not in self._bases:
                self._bases[seq] = await bases.read(key, seq, self.seen.seq, each.base.field)
        self._resting[each.queued.id] = seq

    def job(self, issue: UUID, did: Sequence[tuple[Wanted, int | None]]) -> MakeDated:
        """What an engine is asked."""
        assert self.seen is not None
        self._made = [each for each, made_in in did if made_in is None]
        dated = [Dated(each.edit, self._at(each), self._resting.get(each.queued.id), seq) for each, seq in did]
        seen = self.seen
        heads = heads_of(seen.heads, seen.author, self._max_lead)
        return MakeDated(
            str(issue), seen.updates, seen.client_id, seen.author, dated, list(self._bases.values()), heads
        )

    def told(self, made: MadeDated) -> Iterator[tuple[Wanted, bytes, Outcome, list[NewConflict]]]:
        """Each operation with its update, its outcome and what it conflicts with."""
        assert self.seen is not None
        for at, each in enumerate(self._made):
            author = replace(self.seen.author, at=self._at(each))
            conflicts = conflicts_of(made.clashes[at], each.queued.id, author, self.seen.heads, self._max_lead)
            outcome: Outcome = CONFLICT if conflicts else MERGED if made.beside_others[at] else APPLIED
            yield each, made.updates[at], outcome, conflicts

    def _at(self, each: Wanted) -> datetime:
        """A clock that is ahead counts as now."""
        assert self.seen is not None
        return min(each.at, self.seen.author.at)
