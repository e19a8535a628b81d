"""The section `attacks` measures what it says: a case that is refused, and one that is only slowed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import attacks
from bench.attacks import Noticed
from bench.cores import Cores
from bench.plan import Result
from bench.scale import Scale
from tests.attacks.cases import CASES

CHOSEN = ("forged client ids: the clocks of a victim", "floods: questions")


def result(p50: float, p99: float) -> Result:
    return Result(1.0, 400, 400, 400, {"p50": p50, "p99": p99}, {}, [])


def test_a_quick_run_has_one_case_of_every_kind() -> None:
    chosen = attacks._chosen(Scale.quick())
    assert [CASES[name].kind for name in chosen] == list(dict.fromkeys(case.kind for case in CASES.values()))
    assert attacks._chosen(Scale()) == list(CASES)


def test_a_row_compares_the_medians_of_its_rounds() -> None:
    rounds = [Noticed(result(1, p99), result(2, 3 * p99), 100, ()) for p99 in (2, 4, 50)]
    row = attacks._row("x", rounds)
    assert row == {
        "attack": "x",
        "goes/s": 100,
        "p50 in peace": 1,
        "p50 under it": 2,
        "p99 in peace": 4,
        "p99 under it": 12,
        "times": 3,
    }


@pytest.mark.long
def test_every_case_has_its_own_figures() -> None:
    scale = replace(Scale.quick(), attack_s=0.3)
    (report,) = attacks.measure(Cores.choose(), scale, CHOSEN)
    assert [row["attack"] for row in report.rows] == list(CHOSEN)
    for row in report.rows:
        assert all(isinstance(figure, float) and figure > 0 for name, figure in row.items() if name != "attack"), row
