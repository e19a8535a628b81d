"""Both stores, for what must hold on either."""

from __future__ import annotations

import pytest

from storage.memory import MemoryStore
from storage.store import Store


@pytest.fixture(params=["memory", "postgres"])
def twin(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    store: Store = request.getfixturevalue("store")
    return store


@pytest.fixture
async def workspace_id(twin: Store) -> int:
    return (await twin.create_workspace("main", "Main")).id
