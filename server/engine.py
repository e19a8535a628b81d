"""The pool of engine processes: the wall between live documents and the process that holds the sockets.

A job that crashes its process is tried once more on a fresh one (memory may have been spoilt by a neighbour), a job
that outruns its deadline is not. Either way it costs one issue; the process is replaced and the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from crdt.errors import Refused
from crdt.jobs import Job, Refusal, Several
from crdt.wire import pack
from server.engine_child import ChildDied, ChildLimits, EngineChild, default_command
from server.engine_process import DONE, REFUSED
from storage.engine import EngineFailed, EngineUnavailable, IssueKey

Result = TypeVar("Result")

_ATTEMPTS: Final = 2
_JOBS_TOGETHER: Final = 32


@dataclass(frozen=True, slots=True)
class JobStats:
    """One job as the metrics see it. `outcome`: done, refused, failed, crashed, deadline or unavailable."""

    job: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Bounds of the pool. `max_waiting` is per process; seconds are of wall time."""

    processes: int = 2
    deadline_seconds: float = 10.0
    max_waiting: int = 256
    max_wait_seconds: float = 30.0
    restart_seconds: float = 0.05
    max_restart_seconds: float = 5.0
    child: ChildLimits = field(default_factory=ChildLimits)


class EnginePool:
    """The `storage.engine.Engine` of the product. Processes start at the first job of theirs; `close` ends them."""

    def __init__(
        self,
        limits: EngineLimits,
        *,
        command: Sequence[str] | None = None,
        on_job: Callable[[JobStats], None] | None = None,
        on_restart: Callable[[str], None] | None = None,
    ) -> None:
        self._slots = [_Slot(limits, command or default_command(), on_restart) for _ in range(limits.processes)]
        self._on_job = on_job

    async def run(self, job: Job[Result], *, key: IssueKey, deadline: float | None = None) -> Result:
        """See `storage.engine.Engine.run`."""
        started = asyncio.get_running_loop().time()
        outcome = "unavailable"
        try:
            answer = await self._slot(key).run(job, key, deadline)
            outcome = answer[0]
        except EngineFailed as failure:
            outcome = "deadline" if failure.reason.startswith("deadline") else "crashed"
            raise
        finally:
            if self._on_job is not None:
                seconds = asyncio.get_running_loop().time() - started
                self._on_job(JobStats(type(job).__name__, outcome, seconds))
        result: Result = _result(answer, key)
        return result

    async def run_all(
        self, jobs: Mapping[IssueKey, Job[Result]], *, deadline: float | None = None
    ) -> dict[IssueKey, Result | Refused | EngineFailed]:
        """See `storage.engine.Engine.run_all`."""
        by_slot: dict[_Slot, list[tuple[IssueKey, Job[Result]]]] = {}
        for key, job in jobs.items():
            by_slot.setdefault(self._slot(key), []).append((key, job))
        groups = [
            some[at : at + _JOBS_TOGETHER] for some in by_slot.values() for at in range(0, len(some), _JOBS_TOGETHER)
        ]
        found = await asyncio.gather(*(self._run_group(group, deadline) for group in groups))
        return {key: result for results in found for key, result in results.items()}

    async def _run_group(
        self, group: Sequence[tuple[IssueKey, Job[Result]]], deadline: float | None
    ) -> dict[IssueKey, Result | Refused | EngineFailed]:
        try:
            answers = await self.run(Several([job for _, job in group]), key=group[0][0], deadline=deadline)
        except EngineFailed:
            return {key: await self._run_alone(key, job, deadline) for key, job in group}  # to find out which
        return {key: _told(answer) for (key, _), answer in zip(group, answers.each, strict=True)}

    async def _run_alone(
        self, key: IssueKey, job: Job[Result], deadline: float | None
    ) -> Result | Refused | EngineFailed:
        try:
            return await self.run(job, key=key, deadline=deadline)
        except (Refused, EngineFailed) as failure:
            return failure

    async def warm(self) -> None:
        """Start every process now rather than at its first job. Those that do not start are tried again then."""
        await asyncio.gather(*(slot.warm() for slot in self._slots))

    async def close(self) -> None:
        """Kill every process; jobs under way raise `EngineUnavailable`."""
        await asyncio.gather(*(slot.close() for slot in self._slots))

    def pids(self) -> list[int]:
        """The processes running now."""
        return [slot.child.pid for slot in self._slots if slot.child is not None]

    def _slot(self, key: IssueKey) -> _Slot:
        """The same process for the same issue, so that it still holds the document."""
        return self._slots[zlib.crc32(key.issue_id.bytes) % len(self._slots)]


