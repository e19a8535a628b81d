"""What the gate costs an update: compiled and as plain Python, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import TypedDict

from bench.cores import Cores, starting_on
from bench.report import Report, Value, middle
from bench.scale import Scale

TIMEOUT_S = 300.0
NOTES = (
    "delete: one letter of a text, from its end. Step2 resend: all of a half deleted text again, nothing of it new.",
)


class Cost(TypedDict):
    """What `bench.gate_cost` prints: microseconds and bytes an update by kind, and which gate ran."""

    compiled: bool
    us: dict[str, float]
    bytes: dict[str, float]


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Yields one table."""
    with starting_on(cores.server):
        compiled = [cost("as installed", scale.gate_updates) for _ in range(scale.rounds)]
        plain = [cost("plain", scale.gate_updates) for _ in range(scale.rounds)]
    rows: list[dict[str, Value]] = [
        {
            "update": kind,
            "bytes": compiled[0]["bytes"][kind],
            "compiled us": middle(run["us"][kind] for run in compiled) if compiled[0]["compiled"] else None,
            "plain us": middle(run["us"][kind] for run in plain),
        }
        for kind in plain[0]["us"]
    ]
    yield Report("The gate: microseconds an update", [_with_factor(row) for row in rows], NOTES)


def _with_factor(row: dict[str, Value]) -> dict[str, Value]:
    compiled, plain = row["compiled us"], row["plain us"]
    faster = plain / compiled if isinstance(compiled, float) and isinstance(plain, float) else None
    return {**row, "faster": faster}


def cost(how: str, updates: int) -> Cost:
    """Time the gate in a process of its own: `plain` from its source, or `as installed`."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.gate_cost", how, str(updates)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    answer: Cost = json.loads(done.stdout)
    return answer
