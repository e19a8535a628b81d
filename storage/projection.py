"""From deltas to rows: has an engine read issues, whole or by what is new since it last read them.

An issue the engine cannot digest is quarantined here and yields no row; that never stops another issue.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog

from crdt.errors import Refused
from crdt.issue import IssueContent
from crdt.jobs import Job, Projected, ProjectTail, ProjectWhole
from storage.engine import Engine, EngineFailed, IssueKey
from storage.errors import Corrupt
from storage.store import IssueDeltas, ProjectedIssue, Store, StoredIssue, through


@dataclass(frozen=True, slots=True)
class ProjectionLimits:
    """`job_seconds`: deadline of one engine job. `held_issues`: how many issues are remembered as read before."""

    job_seconds: float = 5.0
    loads_at_once: int = 16
    held_issues: int = 8_192


@dataclass(frozen=True, slots=True)
class _Held:
    """Where the engine's copy of an issue stands, as far as we know. If it has lost it, it says so."""

    seq: int
    version: int
    updated_at: datetime

    def grown(self, deltas: IssueDeltas) -> _Tail:
        """What of `deltas` is new to it, and where it stands with them."""
        new = deltas.updates[bisect_right(deltas.seqs, self.seq) :]
        now = _Held(deltas.seqs[-1], self.version + len(new), deltas.last_at) if new else self
        return _Tail(self.seq, now, new)


@dataclass(frozen=True, slots=True)
class _Tail:
    """Updates that bring the engine's copy from seq `after` to where `held` is."""

    after: int
    held: _Held
    updates: Sequence[bytes]


class Projection:
    """Reads issues through an engine, and remembers what the engine holds."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        limits: ProjectionLimits,
        on_quarantine: Callable[[IssueKey], None] | None = None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._limits = limits
        self._on_quarantine = on_quarantine
        self._held: OrderedDict[IssueKey, _Held] = OrderedDict()
        self._reached: dict[int, int] = {}  # workspace → seq through which `_held` knows every delta

    async def rows(
        self, workspace_id: int, after: int, page: Sequence[IssueDeltas], passed_over: Set[UUID]
    ) -> list[ProjectedIssue]:
        """The rows of the issues of a page that starts after a seq, each at least as new as its deltas; none of those
        that are purged or `passed_over`. Raises `StoreUnavailable` and `EngineUnavailable`; nothing is lost then, read
        again."""
        if self._reached.get(workspace_id) != after:
            self._forget(workspace_id)  # another node projected meanwhile: what the engine holds lacks its pages
        self._reached[workspace_id] = through(page)
        touched: dict[IssueKey, IssueDeltas] = {}
        for deltas in page:
            key = IssueKey(workspace_id, deltas.issue_id)
            if deltas.is_tombstone or deltas.issue_id in passed_over:
                self._held.pop(key, None)  # whatever the engine holds of it is too old from now on
            else:
                touched[key] = deltas
        held = {key: deltas for key, deltas in touched.items() if key in self._held}
        rows, lost = await self._tails(held)
        unknown = [key for key in touched if key not in held] + lost
        for at in range(0, len(unknown), self._limits.loads_at_once):
            loaded = await self._load(workspace_id, unknown[at : at + self._limits.loads_at_once])
            rows += await self._wholes(loaded)
        return rows

    async def _tails(self, touched: Mapping[IssueKey, IssueDeltas]) -> tuple[list[ProjectedIssue], list[IssueKey]]:
        """Rows from what is new to the engine, and the issues that must be read whole."""
        now = {key: self._held.pop(key).grown(deltas) for key, deltas in touched.items()}
        jobs = {key: ProjectTail(str(key), tail.after, tail.held.seq, tail.updates) for key, tail in now.items()}
        rows: list[ProjectedIssue] = []
        whole: list[IssueKey] = []
        for key, projected in (await self._run(jobs)).items():
            held = now[key].held
            # Refused: what the engine held is not what the log says; read whole, the issue itself may be sound.
            if isinstance(projected, Refused) or projected.content is None:
                whole.append(key)
                continue
            self._hold(key, held)
            content = replace(projected.content, updated_at=held.updated_at)
            rows.append(ProjectedIssue(key.issue_id, held.seq, held.version, content))
        return rows, whole

    async def _wholes(self, loaded: Mapping[IssueKey, StoredIssue]) -> list[ProjectedIssue]:
        jobs = {key: ProjectWhole(str(key), stored.seq, stored.updates) for key, stored in loaded.items()}
        rows: list[ProjectedIssue] = []
        for key, projected in (await self._run(jobs)).items():
            if isinstance(projected, Refused):
                await self._quarantine(key, projected.reason)
            elif projected.content is not None:
                row = row_of(key.issue_id, loaded[key], projected.content)
                if row.content.updated_at is not None:
                    self._hold(key, _Held(row.seq, row.version, row.content.updated_at))
                rows.append(row)
        return rows

    async def _run(self, jobs: Mapping[IssueKey, Job[Projected]]) -> dict[IssueKey, Projected | Refused]:
        """The engine's answers. An issue that killed or stopped it is missing, and in quarantine now."""
        answers: dict[IssueKey, Projected | Refused] = {}
        for key, answer in (await self._engine.run_all(jobs, deadline=self._limits.job_seconds)).items():
            if isinstance(answer, EngineFailed):
                await self._quarantine(key, answer.reason)
            else:
                answers[key] = answer
        return answers

    async def _load(self, workspace_id: int, keys: Sequence[IssueKey]) -> dict[IssueKey, StoredIssue]:
        try:
            stored = await self._store.load_many(workspace_id, [key.issue_id for key in keys])
        except Corrupt as corrupt:
            if len(keys) == 1:
                await self._quarantine(keys[0], str(corrupt))
                return {}
            # One of them: find out which, so that the others are read.
            alone = [await self._load(workspace_id, [key]) for key in keys]
            return {key: stored for loaded in alone for key, stored in loaded.items()}
        return {key: stored[key.issue_id] for key in keys if not stored[key.issue_id].is_purged}

    async def _quarantine(self, key: IssueKey, reason: str) -> None:
        structlog.get_logger().warning(
            "issue quarantined", workspace=key.workspace_id, issue=str(key.issue_id), reason=reason
        )
        await self._store.quarantine(key.workspace_id, key.issue_id, reason)
        if self._on_quarantine is not None:
            self._on_quarantine(key)

    def _forget(self, workspace_id: int) -> None:
        for key in [key for key in self._held if key.workspace_id == workspace_id]:
            del self._held[key]

    def _hold(self, key: IssueKey, held: _Held) -> None:
        self._held[key] = held
        if len(self._held) > self._limits.held_issues:
            self._held.popitem(last=False)


def row_of(issue_id: UUID, stored: StoredIssue, content: IssueContent) -> ProjectedIssue:
    """A row with what only the log knows: when the issue was last changed and, unless its document says so and as far
    as the log reaches back, when it was created. A snapshot's time is that of the last delta in it."""
    updated_at = stored.tail[-1].created_at if stored.tail else stored.snapshot.created_at if stored.snapshot else None
    created_at = content.created_at
    if created_at is None and stored.snapshot is None and stored.tail:
        created_at = stored.tail[0].created_at
    return ProjectedIssue(
        issue_id, stored.seq, stored.version, replace(content, created_at=created_at, updated_at=updated_at)
    )
