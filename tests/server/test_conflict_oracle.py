"""Conflicts against an oracle that knows who knew what: random programs of real Yjs clients, who send and hear as it
happens, of writers of records and over HTTP. No conflict missed, none invented, every losing value there after
compaction."""

from __future__ import annotations

import pytest

from crdt.shape import FIELD_KEYS
from storage.conflicts import CREATE_CREATE, UPDATE_UPDATE, Conflict
from storage.memory import MemoryStore
from tests.js.fields import replicas
from tests.server.compacted import compact
from tests.server.conflict_programs import REPLICAS, Program, World
from tests.server.house import house


def begun_with(row: Conflict) -> str:
    """The title of the beginning that does not stand."""
    assert isinstance(row.losing.value, dict)
    return str(row.losing.value["title"])


async def judge(seeds: range, rounds: int, compacted: int) -> int:
    """Run the programs and compare; returns how many conflicts there were. `compacted`: of so many programs the log is
    folded away, and their losing values are given back."""
    store = MemoryStore()
    async with house(store=store) as node, replicas() as yjs:
        world = World(node, yjs, seeds)
        await world.begin()
        for _ in range(rounds):
            await world.round()
        await world.end()
        found = 0
        for program in world.programs:
            rows = await world.ledger(program)
            overwritten = [(row.field, row.losing.value) for row in rows if row.kind == UPDATE_UPDATE]
            assert set(overwritten) == program.lost, program.issue
            begun = [begun_with(row) for row in rows if row.kind == CREATE_CREATE]
            assert set(begun) == program.lost_beginnings, program.issue
            assert len(rows) == len(program.lost) + len(program.lost_beginnings)
            assert len(set(await world.titles(program))) == 1, program.issue
            stands = {FIELD_KEYS[name]: value for name, value in program.standing.items()}
            assert await world.shown(program) == [stands] * REPLICAS, program.issue
            found += len(rows)
        assert any(program.lost_beginnings for program in world.programs)
        with_losers = [program for program in world.programs if program.lost][:compacted]
        assert len(with_losers) == compacted
        for program in with_losers:
            await give_back_after_compaction(world, store, program)
        return found


async def give_back_after_compaction(world: World, store: MemoryStore, program: Program) -> None:
    """The losing values are where they were, and each one can be had: by everybody."""
    workspace = world.node.workspace
    before = await world.ledger(program)
    for _ in range(2):
        await compact(store, workspace.id, program.issue)
    rows = await world.ledger(program)
    assert rows == before
    for row in rows:
        if row.state == "open":
            await world.ask("POST", f"/conflicts/{row.id}/resolve", {"keep": "losing"})
            await world.hear([program])
            if row.kind == CREATE_CREATE:
                assert await world.titles(program) == [begun_with(row)] * REPLICAS
                continue
            key = FIELD_KEYS[row.field]
            assert [shown[key] for shown in await world.shown(program)] == [row.losing.value] * REPLICAS


async def test_hundreds_of_programs() -> None:
    assert await judge(range(400), rounds=16, compacted=10) > 400


@pytest.mark.long
@pytest.mark.parametrize("seeds", [range(first, first + 500) for first in range(1000, 3000, 500)])
async def test_thousands_of_programs(seeds: range) -> None:
    assert await judge(seeds, rounds=24, compacted=30) > 1000
