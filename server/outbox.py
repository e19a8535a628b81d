"""Operations that clients queued while offline: each becomes an ordinary edit, once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from server.feed_readers import PageLimits, RowsReader
from server.outbox_batch import DUPLICATE, RETRY, Batch, OutboxLimits, OutboxServices, Result, Wanted
from server.permissions import Identity
from server.rates import Granted
from storage.store import ProjectedIssue, Workspace
from storage.sync_queue import REJECTED, Begun, Known, Sender

Grant = Callable[[Sequence[int]], Awaitable[Granted]]


async def _all(parts: Sequence[int]) -> Granted:
    return Granted(len(parts))


class Outbox:
    """Takes batches of operations."""

    def __init__(self, services: OutboxServices, limits: OutboxLimits | None = None) -> None:
        self._services = services
        self.limits = limits or OutboxLimits()

    async def take(
        self,
        workspace: Workspace,
        identity: Identity,
        device: str,
        wanted: Sequence[Wanted],
        grant: Grant = _all,
    ) -> dict[str, Result]:
        """Make operations, those of an issue in order; what became of each, by id. Ids are different from each other.
        `grant` is asked how many new ones may be made now; the others are to be sent again. Raises `StoreUnavailable`;
        then all may be sent again."""
        services = self._services
        sender = Sender(workspace.id, identity.user_id, device)
        now = services.clock.now()
        claimed = await services.queue.claim(sender, [each.queued for each in wanted], now)
        issues = {each.queued.issue_id for each in wanted}
        begun = await services.queue.take_over(sender, issues, now)
        batch = Batch(services, self.limits, workspace, identity, sender, wanted)
        for known in claimed.known.values():
            batch.results[known.id] = _known(known)
        work = _by_issue(wanted, begun, await _granted(wanted, claimed.new, grant, batch), batch)
        async with asyncio.TaskGroup() as tasks:
            for issue, (ready, new) in work.items():
                tasks.create_task(batch.make(issue, ready, new))
        await self._finish(sender, wanted, batch, {*claimed.new, *(each.id for each in begun)})
        return batch.results

    def changes(self, workspace: Workspace) -> RowsReader:
        """What reads, by pages, what has changed since a cursor."""
        return RowsReader(self._services.store, workspace, PageLimits())

    async def _finish(self, sender: Sender, wanted: Sequence[Wanted], batch: Batch, claimed: Collection[str]) -> None:
        """Read the rows, and note how everything ended."""
        services, now = self._services, self._services.clock.now()
        newest = max((result.seq or 0 for result in batch.results.values()), default=0)
        rows: dict[UUID, ProjectedIssue] = {}
        if await services.reader.wait_for(sender.workspace_id, newest, self.limits.rows_seconds):
            issues = list({each.queued.issue_id for each in wanted})
            rows = await services.store.projected(sender.workspace_id, issues)
        for each in wanted:
            batch.show(each.queued, rows.get(each.queued.issue_id))
        if batch.finished:
            await services.queue.finish(sender, batch.finished)
        unknown = [each for each in claimed if batch.results[each].status == RETRY]
        if unknown:
            await services.queue.release(sender, unknown, now)


def _known(known: Known) -> Result:
    if known.outcome is None:
        return Result(RETRY)
    if known.outcome == REJECTED:
        return Result(REJECTED, error=known.error, field=known.field)
    return Result(DUPLICATE, first=known.outcome, seq=known.seq, version=known.version)


async def _granted(wanted: Sequence[Wanted], new: Collection[str], grant: Grant, batch: Batch) -> Collection[str]:
    """Those that are to be made now. They are the first ones, so that nothing of an issue overtakes another."""
    in_order = [each.queued.id for each in wanted if each.queued.id in new]
    granted = await grant([1] * len(in_order))
    for late in in_order[granted.parts :]:
        batch.results[late] = Result(RETRY, error="too many edits", retry_after=granted.retry_after)
    return set(in_order[: granted.parts])


def _by_issue(
    wanted: Sequence[Wanted], begun: Sequence[Begun], new: Collection[str], batch: Batch
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
