"""What a workspace may be called."""

from __future__ import annotations

import pytest

from storage.errors import BadSlug
from storage.memory import MemoryStore
from storage.postgres import PostgresStore
from storage.slugs import check_slug

BAD = ["", "/", "a/b", "a\\b", ".", "..", " ", " a", "a\n", "a\0", "\ud800", "\u202ea", "x" * 101]


@pytest.mark.parametrize("slug", BAD)
def test_what_no_address_can_name_is_refused_and_told(slug: str) -> None:
    with pytest.raises(BadSlug, match=r"a workspace cannot be called .*: "):
        check_slug(slug)


@pytest.mark.parametrize("slug", ["main", "team-a", "Team A", "büro", "日本", "50%", "a.b", "...", "x?y#z"])
def test_what_an_address_can_name_is_not(slug: str) -> None:
    check_slug(slug)


async def test_stores_refuse_it_too(store: PostgresStore) -> None:
    for each in (store, MemoryStore()):
        with pytest.raises(BadSlug):
            await each.create_workspace("a/b", "")
    assert await store.workspaces() == []
