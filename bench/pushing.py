"""Acked updates a second: native connections that push single edits, each answered after its COMMIT."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cores import Cores
from bench.native import host_of, sync_url
from bench.pushers import Pushed, PushPlan, push
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import WORKSPACE, Server, ask, cli, syncline
from bench.stock import query

IN_FLIGHT: Final = 1_000  # over all connections; what one connection may have by default
RATE: Final = 1_000.0
HEAD: Final = "SELECT head FROM workspaces WHERE slug = '" + WORKSPACE + "'"


@dataclass(frozen=True, slots=True)
class Case:
    """`connections` that type into `issues` altogether, each into its own."""

    connections: int
    issues: int

    def plan(self, url: str, cores: Cores, scale: Scale, server: Server, rate: float | None = None) -> PushPlan:
        """What the driver is told."""
        return PushPlan(
            url=url,
            connections=self.connections,
            issues=self.issues // self.connections,
            window=IN_FLIGHT // self.connections,
            warmup_s=scale.warmup_s,
            measure_s=scale.push_s,
            core=cores.load,
            rate=rate,
            watched=server.processes(),
        )


PACED: Final = tuple(Case(connections, 100) for connections in (1, 10, 100))
CASES: Final = (*(Case(connections, 1_000) for connections in (1, 10, 100)), *PACED)


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Yields a table of latency and one of throughput."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        dsn = ask(*cli("database-url", Path(folder)))
        token = ask(*cli("token", Path(folder)), "--workspace", WORKSPACE, "--user", "bench", "--role", "member")
        url = sync_url(host_of(server), WORKSPACE, token)
        # First, while the projection has nothing left to do from before.
        paced = [(case, push(case.plan(url, cores, scale, server, RATE))) for case in PACED]
        yield Report(
            f"Push, {RATE:,.0f} edits/s by the clock over 100 issues: milliseconds from the write to the ack",
            [_paced_row(case, pushed) for case, pushed in paced],
            ("A COMMIT with synchronous_commit=on is part of it.",),
        )
        rows = []
        for case in CASES:
            before = _head(dsn)
            pushed = push(case.plan(url, cores, scale, server))
            rows.append(_row(case, pushed, _head(dsn) - before))
        yield Report(
            "Push, closed loop: edits acked a second, an edit a frame",
            rows,
            (
                f"{IN_FLIGHT:,} edits in flight altogether; the server announces a window of 1,000 a connection.",
                "1,000 issues: every edit is a row of the log. 100 issues: ten of each are in flight and share rows.",
                "p50, p99: milliseconds from the write to the ack, with all that is in flight ahead of it.",
            ),
        )


def _head(dsn: str) -> int:
    head: int = asyncio.run(query(dsn, HEAD))[0]["head"]
    return head


def _row(case: Case, pushed: Pushed, deltas: int) -> dict[str, Value]:
    return {
        "connections": case.connections,
        "issues": case.issues,
        "acks/s": pushed.acks_per_s,
        "edits a delta": pushed.acked_in_all / deltas,
        "p50 ms": pushed.latency_ms["p50"],
        "p99 ms": pushed.latency_ms["p99"],
        **{f"{name} busy": share for name, share in pushed.busy.items()},
    }


def _paced_row(case: Case, pushed: Pushed) -> dict[str, Value]:
    waits = {f"{name} ms": waited for name, waited in pushed.latency_ms.items()}
    return {"connections": case.connections, "acks/s": pushed.acks_per_s, **waits}
