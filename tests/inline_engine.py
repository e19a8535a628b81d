"""The engine without processes: jobs cross the wire form and run here. Only for bytes an honest client made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from crdt.errors import Refused
from crdt.jobs import Job
from crdt.resident import Resident
from crdt.wire import pack, unpack
from storage.engine import EngineError, EngineFailed, IssueKey

Result = TypeVar("Result")


async def at_once(name: str, key: IssueKey) -> None:
    """The ordinary `before`."""


class InlineEngine:
    """`failing`: what jobs of an issue raise. `ran`: their names, as they started. `before` is awaited first."""

    def __init__(self, before: Callable[[str, IssueKey], Awaitable[None]] = at_once) -> None:
        self.failing: dict[IssueKey, EngineError] = {}
        self.ran: list[str] = []
        self.before = before
        self.forget()

    def forget(self) -> None:
        """As if every process had been replaced."""
        self._resident = Resident(max_issues=1_000, max_bytes=1 << 30)

    async def run(self, job: Job[Result], *, key: IssueKey, deadline: float | None = None) -> Result:
        """See `storage.engine.Engine.run`."""
        self.ran.append(type(job).__name__)
        await self.before(type(job).__name__, key)
        if key in self.failing:
            raise self.failing[key]
        result: Result = unpack(pack(unpack(pack(job)).run(self._resident)))
        return result

    async def run_all(
        self, jobs: Mapping[IssueKey, Job[Result]], *, deadline: float | None = None
    ) -> dict[IssueKey, Result | Refused | EngineFailed]:
        """See `storage.engine.Engine.run_all`."""
        results: dict[IssueKey, Result | Refused | EngineFailed] = {}
        for key, job in jobs.items():
            try:
                results[key] = await self.run(job, key=key, deadline=deadline)
            except (Refused, EngineFailed) as failure:
                results[key] = failure
        return results
