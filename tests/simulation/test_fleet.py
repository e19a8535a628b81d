"""Devices with the SDK, half of them offline at random, on three nodes: all converge, all acks are true.

A seed that fails is run again with
`python -c 'from tests.simulation.fleet import *; simulate(SEED, Plan(devices=8, seconds=60))'`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from server.feed import FramedPage
from server.follower import Follower
from syncline import documents
from syncline.records import Content
from tests.simulation.fleet import Plan, simulate
from tests.simulation.oracle import LawBroken

BRIEF = Plan(devices=8, seconds=60, edits_per_second=3)
LONGER = Plan(devices=12, seconds=180, edits_per_second=3)
FIFTY_FOR_TEN_MINUTES = Plan(devices=50, seconds=600)


@pytest.mark.parametrize("seed", range(3))
def test_devices_that_come_and_go_all_converge_and_all_acks_are_true(seed: int) -> None:
    outcomes = simulate(seed, BRIEF)
    assert outcomes.rows > 50
    assert min(outcomes.acked, outcomes.committed_receipts) > 100


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 15))
def test_the_same_for_many_seeds(seed: int) -> None:
    simulate(seed, LONGER)


@pytest.mark.long(seconds=80)
def test_fifty_devices_half_of_them_offline_on_three_nodes_for_ten_minutes() -> None:
    outcomes = simulate(1, FIFTY_FOR_TEN_MINUTES)
    assert 0.4 < outcomes.offline_share < 0.6
    assert outcomes.words > 1_500
    assert outcomes.crashes > 5
    assert outcomes.restarts > 10
    assert outcomes.resets["new"] == FIFTY_FOR_TEN_MINUTES.devices
    assert outcomes.resets["floor"] > 0, "somebody was away for longer than the log goes back"


def test_a_seed_is_a_run() -> None:
    assert simulate(4, BRIEF) == simulate(4, BRIEF)


# The checkers are no better than what they catch.


def _first_broken(seeds: Sequence[int] = range(3)) -> str:
    for seed in seeds:
        try:
            simulate(seed, BRIEF)
        except LawBroken as broken:
            return str(broken)
    return "nothing"


def test_a_page_that_leaves_a_hole_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: Follower, page: FramedPage) -> None:
        if not self._is_full:
            self._send(page)

    def lost(self: Follower) -> None:
        """Stays where it is, although its connection was full."""

    monkeypatch.setattr(Follower, "take", careless)
    monkeypatch.setattr(Follower, "lost", lost)
    monkeypatch.setattr(Follower, "_is_full", property(_now_and_then))
    assert _first_broken() != "nothing"


def test_a_device_whose_cursor_runs_ahead_of_its_documents_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    add = documents._add

    def forgetful(connection: object, content: Content, now: object) -> bool:
        return content.seq % 20 == 7 or add(connection, content, now)  # type: ignore[arg-type]

    monkeypatch.setattr(documents, "_add", forgetful)
    assert _first_broken() != "nothing"


def _now_and_then(follower: Follower) -> bool:
    return follower.cursor % 20 == 7
