"""The seam to whoever runs jobs on live documents: processes in the product, the same jobs inline in simulation.

A job names the issue it works for, because that issue pays when the engine dies of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from crdt.errors import Refused
from crdt.jobs import Job

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class IssueKey:
    """An issue's full name: its tenant and its id. Jobs of one key run in one process, in order."""

    workspace_id: int
    issue_id: UUID

    def __str__(self) -> str:
        return f"{self.workspace_id}/{self.issue_id}"


class EngineError(Exception):
    """Base of what an engine raises on purpose."""


class EngineFailed(EngineError):
    """This issue's job killed the engine, outran its deadline, or broke: quarantine the issue. Others are well."""

    def __init__(self, key: IssueKey, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class EngineUnavailable(EngineError):
    """No engine to run the job (it cannot start, its queue is full, it is closing). Says nothing of the issue: try
    again later."""


class Engine(Protocol):
    """Runs jobs, each alone, with a deadline."""

    async def run(self, job: Job[Result], *, key: IssueKey, deadline: float | None = None) -> Result:
        """The job's result. `deadline` in seconds replaces the engine's own.

        Raises `crdt.errors.Refused` when the job refuses bytes, `EngineFailed` when the issue must be quarantined
        and `EngineUnavailable` when no engine could try.
        """

    async def run_all(
        self, jobs: Mapping[IssueKey, Job[Result]], *, deadline: float | None = None
    ) -> dict[IssueKey, Result | Refused | EngineFailed]:
        """Many small jobs, sent together; what `run` would raise of one issue stands in the place of its result.

        Raises `EngineUnavailable`.
        """
