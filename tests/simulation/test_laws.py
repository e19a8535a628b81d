"""The laws over seeded runs: crashes, cut and slow networks, failing and unknown commits, two nodes on one store.

A seed that fails is run again with `python -c 'from tests.simulation.world import simulate; simulate(SEED)'`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from server.hub import Hub
from storage.store import Delta
from tests.from_source import run_from_source
from tests.simulation.oracle import LawBroken
from tests.simulation.time import Stuck, VirtualClock, in_virtual_time, run_in_virtual_time
from tests.simulation.world import simulate

SHORT = range(4)
LONG = range(4, 88)
TOGETHER = range(88, 100)  # in one test: what they visited is counted over all of them


@pytest.mark.parametrize("seed", SHORT)
def test_the_laws_hold(seed: int) -> None:
    outcomes = simulate(seed)
    assert outcomes.rows > 100
    assert outcomes.told > outcomes.rows
    assert outcomes.acked > 100


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG)
def test_the_laws_hold_for_many_seeds(seed: int) -> None:
    simulate(seed)


@pytest.mark.long(seconds=20)
def test_the_seeds_visit_the_rare_places() -> None:
    """Otherwise the laws are proven about less than they say."""
    totals: dict[str, float] = {}
    crashes = 0
    for seed in TOGETHER:
        outcomes = simulate(seed)
        crashes += outcomes.crashes
        for name, value in outcomes.metrics.items():
            totals[name] = totals.get(name, 0) + value
    assert crashes > 10
    visited = ("gaps", "asks", "behinds", "foreign_deltas", "failed_rooms", "evictions", "loads", "relay_pages")
    assert {name: totals.get(f"syncline_{name}_total", 0) > 0 for name in visited} == dict.fromkeys(visited, True)


def test_a_seed_is_a_run() -> None:
    assert simulate(5) == simulate(5)


# The checkers are no better than what they catch.


def _first_broken(seeds: Sequence[int] = range(5)) -> str:
    for seed in seeds:
        try:
            simulate(seed)
        except LawBroken as broken:
            return str(broken)
    return "nothing"


def test_rooms_that_break_a_law_are_caught() -> None:
    """Compiled classes cannot be broken, so these run from the plain source, in a process of their own."""
    run_from_source("tests/simulation/broken_rooms.py")


def test_a_node_that_is_deaf_to_the_others_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(self: Hub, deltas: Sequence[Delta]) -> None:
        pass

    monkeypatch.setattr(Hub, "_feed", deaf)
    assert _first_broken() != "nothing"


# The loop itself.


def test_virtual_time_jumps() -> None:
    async def sleep_a_year() -> float:
        await asyncio.sleep(365 * 86_400)
        return VirtualClock().monotonic()

    assert run_in_virtual_time(sleep_a_year()) == pytest.approx(365 * 86_400)


def test_waiting_for_nothing_is_an_error_not_a_hang() -> None:
    with pytest.raises(Stuck):
        run_in_virtual_time(asyncio.Event().wait())


@in_virtual_time
async def test_timers_fire_in_order() -> None:
    fired: list[int] = []
    loop = asyncio.get_running_loop()
    for delay in (3, 1, 2):
        loop.call_later(delay, fired.append, delay)
    await asyncio.sleep(5)
    assert fired == [1, 2, 3]