def _told(answer: Any) -> Any:
    return Refused(answer.reason, answer.detail) if isinstance(answer, Refusal) else answer


def _result(answer: Any, key: IssueKey) -> Any:
    kind, *values = answer
    if kind == DONE:
        return values[0]
    if kind == REFUSED:
        raise Refused(values[0], values[1])
    raise EngineFailed(key, f"raised {values[0]}")


class _Slot:
    """One place for a process: its queue (a lock's waiters, bounded), its present process, and its restarts.

    Starts and ends are tasks of the slot: whoever asked for one may be cancelled meanwhile.
    """

    def __init__(self, limits: EngineLimits, command: Sequence[str], on_restart: Callable[[str], None] | None) -> None:
        self.child: EngineChild | None = None
        self._limits = limits
        self._command = command
        self._on_restart = on_restart
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._deaths = 0  # since the last job that was answered
        self._starting: asyncio.Task[str] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, job: Job[object], key: IssueKey, deadline: float | None) -> Any:
        if self._waiting >= self._limits.max_waiting:
            raise EngineUnavailable("engine queue is full")
        frame = pack(job)
        if len(frame) > self._limits.child.max_frame_bytes:
            raise EngineFailed(key, f"job of {len(frame)} bytes")
        await self._take_turn()
        try:
            return await self._try(frame, key, deadline or self._limits.deadline_seconds)
        finally:
            self._turn.release()

    async def warm(self) -> None:
        with contextlib.suppress(EngineUnavailable):
            await self._take_turn()
            try:
                await self._running()
            finally:
                self._turn.release()

    async def close(self) -> None:
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self._end()

    async def _take_turn(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.max_wait_seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise EngineUnavailable("waited too long for an engine") from None
        finally:
            self._waiting -= 1

    async def _try(self, frame: bytes, key: IssueKey, deadline: float) -> Any:
        reason = ""
        for _ in range(_ATTEMPTS):
            child = await self._running()
            try:
                async with asyncio.timeout(deadline):
                    answer = await child.exchange(frame)
            except TimeoutError:
                await self._replace(f"deadline of {deadline:g} s", key)
                raise EngineFailed(key, f"deadline of {deadline:g} s") from None
            except ChildDied as died:
                if self._closed:
                    raise EngineUnavailable("engine is closing") from None
                reason = str(died)
                await self._replace(reason, key)
            except asyncio.CancelledError:
                # Its answer would be taken for the next job's.
                await self._replace("cancelled", key)
                raise
            else:
                self._deaths = 0
                return answer
        raise EngineFailed(key, f"crashed: {reason}")

    async def _running(self) -> EngineChild:
        """The process of this slot, started if need be. Of a job that is cancelled meanwhile the next has the start."""
        self._expect_open()
        if self.child is None:
            starting = self._starting = self._starting or asyncio.create_task(self._start(), name="engine-start")
            await asyncio.wait([starting])
            self._expect_open()
            if failure := starting.result():
                raise EngineUnavailable(failure)
        assert self.child is not None
        return self.child

    async def _start(self) -> str:
        """Later and later after deaths in a row. Returns why it failed, if it did."""
        try:
            if self._deaths > 1:
                await asyncio.sleep(self._backoff())
            self.child = await EngineChild.start(self._command, self._limits.child)
        except ChildDied as died:
            self._deaths += 1
            structlog.get_logger().error("engine process does not start", reason=str(died))
            return f"engine process {died}"
        finally:
            self._starting = None
        return ""

    def _expect_open(self) -> None:
        if self._closed:
            raise EngineUnavailable("engine is closed")

    def _backoff(self) -> float:
        longest = min(self._limits.max_restart_seconds, self._limits.restart_seconds * 2.0 ** min(self._deaths, 16))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    async def _replace(self, reason: str, key: IssueKey) -> None:
        self._deaths += 1
        structlog.get_logger().warning(
            "engine process ended", workspace=key.workspace_id, issue=str(key.issue_id), reason=reason
        )
        if self._on_restart is not None:
            self._on_restart(reason.split(" ")[0])
        await self._end()

    async def _end(self) -> None:
        """End the present process, if there is one, and wait until nothing is left of any."""
        child, self.child = self.child, None
        if child is not None:
            ending = asyncio.create_task(child.kill(), name=f"engine-end-{child.pid}")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if self._ending:
            await asyncio.wait(self._ending)
