"""`make bench`: measures every section and leaves the numbers in bench/results/latest.json."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import (
    attacks,
    engines,
    feeding,
    gate,
    importing,
    merging,
    opening,
    past,
    projection,
    pushing,
    queueing,
    reading,
    relay,
)
from bench.cores import Cores
from bench.facts import facts
from bench.plan import LoadFailed
from bench.report import Report
from bench.scale import Scale
from bench.servers import ServerFailed

FAILURES = (LoadFailed, ServerFailed, OSError, ValueError, subprocess.SubprocessError)  # one section's, not ours
REDIRECTED_COLUMNS = 140
RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


class Section(StrEnum):
    """What can be measured by itself."""

    RELAY = "relay"
    PUSH = "push"
    FEED = "feed"
    MERGE = "merge"
    GATE = "gate"
    STORAGE = "storage"
    ENGINE = "engine"
    PROJECTION = "projection"
    IMPORT = "import"
    REST = "rest"
    HISTORY = "history"
    OUTBOX = "outbox"
    ATTACKS = "attacks"


MEASURES: dict[Section, Callable[[Cores, Scale], Iterator[Report]]] = {
    Section.RELAY: relay.measure,
    Section.PUSH: pushing.measure,
    Section.FEED: feeding.measure,
    Section.MERGE: merging.measure,
    Section.GATE: gate.measure,
    Section.STORAGE: opening.measure,
    Section.ENGINE: engines.measure,
    Section.PROJECTION: projection.measure,
    Section.IMPORT: importing.measure,
    Section.REST: reading.measure,
    Section.HISTORY: past.measure,
    Section.OUTBOX: queueing.measure,
    Section.ATTACKS: attacks.measure,
}


def main(
    sections: Annotated[list[Section] | None, typer.Argument(help="What to measure; everything by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, to see that everything works.")] = False,
    results: Annotated[Path, typer.Option(help="Where the numbers go as JSON.")] = RESULTS,
) -> None:
    """Measure this checkout beside y-websocket's server and the bare engine. Ratios travel, absolute numbers do not."""
    console = Console()
    if not console.is_terminal:
        console.width = REDIRECTED_COLUMNS
    cores, scale = Cores.choose(), Scale.quick() if quick else Scale()
    known = facts(cores)
    for name, value in known.items():
        console.print(f"[bold]{name}[/bold] {value}", highlight=False)
    console.print()
    reports: dict[str, list[Report]] = {}
    failed: dict[str, str] = {}
    took: dict[str, float] = {}
    for section in sections or list(Section):
        found = reports.setdefault(section.value, [])
        started = time.perf_counter()
        try:
            for report in MEASURES[section](cores, scale):
                report.print(console)
                found.append(report)
        except FAILURES as error:
            failed[section.value] = f"{type(error).__name__}: {error}"
            console.print(f"[bold red]{section.value} failed[/bold red] ", end="")
            console.print(f"{failed[section.value]}\n", markup=False)
        took[section.value] = time.perf_counter() - started
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(
        json.dumps(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "quick": quick,
                "facts": known,
                "failed": failed,
                "seconds": took,
                "sections": {name: [report.as_json() for report in found] for name, found in reports.items()},
            },
            indent=1,
            ensure_ascii=False,
        )
    )
    console.print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items()), style="dim", highlight=False)
    console.print(f"{results}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(main)
    application()
