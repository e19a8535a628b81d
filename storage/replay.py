"""Rebuilds issues from what is stored and compares: the proof that rows and snapshots are nothing but the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from typing import Final
from uuid import UUID

from crdt.errors import Refused
from crdt.issue import IssueContent
from crdt.jobs import Compare, ProjectWhole
from storage.backoff import Backoff
from storage.engine import Engine, EngineFailed, IssueKey
from storage.errors import Corrupt, Purged, StoreError
from storage.projection import row_of
from storage.store import DocumentStatus, ProjectedIssue, Store, StoredIssue, Workspace

_PAGE_ISSUES: Final = 500
_WRITE_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something stored is not what the log says. `seq`: where in the log it was noticed, 0 when nothing could be read.
    `issue_id` is None when it concerns the workspace. `what` never holds content."""

    workspace: str
    issue_id: UUID | None
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class IssueReplayed:
    """One issue rebuilt from `updates` updates, through `seq`. `is_repaired`: its row was written anew."""

    workspace: str
    issue_id: UUID
    seq: int
    updates: int
    mismatches: tuple[Mismatch, ...]
    is_readable: bool = True
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at: everything, one workspace (by slug), or one issue of it."""

    workspace: str | None = None
    issue_id: UUID | None = None


class UnknownScope(StoreError):
    """The workspace or the issue asked for does not exist."""


class Replay:
    """Rebuilds issues through an engine. It only reads, unless it is asked to repair rows."""

    def __init__(self, store: Store, engine: Engine, *, job_seconds: float = 60.0) -> None:
        self._store = store
        self._engine = engine
        self._job_seconds = job_seconds

    async def run(self, scope: Scope, *, from_log: bool = False, repair: bool = False) -> AsyncIterator[IssueReplayed]:
        """Every issue of the scope. With `from_log` each is rebuilt from as far back as its log reaches, and that state
        compared with the newest snapshot and its tail. Raises `UnknownScope`, `StoreUnavailable`, `EngineUnavailable`.
        """
        async for workspace, issue_id in issues_in(self._store, scope):
            replayed = await self.issue(workspace, issue_id, from_log=from_log)
            if repair and replayed.is_readable and replayed.mismatches:
                replayed = replace(replayed, is_repaired=await self.reproject(workspace, issue_id))
            yield replayed

    async def issue(self, workspace: Workspace, issue_id: UUID, *, from_log: bool = False) -> IssueReplayed:
        """One issue rebuilt and compared. What cannot even be read is a mismatch, not an error."""
        try:
            return await self._replay(workspace, issue_id, is_from_log=from_log)
        except (EngineFailed, Refused) as failure:
            return _unreadable(workspace, issue_id, f"engine: {failure.reason}")
        except Corrupt as corrupt:
            return _unreadable(workspace, issue_id, str(corrupt))
        except Purged:  # since it was listed
            return IssueReplayed(workspace.slug, issue_id, 0, 0, ())

    async def reproject(self, workspace: Workspace, issue_id: UUID) -> bool:
        """Write an issue's row anew from what is stored. False when other nodes kept the projection all the while.

        Raises `EngineFailed` or `Refused` when the engine cannot digest it.
        """
        stored = await self._store.load(workspace.id, issue_id)
        row = row_of(issue_id, stored, await self._read(IssueKey(workspace.id, issue_id), stored))
        backoff = Backoff(first_seconds=0.02, longest_seconds=1.0)
        for _ in range(_WRITE_ATTEMPTS):
            async with self._store.projection(workspace.id) as turn:
                if turn is not None:
                    await turn.save([row], [])
                    return True
            await asyncio.sleep(backoff.next_seconds())
        return False

    async def _replay(self, workspace: Workspace, issue_id: UUID, *, is_from_log: bool) -> IssueReplayed:
        key = IssueKey(workspace.id, issue_id)
        # Status and row first: what is read after them holds at least what they were made of.
        status = await self._store.document(workspace.id, issue_id)
        row = (await self._store.projected(workspace.id, [issue_id])).get(issue_id)
        stored = await self._store.load(workspace.id, issue_id)
        rebuilt = stored
        found = []
        if is_from_log:
            rebuilt = _through(await self._store.load_log(workspace.id, issue_id), stored.seq)
            found += await self._state_differences(key, stored, rebuilt)
        found += await self._row_differences(key, status, row, rebuilt)
        mismatches = tuple(Mismatch(workspace.slug, issue_id, seq, what) for seq, what in found)
        return IssueReplayed(workspace.slug, issue_id, stored.seq, len(rebuilt.updates), mismatches)

    async def _state_differences(
        self, key: IssueKey, stored: StoredIssue, rebuilt: StoredIssue
    ) -> list[tuple[int, str]]:
        job = Compare(rebuilt.updates, stored.updates)
        compared = await self._engine.run(job, key=key, deadline=self._job_seconds)
        return [] if compared.difference is None else [(stored.seq, f"state: {compared.difference}")]

    async def _row_differences(
        self, key: IssueKey, status: DocumentStatus | None, row: ProjectedIssue | None, rebuilt: StoredIssue
    ) -> list[tuple[int, str]]:
        """How the stored row differs from the log at the row's own seq; a projector that lags is no mismatch."""
        if status is None or status.last_seq == 0 or status.quarantined_at is not None:
            return []
        if row is None:
            return [(status.last_seq, "row: missing")]
        if not status.last_seq <= row.seq <= rebuilt.seq:
            return [(row.seq, f"row: at another seq than the log ({status.last_seq} to {rebuilt.seq})")]
        if row.seq != rebuilt.seq:
            rebuilt = await self._store.load_log(key.workspace_id, key.issue_id, row.seq)
        expected = row_of(key.issue_id, rebuilt, await self._read(key, rebuilt))
        return [(row.seq, f"row: {name}") for name in differing(expected, row)]

    async def _read(self, key: IssueKey, stored: StoredIssue) -> IssueContent:
        job = ProjectWhole(str(key), stored.seq, stored.updates)
        projected = await self._engine.run(job, key=key, deadline=self._job_seconds)
        assert projected.content is not None, "a whole issue is never unknown"
        return projected.content


