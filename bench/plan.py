"""What the load driver is told, what it answers, and how a section has it done in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}
CONNECTING_S_MAX = 120.0


class LoadFailed(Exception):
    """The driver ended without a result; the text is the last it said."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to which server.

    `urls`: one a document, each with one writer and `readers` readers · `window`: updates in flight a document ·
    `rate`: updates a second over all documents, in place of the closed loop · `core`: where the driver runs ·
    `keep_times`: answer with the time each clock was sent at · `watched`: process ids by name, whose use of the
    processor to report.
    """

    urls: Sequence[str]
    readers: int
    window: int
    warmup_s: float
    measure_s: float
    core: int | None = None
    rate: float | None = None
    keep_times: bool = False
    watched: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What happened between warm-up and end.

    An update counts when the last of its document's readers has it (without readers: when it is sent), a delivery when
    one reader has it. Clocks are counted, so that a server that joins updates into one frame and one that does not are
    measured alike. `latency_ms`: percentiles from sending an update to the last reader's having it · `busy`: share of
    a core by name, `driver` and what was watched · `sent_at`: for each document, monotonic seconds by clock.
    """

    seconds: float
    updates: int
    deliveries: int
    frames: int
    latency_ms: dict[str, float]
    busy: dict[str, float]
    sent_at: list[list[float]]

    @property
    def updates_per_s(self) -> float:
        return self.updates / self.seconds

    @property
    def deliveries_per_s(self) -> float:
        return self.deliveries / self.seconds


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; NaN when there are none."""
    if not ascending:
        return float("nan")
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`PERCENTILES` of unsorted values."""
    ascending = sorted(values)
    return {name: percentile(ascending, share) for name, share in PERCENTILES.items()}


def carry_out(plan: Plan) -> Result:
    """Run a plan in a driver of its own and wait for its end. Raises LoadFailed."""
    driver = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        timeout=CONNECTING_S_MAX + plan.warmup_s + plan.measure_s,
        check=False,
    )
    if driver.returncode != 0:
        raise LoadFailed(driver.stderr.strip()[-2_000:])
    return Result(**json.loads(driver.stdout))
