"""Jobs a second of one engine process, asked over its pipe by the pool the server uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from uuid import uuid4

from bench.cores import Cores, starting_on
from bench.report import Report, Value
from bench.scale import Scale
from bench.typist import FIRST_CLIENT, Typist
from crdt.jobs import Job, ProjectTail, ProjectWhole
from server.engine import EngineLimits, EnginePool
from storage.engine import IssueKey

AT_ONCE = 8


class Issue:
    """An issue somebody types into, as the projector would hand it to an engine."""

    def __init__(self, number: int) -> None:
        self.key = IssueKey(1, uuid4())
        self._typist = Typist(FIRST_CLIENT + number)
        self._updates: list[bytes] = []

    def type(self, count: int) -> None:
        """More updates in the log."""
        self._updates += [self._typist.type() for _ in range(count)]

    def whole(self) -> ProjectWhole:
        """Read all of it."""
        return ProjectWhole(str(self.key), len(self._updates), self._updates)

    def tail(self) -> ProjectTail:
        """Read it again after its last update."""
        return ProjectTail(str(self.key), len(self._updates) - 1, len(self._updates), self._updates[-1:])


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Yields one table."""
    yield asyncio.run(_measure(cores, scale))


async def _measure(cores: Cores, scale: Scale) -> Report:
    issues = [Issue(number) for number in range(scale.issues)]
    for issue in issues:
        issue.type(scale.updates_per_issue)
    pool = EnginePool(EngineLimits(processes=1))
    try:
        with starting_on(cores.server):
            await pool.run(issues[0].whole(), key=issues[0].key)  # starts the process, which keeps the core
        whole = await _jobs_per_s(pool, issues, [issue.whole() for issue in issues])
        for issue in issues:
            issue.type(1)
        tail = await _jobs_per_s(pool, issues, [issue.tail() for issue in issues])
    finally:
        await pool.close()
    return Report(
        "Engine: jobs/s of one process",
        [
            _row(f"project a whole issue of {scale.updates_per_issue} updates", whole),
            _row("project an issue it holds after one more update", tail),
        ],
    )


async def _jobs_per_s(pool: EnginePool, issues: Sequence[Issue], jobs: Sequence[Job[object]]) -> float:
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(issue: Issue, job: Job[object]) -> None:
        async with places:
            await pool.run(job, key=issue.key)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for issue, job in zip(issues, jobs, strict=True):
            group.create_task(ask(issue, job))
    return len(jobs) / (time.perf_counter() - started)


def _row(job: str, rate: float) -> dict[str, Value]:
    return {"job": job, "jobs/s": rate, "us each": 1e6 / rate}
