"""What somebody who types notices of an attack on the same issue: the time until a reader has an edit, in peace and
under each attack, in turns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from bench.cores import Cores, move
from bench.mob import ATTACKERS, KINDS
from bench.plan import Plan, Result, carry_out
from bench.report import Report, Value, middle
from bench.scale import Scale
from bench.servers import CHECKOUT, WORKSPACE, Server, ask, cli, syncline

EDITS_PER_S: Final = 100.0
TARGET: Final = 2.0
NICENESS: Final = 10


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Yields one table."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        eve = ask(*cli("token", Path(folder)), "--workspace", WORKSPACE, "--user", "eve", "--role", "member")
        rows = [_row(kind, server, eve, cores, scale) for kind in KINDS]
    yield Report(
        "Under attack: one types, one reads, four attack in the same issue",
        rows,
        (
            f"{EDITS_PER_S:g} edits a second; ms from sending an edit to its reader's having it, committed. Each figure"
            f" is the median of {scale.rounds} rounds, and each round measures peace and attack one after the other.",
            f"times: p99 under attack by p99 in peace; the aim is {TARGET:g}. {int(EDITS_PER_S * scale.attack_s)} edits"
            " a round: the p99 of few is near their worst, and says less than the p50.",
            f"{ATTACKERS} sockets attack from the driver's core, which they share with it and with Postgres (nice"
            f" {NICENESS}); what they take from it is in the figures.",
        ),
    )


def _row(kind: str, server: Server, token: str, cores: Cores, scale: Scale) -> dict[str, Value]:
    peace: list[Result] = []
    war: list[Result] = []
    for _ in range(scale.rounds):
        (url,) = server.new_documents(1)
        plan = Plan([url], 1, 1, scale.warmup_s, scale.attack_s, cores.load, EDITS_PER_S)
        peace.append(carry_out(plan))
        (url,) = server.new_documents(1)
        plan = Plan([url], 1, 1, scale.warmup_s, scale.attack_s, cores.load, EDITS_PER_S)
        with _attacking(kind, f"{url.partition('?')[0]}?token={token}", cores):
            war.append(carry_out(plan))
    quiet, under = (middle(one.latency_ms["p99"] for one in results) for results in (peace, war))
    return {
        "attack": kind,
        "p50 in peace": middle(one.latency_ms["p50"] for one in peace),
        "p50 under it": middle(one.latency_ms["p50"] for one in war),
        "p99 in peace": quiet,
        "p99 under it": under,
        "times": under / quiet,
        "edits/s": middle(one.updates_per_s for one in war),
    }


@contextmanager
def _attacking(kind: str, url: str, cores: Cores) -> Iterator[None]:
    mob = psutil.Popen([sys.executable, "-m", "bench.mob", kind, url], cwd=CHECKOUT, stderr=subprocess.DEVNULL)
    try:
        mob.nice(NICENESS)
        move(mob, cores.load)
        yield
        if mob.poll() is not None:
            raise ValueError(f"the attackers ({kind}) gave up")
    finally:
        mob.kill()
        mob.wait()
