"""Rooms that each break a law: the checkers must see it. `test_laws.py` runs this from the plain source."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.batch import Batch
from server.flight import Flight
from server.gaps import Gaps
from server.room import Room
from tests.simulation import fleet, world
from tests.simulation.oracle import LawBroken
from tests.simulation.test_fleet import BRIEF


def _first_broken(simulate: Callable[[int], object], seeds: int = 5) -> str:
    for seed in range(seeds):
        try:
            simulate(seed)
        except LawBroken as broken:
            return str(broken)
    return "nothing"


def test_telling_before_the_commit_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    append = Room._append

    def eager(self: Room, flight: Flight, give_up_at: float) -> None:
        for delta in flight.deltas:
            self._feeder.tell(delta.update, None)
        append(self, flight, give_up_at)

    monkeypatch.setattr(Room, "_append", eager)
    assert "told what is not committed" in _first_broken(world.simulate)


def _simulate_fleet(seed: int) -> object:
    return fleet.simulate(seed, BRIEF)


@pytest.mark.parametrize("simulate", [world.simulate, _simulate_fleet])
def test_promising_before_the_commit_is_caught(
    monkeypatch: pytest.MonkeyPatch, simulate: Callable[[int], object]
) -> None:
    launch = Room._launch

    def eager(self: Room, batch: Batch) -> None:
        batch.call_receipts(0)
        batch.receipts = []
        launch(self, batch)

    monkeypatch.setattr(Room, "_launch", eager)
    assert "promised what is not committed" in _first_broken(simulate)


def test_forgetting_what_waits_for_its_causes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Gaps, session: object) -> list[object]:
        self._parked.pop(session, None)  # type: ignore[call-overload]
        return []

    monkeypatch.setattr(Gaps, "unpark", forget)
    assert _first_broken(world.simulate, 12) != "nothing"
