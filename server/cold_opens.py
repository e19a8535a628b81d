"""Cold opens: issues that are asked for in the same moment are read together, each is then unpacked for its room."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

import structlog

from crdt.errors import Refused
from crdt.gate import fold, index_of_snapshot
from crdt.index import Index
from crdt.jobs import Compact
from server.limits import HubLimits
from storage.conflict_findings import arrival_of, arrivals_of
from storage.engine import Engine, EngineError, EngineFailed, IssueKey
from storage.errors import Corrupt, Purged, StoreUnavailable
from storage.store import Delta, Store, StoredIssue, Workspace

# Issues in one read. 64 that nobody has written take 0.6 ms, 64 with twenty deltas each 8 ms, and more at a time save
# nothing more: they would only keep the loop longer with their rows.
BATCH: Final = 64
# Reads of one workspace at a time: one is with the database while the other is unpacked, and one that hangs does not
# stop the rest. Whatever is asked for meanwhile makes the next batch.
AT_ONCE: Final = 2
_FOLDS_A_TURN: Final = 64


class Opening:
    """A load under way, however many wait for it.

    `missed`: what the relay fed meanwhile · `deadline`: of the read · `is_over`: its room is here, or there is none.
    """

    __slots__ = ("deadline", "is_over", "key", "missed", "started", "waiters", "workspace")

    def __init__(self, workspace: Workspace, key: IssueKey, started: float, deadline: asyncio.TimerHandle) -> None:
        self.workspace = workspace
        self.key = key
        self.started = started
        self.deadline = deadline
        self.is_over = False
        self.missed: list[Delta] = []
        self.waiters: list[asyncio.Future[None]] = []

    def end(self, error: Exception | None = None) -> None:
        """Let everybody look for the room, or raise why there is none."""
        self.is_over = True
        self.deadline.cancel()
        for waiter in self.waiters:
            if waiter.done():  # whoever waited has gone
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


@dataclass(frozen=True, slots=True)
class ColdGround:
    """What cold opens stand on, and whom they tell.

    `follow` is awaited before each read: what is committed elsewhere from then on will be heard of · `opened` gets the
    updates, their index and their newest seq · `count`: the issues of a workspace, before one that is not there may
    begin.
    """

    store: Store
    engine: Engine
    limits: HubLimits
    follow: Callable[[Workspace], Awaitable[None]]
    spawn: Callable[[Coroutine[None, None, None]], None]
    quarantine: Callable[[EngineFailed], None]
    count: Callable[[int], Awaitable[None]]
    opened: Callable[[Opening, Sequence[bytes], Index, int], None]
    failed: Callable[[Opening, Exception], None]


class _Queue:
    """What is asked of one workspace. `is_due`: a batch will start in the next turn of the loop."""

    __slots__ = ("in_flight", "is_due", "waiting", "workspace")

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.waiting: deque[Opening] = deque()
        self.in_flight = 0
        self.is_due = False

    def next_batch(self) -> dict[UUID, Opening]:
        """Take the oldest, without those that are over already."""
        batch: dict[UUID, Opening] = {}
        while self.waiting and len(batch) < BATCH:
            opening = self.waiting.popleft()
            if not opening.is_over:
                batch[opening.key.issue_id] = opening
        return batch


class ColdOpens:
    """Reads in batches what is asked for in one turn of the loop, or while other reads are under way."""

    def __init__(self, ground: ColdGround) -> None:
        self._ground = ground
        self._loop = asyncio.get_running_loop()
        self._queues: dict[int, _Queue] = {}

    def ask(self, opening: Opening) -> None:
        """Read an issue, as it is at some moment after this call, and unpack it. Ends in `opened` or `failed`: with
        `StoreUnavailable` for all of a batch that could not be read, with `Corrupt` for one issue alone."""
        workspace = opening.workspace
        queue = self._queues.get(workspace.id)
        if queue is None:
            queue = self._queues[workspace.id] = _Queue(workspace)
        queue.waiting.append(opening)
        if not queue.is_due and queue.in_flight < AT_ONCE:
            queue.is_due = True
            self._loop.call_soon(self._due, queue)

    def _due(self, queue: _Queue) -> None:
        queue.is_due = False
        self._start(queue)

    def _start(self, queue: _Queue) -> None:
        while queue.in_flight < AT_ONCE and (batch := queue.next_batch()):
            queue.in_flight += 1
            self._ground.spawn(self._run(queue, batch))
        if not queue.in_flight and not queue.is_due:
            del self._queues[queue.workspace.id]

    async def _run(self, queue: _Queue, batch: Mapping[UUID, Opening]) -> None:
        try:
            await self._open(queue.workspace, batch)
        finally:
            queue.in_flight -= 1
            self._start(queue)

    async def _open(self, workspace: Workspace, batch: Mapping[UUID, Opening]) -> None:
        timeout = self._ground.limits.load_timeout
        try:
            async with asyncio.timeout(timeout):
                await self._ground.follow(workspace)
                found = await self._read(workspace.id, batch)
                if any(not stored.seq for stored in found.values()):
                    await self._ground.count(workspace.id)
        except TimeoutError:
            self._fail(batch, StoreUnavailable(f"{len(batch)} issues were not read within {timeout:g} s"))
        except Exception as error:  # noqa: BLE001 -- those who wait for it raise it
            self._fail(batch, error)
        else:
            await self._unpack_all(batch, found)

    async def _read(self, workspace_id: int, batch: Mapping[UUID, Opening]) -> dict[UUID, StoredIssue]:
        """Read a batch. What is damaged in it is found by halves, and fails alone."""
        try:
            return await self._ground.store.load_many(workspace_id, list(batch))
        except Corrupt as error:
            if len(batch) == 1:
                self._fail(batch, error)
                return {}
        items = iter(batch.items())
        found = await self._read(workspace_id, dict(islice(items, len(batch) // 2)))
        return found | await self._read(workspace_id, dict(items))

    def _fail(self, batch: Mapping[UUID, Opening], error: Exception) -> None:
        for opening in batch.values():
            self._ground.failed(opening, error)

    # Unpacking.

    async def _unpack_all(self, batch: Mapping[UUID, Opening], found: Mapping[UUID, StoredIssue]) -> None:
        for issue_id in found:
            batch[issue_id].deadline.cancel()
        folded = 0
        for issue_id, stored in found.items():
            if folded + len(stored.tail) > _FOLDS_A_TURN:
                folded = 0
                await asyncio.sleep(0)
            folded += len(stored.tail)
            self._unpack(batch[issue_id], stored)

    def _unpack(self, opening: Opening, stored: StoredIssue) -> None:
        if stored.is_purged:
            self._ground.failed(opening, Purged(f"{opening.key} was purged"))
            return
        tail_bytes = sum([len(delta.update) for delta in stored.tail])
        if len(stored.tail) > _FOLDS_A_TURN or tail_bytes > self._ground.limits.room.max_inline_bytes:
            self._ground.spawn(self._unpack_long(opening, stored, tail_bytes))
            return
        try:
            index = _index_of_snapshot(stored)
            for delta in stored.tail:
                fold(index, delta.update, delta.actor_id, arrival_of(delta))
            self._ground.opened(opening, stored.updates, index, stored.seq)
        except Exception as error:  # noqa: BLE001 -- those who wait for it raise it
            self._ground.failed(opening, _told(opening, error))

    async def _unpack_long(self, opening: Opening, stored: StoredIssue, tail_bytes: int) -> None:
        try:
            compacted = None
            if tail_bytes > self._ground.limits.room.max_inline_bytes:
                compacted = await self._compacted(opening.key, stored)
            updates, index = compacted or (stored.updates, await _index_in_turns(stored))
            self._ground.opened(opening, updates, index, stored.seq)
        except Exception as error:  # noqa: BLE001 -- those who wait for it raise it
            self._ground.failed(opening, _told(opening, error))

    async def _compacted(self, key: IssueKey, stored: StoredIssue) -> tuple[list[bytes], Index] | None:
        """The work of an engine; None when there is none to do it."""
        ground, snapshot = self._ground, stored.snapshot
        tail = [(delta.update, delta.actor_id) for delta in stored.tail]
        state, index = (snapshot.state, snapshot.index) if snapshot else (None, None)
        job = Compact(state, index, tail, arrivals_of(stored.tail))
        try:
            compacted = await ground.engine.run(job, key=key, deadline=ground.limits.room.engine_timeout)
        except EngineError as error:
            if isinstance(error, EngineFailed):
                ground.quarantine(error)
            structlog.get_logger().warning("tail folded on the loop", issue=str(key.issue_id), reason=str(error))
            return None
        return [compacted.state], Index.decode(compacted.index)


async def _index_in_turns(stored: StoredIssue) -> Index:
    index = _index_of_snapshot(stored)
    for number, delta in enumerate(stored.tail, start=1):
        fold(index, delta.update, delta.actor_id, arrival_of(delta))
        if number % _FOLDS_A_TURN == 0:
            await asyncio.sleep(0)
    return index


def _index_of_snapshot(stored: StoredIssue) -> Index:
    snapshot = stored.snapshot
    return index_of_snapshot(snapshot.state, snapshot.index) if snapshot else Index()


def _told(opening: Opening, error: Exception) -> Exception:
    return Corrupt(f"{opening.key}: {error}") if isinstance(error, Refused) else error
