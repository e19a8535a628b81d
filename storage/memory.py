"""The store in memory, for simulation: the same promises as `postgres.py`, and faults where the simulation wants them.

Every change happens at once, between two awaits, as a commit does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final, Literal, TypeAlias
from uuid import UUID, uuid5

from storage.errors import NotPurgeable, Overtaken, Trimmed, UnknownWorkspace
from storage.memory_ledger import MemoryLedger
from storage.memory_rows import Rows, Turn, by_issue
from storage.slugs import check_slug
from storage.store import (
    TOMBSTONE,
    Delta,
    DocumentStatus,
    IssueDeltas,
    IssueExtent,
    NewDelta,
    ProjectedIssue,
    ProjectionTurn,
    Snapshot,
    StoredIssue,
    Workspace,
    unless_purged,
)

Moment: TypeAlias = Literal["before", "after"]
Fault: TypeAlias = Callable[[Moment, str], Awaitable[None]]
"""Awaited around every operation, with its method's name. Raising "before" is a failed commit, raising "after" is a
commit whose answer was lost; sleeping is latency. Reads only have a "before"."""

_EPOCHS: Final = UUID("6f0e4a52-6b0b-4a5b-9d5a-6a1c2b6f3f10")


async def _no_fault(moment: Moment, operation: str) -> None:
    pass


class MemoryStore:
    """`Store` that forgets everything with the process."""

    def __init__(self, *, fault: Fault = _no_fault, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.fault = fault
        self._now = now
        self._workspaces: dict[int, Rows] = {}
        self.ledger = MemoryLedger(lambda moment, operation: self.fault(moment, operation))

    async def append(self, batch: Sequence[NewDelta]) -> list[int]:
        await self.fault("before", "append")
        if any(delta.workspace_id not in self._workspaces for delta in batch):
            raise UnknownWorkspace("a delta names a workspace that does not exist")
        for delta in batch:
            rows = self._workspaces[delta.workspace_id]
            rows.expect_there(delta.issue_id)
            if delta.after is not None and rows.stored_issue(delta.issue_id).seq > delta.after:
                raise Overtaken(f"issue {delta.issue_id} was written to since")
            if delta.mark is not None and (delta.issue_id, *delta.mark[:2]) in rows.marks:
                raise Overtaken("a request was done already")
        seqs = [self._append(delta) for delta in batch]
        await self.fault("after", "append")
        return seqs

    def _append(self, new: NewDelta) -> int:
        rows = self._workspaces[new.workspace_id]
        seq = rows.workspace.head + 1
        rows.workspace = replace(rows.workspace, head=seq)
        rows.log.append(
            Delta(new.workspace_id, seq, new.issue_id, new.update, new.actor_id, new.device_id, new.created_at)
        )
        if new.mark is not None:
            rows.marks.add((new.issue_id, *new.mark[:2]))
        self.ledger.record(new.workspace_id, new.issue_id, seq, new.conflicts, new.created_at)
        return seq

    async def load(self, workspace_id: int, issue_id: UUID) -> StoredIssue:
        await self.fault("before", "load")
        rows = self._workspaces.get(workspace_id)
        return unless_purged(rows.stored_issue(issue_id), issue_id) if rows else StoredIssue(None, [])

    async def version(self, workspace_id: int, issue_id: UUID) -> tuple[int, int]:
        await self.fault("before", "version")
        rows = self._workspaces.get(workspace_id)
        issue = rows.stored_issue(issue_id) if rows else StoredIssue(None, [])
        return issue.version, issue.seq

    async def load_many(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, StoredIssue]:
        await self.fault("before", "load_many")
        rows = self._workspaces.get(workspace_id)
        return {issue_id: rows.stored_issue(issue_id) if rows else StoredIssue(None, []) for issue_id in issue_ids}

    async def load_log(self, workspace_id: int, issue_id: UUID, until: int | None = None) -> StoredIssue:
        await self.fault("before", "load_log")
        rows = self._workspaces.get(workspace_id)
        if rows is None:
            return StoredIssue(None, [])
        rows.expect_there(issue_id)
        floor = rows.status(issue_id).floor
        kept = rows.snapshots.get(issue_id, [])
        starts = [s for s in kept if (s.seq == floor if until is None else s.seq <= until)]
        if not starts and floor:
            raise Trimmed(f"issue {issue_id}: its history starts at seq {floor}")
        start = starts[0] if starts else None
        return StoredIssue(start, rows.deltas(issue_id, start.seq if start else 0, until))

    async def seq_at(self, workspace_id: int, issue_id: UUID, at: datetime) -> int:
        log = await self.load_log(workspace_id, issue_id)
        seqs = [delta.seq for delta in log.tail if delta.created_at <= at]
        if seqs or log.snapshot is None:
            return seqs[-1] if seqs else 0
        if log.snapshot.created_at <= at:
            return log.snapshot.seq
        raise Trimmed(f"issue {issue_id}: its history starts at seq {log.snapshot.seq}")

    async def tail(self, workspace_id: int, issue_id: UUID, after: int) -> list[Delta]:
        await self.fault("before", "tail")
        rows = self._workspaces.get(workspace_id)
        return rows.deltas(issue_id, after) if rows else []

    async def page(self, workspace_id: int, after: int, limit: int, max_bytes: int | None = None) -> list[Delta]:
        await self.fault("before", "page")
        rows = self._workspaces.get(workspace_id)
        page = [delta for delta in rows.log if delta.seq > after][:limit] if rows else []
        sizes = accumulate(len(delta.update) for delta in page)
        return [
            d for d, size in zip(page, sizes, strict=True) if max_bytes is None or size <= max_bytes or d is page[0]
        ]

    async def page_by_issue(self, workspace_id: int, after: int, limit: int) -> list[IssueDeltas]:
        return by_issue(await self.page(workspace_id, after, limit))

    async def issue_ids(self, workspace_id: int, after: UUID | None, limit: int) -> list[UUID]:
        await self.fault("before", "issue_ids")
        rows = self._workspaces.get(workspace_id)
        known = ({delta.issue_id for delta in rows.log} | rows.documents.keys()) - rows.purged if rows else set()
        return sorted(issue_id for issue_id in known if after is None or issue_id > after)[:limit]

    async def issue_count(self, workspace_id: int) -> int:
        await self.fault("before", "issue_count")
        rows = self._workspaces.get(workspace_id)
        return len(({delta.issue_id for delta in rows.log} | rows.documents.keys()) - rows.purged) if rows else 0

    async def changed_extents(self, workspace_id: int, since: int, after: UUID | None, limit: int) -> list[IssueExtent]:
        await self.fault("before", "changed_extents")
        rows = self._workspaces.get(workspace_id)
        known = {delta.issue_id for delta in rows.log} | rows.snapshots.keys() if rows else set()
        later = sorted(issue_id for issue_id in known if after is None or issue_id > after)
        stored = [(issue_id, rows.stored_issue(issue_id)) for issue_id in later] if rows else []
        changed = [(issue_id, issue) for issue_id, issue in stored if issue.seq > since]
        return [
            IssueExtent(issue_id, issue.seq, sum(map(len, issue.updates)), issue.is_purged)
            for issue_id, issue in changed[:limit]
        ]

    async def projected_through(self, workspace_id: int) -> int:
        await self.fault("before", "projected_through")
        rows = self._workspaces.get(workspace_id)
        return rows.cursor if rows else 0

    async def projected(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, ProjectedIssue]:
        await self.fault("before", "projected")
        rows = self._workspaces.get(workspace_id)
        return {i: rows.issues[i] for i in issue_ids if i in rows.issues} if rows else {}

    async def workspace(self, slug: str) -> Workspace | None:
        await self.fault("before", "workspace")
        return next((rows.workspace for rows in self._workspaces.values() if rows.workspace.slug == slug), None)

    async def workspaces(self) -> list[Workspace]:
        await self.fault("before", "workspaces")
        return [rows.workspace for rows in self._workspaces.values()]

    async def create_workspace(self, slug: str, name: str) -> Workspace:
        check_slug(slug)
        await self.fault("before", "create_workspace")
        there = next((rows.workspace for rows in self._workspaces.values() if rows.workspace.slug == slug), None)
        if there is None:
            # Not random, so that a seed of the simulation means one run.
            there = Workspace(len(self._workspaces) + 1, slug, name, head=0, floor=0, epoch=uuid5(_EPOCHS, slug))
            self._workspaces[there.id] = Rows(there)
        await self.fault("after", "create_workspace")
        return there

    @asynccontextmanager
    async def projection(self, workspace_id: int) -> AsyncIterator[ProjectionTurn | None]:
        await self.fault("before", "projection")
        rows = self._workspaces.get(workspace_id)
        if rows is None or rows.is_projected:
            yield None
            return
        turn = Turn(rows)
        rows.is_projected = True
        try:
            yield turn
            await self.fault("before", "commit_projection")
            turn.commit()
        finally:
            rows.is_projected = False
        await self.fault("after", "commit_projection")

    async def document(self, workspace_id: int, issue_id: UUID) -> DocumentStatus | None:
        await self.fault("before", "document")
        rows = self._workspaces.get(workspace_id)
        return rows.documents.get(issue_id) if rows else None

    async def issues_to_compact(self, updates: int, tail_bytes: int, limit: int) -> list[DocumentStatus]:
        await self.fault("before", "issues_to_compact")
        found = [
            status
            for status in self._statuses()
            if status.quarantined_at is None and (status.tail_updates >= updates or status.tail_bytes >= tail_bytes)
        ]
        return sorted(found, key=lambda s: (-s.tail_updates, -s.tail_bytes, s.workspace_id, s.issue_id))[:limit]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self.fault("before", "save_snapshot")
        rows = self._workspaces[snapshot.workspace_id]
        rows.expect_there(snapshot.issue_id)
        status = rows.status(snapshot.issue_id)
        if snapshot.seq > status.snapshot_seq:
            rows.snapshots.setdefault(snapshot.issue_id, []).insert(0, snapshot)
            tail = rows.deltas(snapshot.issue_id, snapshot.seq, status.last_seq)
            rows.documents[snapshot.issue_id] = replace(
                status,
                snapshot_seq=snapshot.seq,
                tail_updates=len(tail),
                tail_bytes=sum(len(delta.update) for delta in tail),
            )
        await self.fault("after", "save_snapshot")

    async def snapshots(self, workspace_id: int, issue_id: UUID) -> list[Snapshot]:
        await self.fault("before", "snapshots")
        rows = self._workspaces.get(workspace_id)
        return list(rows.snapshots.get(issue_id, [])) if rows else []

    async def drop_snapshots(self, workspace_id: int, issue_id: UUID, seqs: Sequence[int]) -> int:
        await self.fault("before", "drop_snapshots")
        rows = self._workspaces[workspace_id]
        status = rows.status(issue_id)
        if status.snapshot_seq in seqs or status.floor in seqs:
            raise ValueError(f"snapshots {status.snapshot_seq} (newest) and {status.floor} (floor) must stay")
        kept = rows.snapshots.get(issue_id, [])
        rows.snapshots[issue_id] = [snapshot for snapshot in kept if snapshot.seq not in seqs]
        await self.fault("after", "drop_snapshots")
        return len(kept) - len(rows.snapshots[issue_id])

    async def trim(self, workspace_id: int, issue_id: UUID, through: int) -> int:
        await self.fault("before", "trim")
        rows = self._workspaces[workspace_id]
        kept = rows.snapshots.get(issue_id, [])
        if all(snapshot.seq != through for snapshot in kept):
            raise ValueError(f"no snapshot is kept at seq {through}")
        if through > rows.cursor:
            raise ValueError(f"a reader of the log is still at seq {rows.cursor}")
        trimmed = rows.deltas(issue_id, 0, through)
        rows.log = [delta for delta in rows.log if delta.issue_id != issue_id or delta.seq > through]
        rows.snapshots[issue_id] = [snapshot for snapshot in kept if snapshot.seq >= through]
        rows.documents[issue_id] = replace(rows.status(issue_id), floor=through)
        if trimmed:
            rows.workspace = replace(rows.workspace, floor=max(rows.workspace.floor, trimmed[-1].seq))
        await self.fault("after", "trim")
        return len(trimmed)

    async def issues_to_purge(self, untouched_since: datetime, limit: int) -> list[tuple[int, UUID]]:
        await self.fault("before", "issues_to_purge")
        due: list[tuple[datetime, int, UUID]] = []
        for rows in self._workspaces.values():
            for issue_id in rows.issues:
                with suppress(NotPurgeable):
                    deleted_at = rows.expect_purgeable(issue_id, untouched_since)
                    if rows.status(issue_id).quarantined_at is None:
                        due.append((deleted_at, rows.workspace.id, issue_id))
        return [(workspace_id, issue_id) for _, workspace_id, issue_id in sorted(due)[:limit]]

    async def purge(
        self, workspace_id: int, issue_id: UUID, *, by: str, at: datetime, untouched_since: datetime | None = None
    ) -> int:
        await self.fault("before", "purge")
        rows = self._workspaces[workspace_id]
        rows.expect_there(issue_id)
        rows.expect_purgeable(issue_id, untouched_since)
        rows.holes |= {delta.seq for delta in rows.deltas(issue_id, rows.workspace.floor)}
        rows.log = [delta for delta in rows.log if delta.issue_id != issue_id]
        del rows.issues[issue_id], rows.documents[issue_id]
        rows.snapshots.pop(issue_id, None)
        self.ledger.forget(workspace_id, issue_id)
        seq = self._append(NewDelta(workspace_id, issue_id, TOMBSTONE, by, None, at))
        rows.purged.add(issue_id)
        await self.fault("after", "purge")
        return seq

    async def holes_between(self, workspace_id: int, first: int, last: int) -> int:
        await self.fault("before", "holes_between")
        return sum(first <= seq <= last for seq in self._workspaces[workspace_id].holes)

    async def quarantine(self, workspace_id: int, issue_id: UUID, reason: str) -> None:
        await self.fault("before", "quarantine")
        rows = self._workspaces[workspace_id]
        if issue_id not in rows.purged:
            status = rows.status(issue_id)
            rows.documents[issue_id] = replace(status, quarantined_at=self._now(), quarantine_reason=reason)
        await self.fault("after", "quarantine")

    async def release(self, workspace_id: int, issue_id: UUID) -> bool:
        await self.fault("before", "release")
        rows = self._workspaces[workspace_id]
        status = rows.status(issue_id)
        was_quarantined = status.quarantined_at is not None
        if was_quarantined:
            rows.documents[issue_id] = replace(status, quarantined_at=None, quarantine_reason=None)
        await self.fault("after", "release")
        return was_quarantined

    async def quarantined(self) -> list[DocumentStatus]:
        await self.fault("before", "quarantined")
        found = [status for status in self._statuses() if status.quarantined_at is not None]
        return sorted(found, key=lambda s: (s.workspace_id, s.issue_id))

    async def check_writable(self) -> None:
        await self.fault("before", "check_writable")
        await self.fault("after", "check_writable")

    async def close(self) -> None:
        """Keeps what it holds: a simulated server is restarted on the same store."""

    def _statuses(self) -> list[DocumentStatus]:
        return [status for rows in self._workspaces.values() for status in rows.documents.values()]
