"""The verdict on a case: the median of the rounds' own ratios, beside its promise."""

from __future__ import annotations

import pytest

from bench.plan import Result
from bench.relay import Case, Rounds, ratio_row


def result(deliveries_per_s: float) -> Result:
    return Result(
        seconds=2.0,
        updates=0,
        deliveries=int(2 * deliveries_per_s),
        frames=0,
        latency_ms={"p50": 1.0, "p99": 2.0},
        busy={"driver": 0.5, "server": 1.0},
        sent_at=[],
    )


@pytest.mark.parametrize(("target", "met"), [(3.0, "yes"), (3.1, "NO")])
def test_a_ratio_compares_runs_of_the_same_round(target: float, met: str) -> None:
    rounds = Rounds(
        case=Case(10, 1, 8, target),
        ours=[result(300), result(30), result(60)],  # the machine became ten times slower after the first round
        theirs=[result(100), result(10), result(10)],
        ceiling=[result(1_000)] * 3,
        disturbed=[1.0, 9.0, 9.0],
        sync_ms=[0.2, 2.0, 2.0],
    )
    row = ratio_row(rounds)
    assert (row["ratio"], row["met"], row["case"]) == (3.0, met, "10×1 w8")
