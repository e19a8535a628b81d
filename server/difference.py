"""What a peer lacks of an issue too big for the loop, computed by an engine; askers of the same thing share one job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Final, TypeVar

from crdt.jobs import Bytes, Diff, Job, Merge
from crdt.update import EMPTY_STATE_VECTOR, diff, merge
from server.committed import Committed
from storage.engine import Engine, EngineFailed, IssueKey

Result = TypeVar("Result")

_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class DifferenceLimits:
    """Above `max_inline_bytes` an engine does it, within `timeout` seconds."""

    max_inline_bytes: int
    timeout: float


class Differences:
    """Differences of one issue. A job that kills its engine puts the issue under quarantine (`on_failure`) and is done
    here: these are byte functions, they take time but no harm comes of them, and the issue stays synced."""

    __slots__ = ("_committed", "_engine", "_key", "_limits", "_on_failure", "_running")

    def __init__(
        self,
        key: IssueKey,
        committed: Committed,
        engine: Engine,
        limits: DifferenceLimits,
        on_failure: Callable[[EngineFailed], None],
    ) -> None:
        self._key = key
        self._committed = committed
        self._engine = engine
        self._limits = limits
        self._on_failure = on_failure
        self._running: dict[Hashable, asyncio.Task[bytes]] = {}

    async def lacking(self, state_vector: bytes) -> list[bytes]:
        """What a peer at `state_vector` lacks, as updates in order, complete when this returns.

        Raises `EngineUnavailable` when no engine could try.
        """
        whole, mark = await self._whole()
        first = whole
        if state_vector != EMPTY_STATE_VECTOR:
            first = await self._shared((mark, state_vector), self._diff(whole, state_vector))
        updates = [first]
        for _ in range(_ROUNDS):
            rest = self._committed.since(mark)
            if sum(map(len, rest)) <= self._limits.max_inline_bytes:
                break
            mark = self._committed.mark
            updates.append(await self._shared(("rest", mark), self._merge(rest)))
        rest = self._committed.since(mark)
        return [*updates, merge(rest)] if rest else updates

    async def _whole(self) -> tuple[bytes, int]:
        """Nearly everything as one update, and its mark: what follows it is small."""
        first, mark = self._committed.first()
        if sum(map(len, self._committed.since(mark))) <= self._limits.max_inline_bytes:
            return first, mark
        await self._shared("whole", self._merge_all())
        return self._committed.first()

    async def _merge_all(self) -> bytes:
        mark = self._committed.mark
        merged = await self._merge(self._committed.pieces())
        self._committed.settle(mark, merged)
        return merged

    async def _merge(self, updates: list[bytes]) -> bytes:
        return await self._run(Merge(updates), lambda: merge(updates))

    async def _diff(self, whole: bytes, state_vector: bytes) -> bytes:
        return await self._run(Diff(whole, state_vector), lambda: diff(whole, state_vector))

    async def _run(self, job: Job[Bytes], here: Callable[[], bytes]) -> bytes:
        try:
            return (await self._engine.run(job, key=self._key, deadline=self._limits.timeout)).update
        except EngineFailed as failure:
            self._on_failure(failure)
            return here()

    async def _shared(self, name: Hashable, work: Coroutine[None, None, bytes]) -> bytes:
        """The result of `work`, or of the one of that name under way. A waiter that goes away does not end it."""
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.get_running_loop().create_task(work)
            task.add_done_callback(lambda done: self._finished(name, done))
        else:
            work.close()
        return await asyncio.shield(task)

    def _finished(self, name: Hashable, task: asyncio.Task[bytes]) -> None:
        del self._running[name]
        if not task.cancelled():
            task.exception()  # seen here too, for when nobody waits any more
