"""What the tests of compaction share: small limits, a clock that is set by hand, and looks at what is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from crdt.document import Document
from crdt.update import merge
from storage.compactor import CompactorLimits
from storage.engine import IssueKey
from storage.projector import Projector, ProjectorLimits
from storage.store import Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import START

ISSUE = UUID(int=1)
SMALL = CompactorLimits(tail_updates=5, idle_updates=2, interval_seconds=0.001)
TEXT = "keystrokes"


class Calendar:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, *, days: float) -> None:
        self.now += timedelta(days=days)


async def project(store: Store) -> None:
    projector = Projector(store, InlineEngine(), ProjectorLimits(), now=lambda: START)
    while await projector.project_once():
        pass


async def title(store: Store, key: IssueKey) -> str:
    stored = await store.load(key.workspace_id, key.issue_id)
    return Document.load(merge(stored.updates)).text("title")


async def log_length(store: Store, key: IssueKey) -> int:
    return len(await store.tail(key.workspace_id, key.issue_id, 0))
