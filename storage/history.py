"""An issue as it was: at a seq, or at a time, as far back as history is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crdt.jobs import ProjectWhole
from storage.engine import Engine, IssueKey
from storage.projection import row_of
from storage.store import ProjectedIssue, Store


@dataclass(frozen=True, slots=True)
class History:
    """Reads old states through an engine."""

    store: Store
    engine: Engine
    job_seconds: float = 60.0

    async def as_of(self, workspace_id: int, issue_id: UUID, until: int | datetime) -> ProjectedIssue | None:
        """The issue through a seq, or through the last delta at or before a time; None when it did not exist yet.
        Costs what snapshots are apart, however long the log is.

        Raises `Trimmed` when that lies before what is kept, `EngineFailed` when it cannot be read.
        """
        seq = until if isinstance(until, int) else await self.store.seq_at(workspace_id, issue_id, until)
        stored = await self.store.load_log(workspace_id, issue_id, seq)
        if not stored.seq:
            return None
        job = ProjectWhole(f"{issue_id}@{seq}", stored.seq, stored.updates)
        projected = await self.engine.run(job, key=IssueKey(workspace_id, issue_id), deadline=self.job_seconds)
        assert projected.content is not None, "a whole issue is never unknown"
        return row_of(issue_id, stored, projected.content)
