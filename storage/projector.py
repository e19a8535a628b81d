"""The reader that turns the log into rows: it takes a page past its cursor, has the issues in it read, and commits
rows and cursor together. It may be stopped anywhere; what was not committed is read again."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

import structlog

from storage.backoff import Backoff
from storage.engine import Engine, IssueKey
from storage.errors import StoreError
from storage.giving_way import GivingWay
from storage.projection import Projection, ProjectionLimits
from storage.store import IssueDeltas, ProjectedIssue, Store, Workspace, through


@dataclass(frozen=True, slots=True)
class ProjectorLimits:
    """Bounds of projection; times are in seconds.

    A page is held in one transaction while engines work on it, so `page_seconds` must stay below the store's own bound
    on that. `settle_seconds` gathers what is written meanwhile: a page costs a transaction, however small it is, and
    each of its issues a row, however many its deltas are. `rest_seconds`: while others write it rests as long as it has
    worked, at most so long.
    """

    page_deltas: int = 8_000
    page_issues: int = 1_000
    page_seconds: float = 30.0
    settle_seconds: float = 0.1
    rest_seconds: float = 0.2
    poll_seconds: float = 1.0
    workspaces_at_once: int = 2
    longest_backoff_seconds: float = 5.0
    projection: ProjectionLimits = field(default_factory=ProjectionLimits)


@dataclass(frozen=True, slots=True)
class PageStats:
    """One committed page. `lag_seconds`: the age of its oldest delta when its rows became visible."""

    workspace_id: int
    deltas: int
    issues: int
    lag_seconds: float


@dataclass(slots=True)
class _Reader:
    """One workspace: how far its projection was last seen, how many deltas to read next, and when to try again after a
    failure."""

    backoff: Backoff
    page_deltas: int
    cursor: int = 0
    not_before: float = 0.0


class Projector:
    """Projects every workspace, a page of each at a time. A workspace another node is at is left to that node."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        limits: ProjectorLimits,
        *,
        now: Callable[[], datetime],
        on_page: Callable[[PageStats], None] = lambda stats: None,
        on_failure: Callable[[str], None] = lambda name: None,
        on_quarantine: Callable[[IssueKey], None] = lambda key: None,
        random: Random | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._now = now
        self._on_page = on_page
        self._on_failure = on_failure
        self._random = random or Random()  # noqa: S311 - jitter
        self._projection = Projection(store, engine, limits.projection, on_quarantine)
        self._way = GivingWay(
            settle_seconds=limits.settle_seconds,
            times=1,
            longest_seconds=limits.rest_seconds,
            poll_seconds=limits.poll_seconds,
        )
        self._places = asyncio.Semaphore(limits.workspaces_at_once)
        self._readers: dict[int, _Reader] = {}

    def wake(self) -> None:
        """Something was committed: project soon rather than at the next poll."""
        self._way.wake()

    async def run(self) -> None:
        """Project until cancelled."""
        backoff = self._new_backoff()
        while True:
            self._way.begin()
            try:
                is_behind = await self.project_once()
            except StoreError as error:
                self._failed("projector", error)
                await asyncio.sleep(backoff.next_seconds())
            else:
                backoff.reset()
                await self._way.rest(is_behind=is_behind)

    async def project_once(self) -> bool:
        """One page of every workspace that has one; True when more was written before this began (what was written
        since can wait and gather). Raises `StoreUnavailable` when not even the workspaces can be read; the failure of
        one workspace is logged and tried again later."""
        workspaces = await self._store.workspaces()
        self._readers = {
            workspace.id: self._readers.get(workspace.id) or self._new_reader() for workspace in workspaces
        }
        due = [workspace for workspace in workspaces if self._is_due(workspace)]
        return any(await asyncio.gather(*(self._advance(workspace) for workspace in due)))

    def _is_due(self, workspace: Workspace) -> bool:
        reader = self._readers[workspace.id]
        return workspace.head > reader.cursor and asyncio.get_running_loop().time() >= reader.not_before

    async def _advance(self, workspace: Workspace) -> bool:
        reader = self._readers[workspace.id]
        try:
            async with self._places:
                is_page = await self._project_page(workspace.id, reader)
        except Exception as error:  # noqa: BLE001 - a top loop: one workspace's failure must not stop the others
            self._failed("projection", error, workspace.id)
            reader.not_before = asyncio.get_running_loop().time() + reader.backoff.next_seconds()
            return False
        reader.backoff.reset()
        return is_page and reader.cursor < workspace.head

    async def _project_page(self, workspace_id: int, reader: _Reader) -> bool:
        async with self._store.projection(workspace_id) as turn:
            if turn is None:
                return False
            reader.cursor = turn.cursor
            page = await self._next_page(workspace_id, turn.cursor, reader)
            if not page:
                return False
            async with asyncio.timeout(self._limits.page_seconds):
                rows = await self._rows(workspace_id, turn.cursor, page)
            await turn.save(rows, page)
        reader.cursor = through(page)
        read = sum(len(deltas.seqs) for deltas in page)
        self._on_page(PageStats(workspace_id, read, len(rows), self._age_seconds(page)))
        return True

    async def _next_page(self, workspace_id: int, cursor: int, reader: _Reader) -> Sequence[IssueDeltas]:
        """A page that has no more issues than one transaction should. One that has is read once more, as far as it
        fits, and the next one is read with that in mind."""
        page = await self._store.page_by_issue(workspace_id, cursor, reader.page_deltas)
        if len(page) > self._limits.page_issues:
            fits, beyond = page[: self._limits.page_issues], page[self._limits.page_issues].seqs[0]
            reader.page_deltas = sum(bisect_left(deltas.seqs, beyond) for deltas in fits)
            page = await self._store.page_by_issue(workspace_id, cursor, reader.page_deltas)
        reader.page_deltas = min(2 * reader.page_deltas, self._limits.page_deltas)
        return page

    async def _rows(self, workspace_id: int, cursor: int, page: Sequence[IssueDeltas]) -> list[ProjectedIssue]:
        quarantined = {
            status.issue_id for status in await self._store.quarantined() if status.workspace_id == workspace_id
        }
        return await self._projection.rows(workspace_id, cursor, page, quarantined)

    def _age_seconds(self, page: Sequence[IssueDeltas]) -> float:
        return max(0.0, (self._now() - min(deltas.first_at for deltas in page)).total_seconds())

    def _new_reader(self) -> _Reader:
        return _Reader(self._new_backoff(), self._limits.page_deltas)

    def _new_backoff(self) -> Backoff:
        return Backoff(longest_seconds=self._limits.longest_backoff_seconds, random=self._random)

    def _failed(self, name: str, error: Exception, workspace_id: int | None = None) -> None:
        # A store's message is made for operators; what anything else says may quote a document.
        reason = str(error) if isinstance(error, StoreError) else type(error).__name__
        structlog.get_logger().warning(f"{name} failed", workspace=workspace_id, reason=reason)
        self._on_failure(name)
