"""An issue projected, compacted and trimmed, as it is when nobody edits it for long."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from storage.compactor import Compactor, CompactorLimits
from storage.engine import IssueKey
from storage.memory import MemoryStore
from storage.projector import Projector, ProjectorLimits
from tests.inline_engine import InlineEngine
from tests.server.house import ISSUE

LATER = datetime(2030, 1, 1, tzinfo=UTC)


async def compact(store: MemoryStore, workspace_id: int, issue: UUID = ISSUE) -> None:
    """Once; twice trims what the first time kept."""
    engine = InlineEngine()
    projector = Projector(store, engine, ProjectorLimits(), now=lambda: LATER)
    await projector.project_once()
    compactor = Compactor(store, engine, CompactorLimits(history_days=0), now=lambda: LATER)
    await compactor.compact(IssueKey(workspace_id, issue))
