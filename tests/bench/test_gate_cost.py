"""The plain gate is measured even where the compiled one is installed."""

from __future__ import annotations

from bench.gate import cost

UPDATES = 200


def test_the_plain_gate_runs_from_source() -> None:
    plain = cost("plain", UPDATES)
    assert not plain["compiled"]
    assert all(microseconds > 0 for microseconds in plain["us"].values())


def test_both_gates_are_asked_the_same() -> None:
    assert cost("as installed", UPDATES)["bytes"] == cost("plain", UPDATES)["bytes"]