async def issues_in(store: Store, scope: Scope) -> AsyncIterator[tuple[Workspace, UUID]]:
    """Every issue of the scope, by workspace and id. Raises `UnknownScope`."""
    workspaces = [w for w in await store.workspaces() if scope.workspace in (None, w.slug)]
    if not workspaces and scope.workspace is not None:
        raise UnknownScope(f"there is no workspace {scope.workspace}")
    is_found = scope.issue_id is None
    for workspace in workspaces:
        async for issue_id in _issue_ids(store, workspace, scope.issue_id):
            is_found = True
            yield workspace, issue_id
    if not is_found:
        raise UnknownScope(f"there is no issue {scope.issue_id}")


async def count_issues(store: Store, scope: Scope) -> int:
    """How many issues a scope has, as of now. Raises `UnknownScope`."""
    return len([issue_id async for _, issue_id in issues_in(store, scope)])


async def _issue_ids(store: Store, workspace: Workspace, wanted: UUID | None) -> AsyncIterator[UUID]:
    if wanted is not None:
        if (await store.load(workspace.id, wanted)).seq:
            yield wanted
        return
    after: UUID | None = None
    while page := await store.issue_ids(workspace.id, after, _PAGE_ISSUES):
        for issue_id in page:
            yield issue_id
        after = page[-1]


def differing(expected: ProjectedIssue, row: ProjectedIssue) -> list[str]:
    """Names of the columns that differ. When the log no longer says when an issue was created, any time will do."""
    names = [] if expected.version == row.version else ["version"]
    for field in fields(IssueContent):
        want, have = getattr(expected.content, field.name), getattr(row.content, field.name)
        if want != have and not (field.name == "created_at" and want is None):
            names.append(field.name)
    return names


def _through(stored: StoredIssue, seq: int) -> StoredIssue:
    return StoredIssue(stored.snapshot, [delta for delta in stored.tail if delta.seq <= seq])


def _unreadable(workspace: Workspace, issue_id: UUID, what: str) -> IssueReplayed:
    mismatch = Mismatch(workspace.slug, issue_id, 0, what)
    return IssueReplayed(workspace.slug, issue_id, 0, 0, (mismatch,), is_readable=False)
