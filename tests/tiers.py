"""The two tiers of the tests: what takes longest begins first, and the end of a run says how each tier went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")


@pytest.hookimpl(trylast=True)  # when it is settled which tests run
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that say how many `seconds` they take come to the heads of the parts that xdist's workers begin with: at
    the end of a run nobody works alone."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    items[:] = dealt(sorted(filter(_seconds, items), key=_seconds, reverse=True), items, workers)


def dealt(first: Sequence[T], items: Sequence[T], workers: int) -> list[T]:
    """`items` in as many parts, as equal as xdist makes them, with `first`, some of them, dealt out to their heads."""
    others = [item for item in items if item not in first]
    order: list[T] = []
    for worker in range(workers):
        heads = first[worker::workers]
        rest = max((len(items) - len(order)) // (workers - worker) - len(heads), 0)
        order += [*heads, *others[:rest]]
        del others[:rest]
    return order


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("long")
    return float(mark.kwargs.get("seconds", 0)) if mark is not None else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of which tier passed, failed or were skipped."""
    tiers: dict[str, Counter[str]] = {"short": Counter(), "long": Counter()}
    for outcome in ("failed", "error", "passed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            tiers["long" if "long" in report.keywords else "short"][outcome] += 1
    if all(tiers.values()):
        for tier, outcomes in tiers.items():
            told = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
            terminalreporter.write_line(f"{tier} tier: {told}")
