"""Relay throughput and latency over sockets: Syncline, gated and durable, beside y-websocket, in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.appending import measure_appends
from bench.cores import Cores
from bench.disturbance import settled, sync_ms
from bench.plan import Plan, Result, carry_out
from bench.report import Report, Value, middle
from bench.scale import Scale
from bench.servers import Server, ask, ceiling, cli, syncline, y_websocket

FIXED_RATE = 1_000.0


@dataclass(frozen=True, slots=True)
class Case:
    """`documents` × `readers`, `window` updates in flight a document. `target`: the ratio promised."""

    documents: int
    readers: int
    window: int
    target: float

    def __str__(self) -> str:
        return f"{self.documents}×{self.readers} w{self.window}"


CASES = (Case(10, 1, 8, 3.0), Case(200, 1, 1, 1.5), Case(10, 20, 2, 1.5), Case(1, 100, 8, 1.5))


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Interleaved runs: Syncline, y-websocket, the ceiling, and again. Yields one table a question."""
    with ExitStack() as stack:
        data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncline-bench-")))
        servers = [
            stack.enter_context(syncline(cores, data_dir)),
            stack.enter_context(y_websocket(cores)),
            stack.enter_context(ceiling(cores)),
        ]
        yield from _throughput(servers, cores, scale, data_dir)
        yield _latency(servers, cores, scale)
        yield measure_appends(ask(*cli("database-url", data_dir)), cores, scale.relay_s)


def _throughput(servers: Sequence[Server], cores: Cores, scale: Scale, data_dir: Path) -> Iterator[Report]:
    rounds = [Rounds.of(case, servers, cores, scale, data_dir) for case in CASES]
    yield Report(
        "Relay, closed loop: updates (10×1, 200×1) or deliveries (10×20, 1×100) a second",
        [ratio_row(one) for one in rounds],
        (
            f"documents × readers, window. Medians of {scale.rounds} interleaved rounds of {scale.relay_s:g} s.",
            f"Core {cores.server}: the server measured. Core {cores.load}: load driver, Postgres and engine processes.",
            "Syncline: every update gated and committed before it is seen. y-websocket: memory only.",
            "ceiling: a relay without gate or store, what this load measures at most.",
            f"disturbed: before a round, which waits {scale.patience_s:g} s for a quiet machine, fixed work took so",
            "many times its best. Above 1.5 others use the machine: trust the ratios only; above 3 not even those.",
            "sync ms: the disk's time to keep one page, before the round. Syncline waits for it, y-websocket does not.",
        ),
    )
    yield Report(
        "The same runs: milliseconds from sending to the last reader's having it, and shares of a core used",
        [where_row(one) for one in rounds],
    )


@dataclass(frozen=True, slots=True)
class Rounds:
    """Results of one case, a round an entry; `disturbed` and `sync_ms`: see `disturbance`."""

    case: Case
    ours: Sequence[Result]
    theirs: Sequence[Result]
    ceiling: Sequence[Result]
    disturbed: Sequence[float]
    sync_ms: Sequence[float]

    @classmethod
    def of(cls, case: Case, servers: Sequence[Server], cores: Cores, scale: Scale, data_dir: Path) -> Rounds:
        """Run them, each round one server after the other. Raises LoadFailed."""
        plan = _plan(case, cores, scale)
        runs, disturbed, syncs = [], [], []
        for _ in range(scale.rounds):
            disturbed.append(settled(cores, scale.patience_s))
            syncs.append(sync_ms(data_dir))
            runs.append([_run(server, case, plan) for server in servers])
        ours, theirs, limit = zip(*runs, strict=True)
        return cls(case, ours, theirs, limit, disturbed, syncs)


def ratio_row(rounds: Rounds) -> dict[str, Value]:
    """Throughput beside y-websocket's, each round compared with itself."""
    ratio = middle(a.deliveries_per_s / b.deliveries_per_s for a, b in zip(rounds.ours, rounds.theirs, strict=True))
    return {
        "case": str(rounds.case),
        "Syncline": middle(run.deliveries_per_s for run in rounds.ours),
        "y-websocket": middle(run.deliveries_per_s for run in rounds.theirs),
        "ratio": ratio,
        "target": rounds.case.target,
        "met": "yes" if ratio >= rounds.case.target else "NO",
        "ceiling": middle(run.deliveries_per_s for run in rounds.ceiling),
        "disturbed": middle(rounds.disturbed),
        "sync ms": middle(rounds.sync_ms),
    }


def where_row(rounds: Rounds) -> dict[str, Value]:
    """Where time and processors went."""
    return {
        "case": str(rounds.case),
        "p50": middle(run.latency_ms["p50"] for run in rounds.ours),
        "p99": middle(run.latency_ms["p99"] for run in rounds.ours),
        "y-websocket p50": middle(run.latency_ms["p50"] for run in rounds.theirs),
        "y-websocket p99": middle(run.latency_ms["p99"] for run in rounds.theirs),
        **{f"{name} busy": middle(run.busy[name] for run in rounds.ours) for name in rounds.ours[0].busy},
        "y-websocket busy": middle(run.busy["server"] for run in rounds.theirs),
    }


def _latency(servers: Sequence[Server], cores: Cores, scale: Scale) -> Report:
    case = Case(10, 1, 1, 0.0)
    plan = _plan(case, cores, scale, rate=FIXED_RATE)
    rounds = [[_run(server, case, plan) for server in servers] for _ in range(scale.rounds)]
    rows: list[dict[str, Value]] = []
    for place, server in enumerate(servers):
        runs = [runs[place] for runs in rounds]
        waits = {f"{name} ms": middle(run.latency_ms[name] for run in runs) for name in runs[0].latency_ms}
        rows.append({"server": server.name, "updates/s": middle(run.updates_per_s for run in runs), **waits})
    return Report(
        f"Relay, {FIXED_RATE:,.0f} updates/s by the clock over 10×1: from sending to the reader's having it",
        rows,
        ("Syncline's part includes a COMMIT with synchronous_commit=on.",),
    )


def _plan(case: Case, cores: Cores, scale: Scale, rate: float | None = None) -> Plan:
    return Plan(
        urls=(),
        readers=case.readers,
        window=case.window,
        warmup_s=scale.warmup_s,
        measure_s=scale.relay_s,
        core=cores.load,
        rate=rate,
    )


def _run(server: Server, case: Case, plan: Plan) -> Result:
    """One run on documents nobody has touched."""
    return carry_out(replace(plan, urls=server.new_documents(case.documents), watched=server.processes()))
