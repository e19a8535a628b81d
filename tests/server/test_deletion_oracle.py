"""Edits and deletions that met without having heard of each other, against an oracle: none missed, none invented."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from server.limits import HubLimits, RoomLimits
from storage.memory import MemoryStore
from tests.server.deletion_programs import Program, met_in
from tests.server.house import house
from tests.simulation.time import run_in_virtual_time


@dataclass
class Tally:
    """How many were found, and how many there were had everybody told at once what they knew."""

    found: int = 0
    missed: int = 0  # where nodes commit at once
    concurrent: int = 0


async def judge(seeds: range, rounds: int, nodes: int = 1) -> Tally:
    """Run the programs and compare. In every third one an engine judges what is longer than a few edits."""
    tally = Tally()
    for seed in seeds:
        limits = HubLimits(room=RoomLimits(max_inline_update_bytes=60)) if seed % 3 == 0 else HubLimits()
        store = MemoryStore()
        async with AsyncExitStack() as stack:
            houses = [await stack.enter_async_context(house(limits, store)) for _ in range(nodes)]
            program = Program(houses, seed)
            await program.run(rounds)
            await program.judge()
            rows = await program.recorded()
            found = {met_in(row): row.losing.value for row in reversed(rows)}
            if nodes == 1:
                assert found == program.truth.met, f"seed {seed}: {found} {program.truth.met}\n{program}"
                assert found.keys() <= program.truth.concurrent, f"seed {seed}"
            assert found.keys() <= program.truth.met_on_any_node(), f"seed {seed}\n{program}"
            assert len({row.losing.key for row in rows}) == len(rows)
            shown = [_shown(each.doc) for each in program.replicas]
            assert shown == [shown[0]] * len(shown), f"seed {seed}"
            tally.found += len(found)
            tally.missed += len(program.truth.met.keys() - found.keys())
            tally.concurrent += len(program.truth.concurrent)
    return tally


def _shown(doc: Doc[Any]) -> tuple[object, ...]:
    comments = doc.get("comments", type=Map)
    return (
        doc.get("fields", type=Map).to_py(),
        str(doc.get("description", type=Text)),
        doc.get("labels", type=Map).to_py(),
        sorted(comments.keys()),
    )


@pytest.mark.parametrize(("seeds", "rounds"), [(range(100), 8), (range(100, 140), 24)])
def test_none_is_missed_and_none_is_invented(seeds: range, rounds: int) -> None:
    tally = run_in_virtual_time(judge(seeds, rounds))
    assert tally.found > len(seeds) / 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("seeds", "rounds"), [(range(1_000, 1_500), 8), (range(2_000, 2_150), 24), (range(3_000, 3_040), 80)]
)
def test_the_same_for_many_programs(seeds: range, rounds: int) -> None:
    tally = run_in_virtual_time(judge(seeds, rounds))
    assert tally.found > len(seeds) / 2


def test_nodes_that_commit_at_once_invent_none_and_miss_few() -> None:
    """Those where both nodes delete the issue before they hear of each other."""
    tally = run_in_virtual_time(judge(range(60), 8, nodes=2))
    assert tally.found > 30
    assert tally.missed < tally.found / 10


@pytest.mark.long
def test_nodes_that_commit_at_once_invent_none_in_many_programs() -> None:
    tally = run_in_virtual_time(judge(range(1_000, 1_250), 8, nodes=2))
    assert tally.missed < tally.found / 10
