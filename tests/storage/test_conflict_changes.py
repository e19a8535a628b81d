"""Changes of conflicts on Postgres, while many write at once: a cursor misses none, and nobody locks out another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from uuid import UUID

import pytest

from storage.conflicts import LOSING, OPEN, Conflict, ConflictQuery, Forgotten, Settlement
from storage.postgres import PostgresStore
from tests.storage.rows import NOON, new_delta
from tests.storage.test_conflict_ledger import BOB, OPEN_FOUND

ISSUES = [UUID(int=number) for number in range(1, 5)]
WRITERS = 6


async def write(store: PostgresStore, workspace_id: int, random: Random, rounds: int) -> None:
    """Append with conflicts, note some, settle some."""
    for _ in range(rounds):
        number = random.randrange(40)
        losing = replace(BOB, key=f"9:{number}")
        found = replace(OPEN_FOUND, losing=losing, supersedes=f"9:{random.randrange(40)}")
        issue = random.choice(ISSUES)
        match random.randrange(4):
            case 0 | 1:
                others = [new_delta(workspace_id, each) for each in ISSUES]
                await store.append([*others, new_delta(workspace_id, issue)._replace(conflicts=[found, OPEN_FOUND])])
            case 2:
                await store.ledger.note(workspace_id, issue, 1, [found], NOON)
            case _:
                rows = await store.ledger.page(workspace_id, ConflictQuery(limit=200, state=OPEN))
                for row in rows[:2]:
                    await store.ledger.settle(workspace_id, row.id, Settlement(LOSING, "ana", NOON))


class Followed:
    """What somebody knows who follows with a cursor."""

    def __init__(self, store: PostgresStore, workspace_id: int) -> None:
        self.store = store
        self.workspace_id = workspace_id
        self.open: dict[UUID, Conflict] = {}
        self.cursor = 0

    async def read(self) -> None:
        """One page."""
        page = await self.store.ledger.changes(self.workspace_id, self.cursor, 3, 10_000)
        for each in page.changed:
            assert self.cursor < each.change <= page.through
            if isinstance(each, Forgotten):
                self.open = {row.id: row for row in self.open.values() if row.issue_id != each.issue_id}
            elif each.state == OPEN:
                self.open[each.id] = each
            else:
                self.open.pop(each.id, None)
        self.cursor = page.through

    async def read_along(self, until: asyncio.Event) -> None:
        """Page after page; after the end, all that is left."""
        while not until.is_set() or self.cursor < await self.store.ledger.newest_change(self.workspace_id):
            await self.read()


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=pytest.mark.long)])
async def test_a_cursor_misses_no_change_of_many_writers(store: PostgresStore, rounds: int) -> None:
    workspace_id = (await store.create_workspace("main", "Main")).id
    followed, is_over = Followed(store, workspace_id), asyncio.Event()
    reading = asyncio.create_task(followed.read_along(is_over))
    await asyncio.gather(*(write(store, workspace_id, Random(seed), rounds) for seed in range(WRITERS)))
    is_over.set()
    await reading
    rows = await store.ledger.page(workspace_id, ConflictQuery(limit=1_000, state=OPEN))
    assert followed.open == {row.id: row for row in rows}
    changes = [row.change for row in await store.ledger.page(workspace_id, ConflictQuery(limit=1_000))]
    assert len(set(changes)) == len(changes)
