"""The section `attacks` measures what it says: a case that is refused, and one that is only slowed."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import psutil
import pytest

from bench import attacks
from bench.attacks import Noticed
from bench.cores import Cores
from bench.inside import COMMIT, LOOP, Inside
from bench.plan import Result
from bench.scale import Scale
from bench.servers import Server
from server.metrics import Metrics
from tests.attacks.cases import CASES
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess

CHOSEN = ("forged client ids: the clocks of a victim", "floods: questions")


def result(p50: float, p99: float) -> Result:
    return Result(1.0, 400, 400, 400, {"p50": p50, "p99": p99}, {}, [])


def test_a_quick_run_has_one_case_of_every_kind() -> None:
    chosen = attacks._chosen(Scale.quick())
    assert [CASES[name].kind for name in chosen] == list(dict.fromkeys(case.kind for case in CASES.values()))
    assert attacks._chosen(Scale()) == list(CASES)


def test_a_row_compares_the_medians_of_its_rounds() -> None:
    rounds = [Noticed(result(1, p99), result(3, 4 * p99), result(2, 3 * p99), 100, ()) for p99 in (2, 4, 50)]
    row = attacks._row("x", rounds)
    assert row == {
        "attack": "x",
        "goes/s": 100,
        "p50 in peace": 1,
        "p50 at first": 3,
        "p50 under it": 2,
        "p99 in peace": 4,
        "p99 at first": 16,
        "p99 under it": 12,
        "times at first": 4,
        "times under it": 3,
    }


def test_beside_a_row_stands_what_the_attackers_alone_would_do_and_what_the_server_says_of_itself() -> None:
    control = Noticed(result(1, 2), result(1, 4), result(1, 3), 100, ())
    noticed = Noticed(result(1, 1), result(1, 6), result(1, 5), 100, (), {LOOP: (1, 2), COMMIT: (3, 4)}, control)
    row = attacks._row_with_its_control("x", [noticed])
    assert row["times at first"] == 6
    assert {name: row[name] for name in list(row)[-6:]} == {
        "of nobody, at first": 2,
        "of nobody, under it": 1.5,
        "loop in peace": 1,
        "loop attacked": 2,
        "commit in peace": 3,
        "commit attacked": 4,
    }


async def histogram(*counts: int) -> Inside:
    metrics = Metrics()
    for bound, count in zip((0.0004, 0.0015, 0.0045, 60), counts, strict=False):
        for _ in range(count):
            metrics.loop_lag.observe(bound)
    return Inside.read((await metrics.render()).decode())


async def test_a_p99_is_of_what_was_observed_between_two_moments() -> None:
    before = await histogram(0, 50, 1_000)
    assert (await histogram(99, 50, 1_000)).p99_ms(before, LOOP) == pytest.approx(0.495)
    assert (await histogram(0, 148, 1_002)).p99_ms(before, LOOP) == pytest.approx(3.5)  # the 99th is the first of two
    assert (await histogram(0, 50, 1_000, 5)).p99_ms(before, LOOP) == 10_000
    assert math.isnan(before.p99_ms(before, LOOP))
    assert math.isnan(before.p99_ms(before, COMMIT))


@pytest.mark.long
async def test_every_case_has_its_own_figures() -> None:
    scale = replace(Scale.quick(), attack_s=0.1)
    async with forking(*attacks.FLAGS) as running:
        server = Server("Syncline", psutil.Process(running.process.pid), lambda issue: address(running, issue))
        asked = (server, running.data_dir, Cores.choose(), scale, CHOSEN, "")
        report = await asyncio.to_thread(attacks.under_attack, *asked)
    assert [row["attack"] for row in report.rows] == list(CHOSEN)
    for row in report.rows:
        assert all(isinstance(figure, float) and figure >= 0 for name, figure in row.items() if name != "attack"), row


def address(running: ServerProcess, issue: str) -> str:
    return f"ws://127.0.0.1:{running.port}/yjs/main/{issue}?token={running.token('ana')}"
