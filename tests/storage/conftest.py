"""Both stores, for what must hold on either, an engine, and what compacts one issue in one of them."""

from __future__ import annotations

import pytest

from storage.compactor import Compactor
from storage.engine import IssueKey
from storage.memory import MemoryStore
from storage.store import Store
from tests.inline_engine import InlineEngine
from tests.storage.authors import Author
from tests.storage.compacting import ISSUE, SMALL, Calendar


@pytest.fixture(params=["memory", "postgres"])
def twin(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    store: Store = request.getfixturevalue("store")
    return store


@pytest.fixture
async def workspace_id(twin: Store) -> int:
    return (await twin.create_workspace("main", "Main")).id


@pytest.fixture
def engine() -> InlineEngine:
    return InlineEngine()


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def key(workspace_id: int) -> IssueKey:
    return IssueKey(workspace_id, ISSUE)


@pytest.fixture
def compactor(twin: Store, engine: InlineEngine, calendar: Calendar) -> Compactor:
    return Compactor(twin, engine, SMALL, now=calendar)


@pytest.fixture
def author(key: IssueKey) -> Author:
    return Author(key.workspace_id, key.issue_id)
