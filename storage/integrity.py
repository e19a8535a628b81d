"""Checks what is stored against itself: the log's order and checksums, snapshots with the log, rows with documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID

from crdt.errors import Refused
from crdt.jobs import CheckIndex, Compare
from storage.engine import Engine, EngineFailed, IssueKey
from storage.errors import Corrupt, Purged
from storage.replay import Mismatch, Replay, Scope, issues_in
from storage.store import Delta, Snapshot, Store, StoredIssue, Workspace

_PAGE_DELTAS: Final = 1_000


@dataclass(frozen=True, slots=True)
class LogVerified:
    """A stretch of a workspace's log was read, through `seq`."""

    workspace: str
    seq: int
    deltas: int
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class IssueVerified:
    """An issue's snapshots were folded again from the log, and its row was read again from its document."""

    workspace: str
    issue_id: UUID
    snapshots: int
    mismatches: tuple[Mismatch, ...]


class Integrity:
    """Only reads, and may run beside a live server: what is still under way is not called a mismatch."""

    def __init__(self, store: Store, engine: Engine, *, job_seconds: float = 60.0) -> None:
        self._store = store
        self._engine = engine
        self._replay = Replay(store, engine, job_seconds=job_seconds)
        self._job_seconds = job_seconds

    async def run(self, scope: Scope) -> AsyncIterator[LogVerified | IssueVerified]:
        """Logs first, then issues. Raises `UnknownScope`, `StoreUnavailable` and `EngineUnavailable`."""
        for workspace in await self._store.workspaces():
            if scope.issue_id is None and scope.workspace in (None, workspace.slug):
                async for verified in self._log(workspace):
                    yield verified
        async for workspace, issue_id in issues_in(self._store, scope):
            yield await self._issue(workspace, issue_id)

    async def _log(self, workspace: Workspace) -> AsyncIterator[LogVerified]:
        """Checksums, density above the floor, and that nothing claims to be past the head."""
        seq = 0
        reported = ""
        while True:
            page, corrupt = await self._page(workspace, seq)
            if not page and corrupt is None:
                break
            found = [m for hole in holes(page, seq) if (m := await self._hole(workspace, hole)) is not None]
            seq = page[-1].seq if page else seq + 1
            if corrupt is not None and corrupt != reported:  # below the floor it may stand well after `seq`
                found.append(Mismatch(workspace.slug, None, seq, corrupt))
                reported = corrupt
            yield LogVerified(workspace.slug, seq, len(page), tuple(found))
        yield LogVerified(workspace.slug, seq, 0, tuple(await self._ends(workspace, seq)))

    async def _page(self, workspace: Workspace, after: int) -> tuple[Sequence[Delta], str | None]:
        """The next stretch of sound rows, or what is wrong with the next row."""
        try:
            return await self._store.page(workspace.id, after, _PAGE_DELTAS), None
        except Corrupt:
            pass  # somewhere in it: go on row by row
        try:
            return await self._store.page(workspace.id, after, 1), None
        except Corrupt as corrupt:
            return [], str(corrupt)

    async def _hole(self, workspace: Workspace, hole: tuple[int, int]) -> Mismatch | None:
        first, last = hole
        # The floor of now: a trim may have passed since we began.
        now = await self._store.workspace(workspace.slug)
        if now is not None and last <= now.floor:
            return None
        above = max(first, now.floor + 1 if now else first)
        if await self._store.holes_between(workspace.id, above, last) == last - above + 1:
            return None  # purged
        return Mismatch(workspace.slug, None, above, "log: deltas are missing")

    async def _ends(self, workspace: Workspace, seq: int) -> list[Mismatch]:
        async with self._store.projection(workspace.id) as turn:
            cursor = turn.cursor if turn is not None else 0
        now = await self._store.workspace(workspace.slug)
        if now is None:
            return [Mismatch(workspace.slug, None, seq, "workspace: gone")]
        found = []
        if max(seq, now.floor) < workspace.head:
            found.append(Mismatch(workspace.slug, None, seq + 1, f"log: ends before its head at {workspace.head}"))
        if seq > now.head:
            found.append(Mismatch(workspace.slug, None, seq, f"log: goes on past its head at {now.head}"))
        if cursor > now.head:
            found.append(Mismatch(workspace.slug, None, cursor, f"projection: cursor past the head at {now.head}"))
        return found

    async def _issue(self, workspace: Workspace, issue_id: UUID) -> IssueVerified:
        key = IssueKey(workspace.id, issue_id)
        kept: Sequence[Snapshot] = ()
        try:
            kept = await self._store.snapshots(workspace.id, issue_id)
            log = await self._store.load_log(workspace.id, issue_id)
            found = [
                Mismatch(workspace.slug, issue_id, seq, what) for seq, what in await self._snapshots(key, kept, log)
            ]
        except (EngineFailed, Refused) as failure:
            found = [Mismatch(workspace.slug, issue_id, 0, f"engine: {failure.reason}")]
        except Corrupt as corrupt:
            found = [Mismatch(workspace.slug, issue_id, 0, str(corrupt))]
        except Purged:
            return IssueVerified(workspace.slug, issue_id, 0, ())
        replayed = await self._replay.issue(workspace, issue_id)
        return IssueVerified(workspace.slug, issue_id, len(kept), (*found, *replayed.mismatches))

    async def _snapshots(self, key: IssueKey, kept: Sequence[Snapshot], log: StoredIssue) -> list[tuple[int, str]]:
        """Each snapshot is the one before it and the deltas between; the first one is the log from its beginning."""
        found = []
        chain: list[Snapshot | None] = [None, *reversed(kept)] if log.snapshot is None else [*reversed(kept)]
        for before, after in pairwise(chain):
            assert after is not None
            between = [d.update for d in log.tail if (before.seq if before else 0) < d.seq <= after.seq]
            parts = [before.state, *between] if before else between
            difference = (await self._run(key, Compare(parts, [after.state]))) or (
                await self._run(key, CheckIndex(after.state, after.index))
            )
            if (before.version if before else 0) + len(between) != after.version:
                difference = difference or "version"
            if difference is not None:
                found.append((after.seq, f"snapshot: {difference}"))
        return found

    async def _run(self, key: IssueKey, job: Compare | CheckIndex) -> str | None:
        return (await self._engine.run(job, key=key, deadline=self._job_seconds)).difference


def holes(page: Sequence[Delta], after: int) -> list[tuple[int, int]]:
    """First and last seq of every stretch a page leaves out after `after`."""
    seqs = [after, *(delta.seq for delta in page)]
    return [(one + 1, other - 1) for one, other in pairwise(seqs) if other > one + 1]
