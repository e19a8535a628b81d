"""A projector for tests, and what it has made of the log."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from server.engine import EnginePool
from storage.projector import Projector, ProjectorLimits
from storage.store import ProjectedIssue, Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import START

ISSUE = UUID(int=1)
OTHER = UUID(int=2)
NOON = START + timedelta(hours=12)
QUICK = ProjectorLimits(settle_seconds=0.0, poll_seconds=0.01)


def projector(store: Store, engine: InlineEngine | EnginePool, limits: ProjectorLimits = QUICK) -> Projector:
    return Projector(store, engine, limits, now=lambda: NOON)


async def project_all(projector: Projector) -> None:
    while await projector.project_once():
        pass


async def row(store: Store, workspace_id: int, issue_id: UUID = ISSUE) -> ProjectedIssue:
    return (await store.projected(workspace_id, [issue_id]))[issue_id]


async def cursor(store: Store, workspace_id: int) -> int:
    async with store.projection(workspace_id) as turn:
        assert turn is not None
        return turn.cursor


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
