"""A counter for what every turn of every room counts."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily


class Tally:
    """A bare integer, read when it is asked for. The library's own counters take a lock each time, which costs as much
    as the gate."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count; from the loop's thread only."""
        self.value += amount

    def collect(self) -> Iterable[Metric]:
        """What `CollectorRegistry.register` wants of a collector."""
        return [CounterMetricFamily(f"syncline_{self._name}", self._text, value=self.value)]
