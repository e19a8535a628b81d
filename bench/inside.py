"""What a server says of itself between two moments: how late its loop was, and how long its database took."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

LOOP: Final = "syncline_loop_lag_seconds"
COMMIT: Final = "syncline_commit_seconds"


@dataclass(frozen=True, slots=True)
class Inside:
    """Its histograms at one moment, by name: upper bound in seconds → observations up to there, ever."""

    buckets: Mapping[str, Mapping[float, float]]

    @classmethod
    def of(cls, http: str) -> Inside:
        """Of the server at an address."""
        with urllib.request.urlopen(f"{http}/metrics") as answer:
            return cls.read(answer.read().decode())

    @classmethod
    def read(cls, text: str) -> Inside:
        """From the text format of Prometheus."""
        found: dict[str, dict[float, float]] = {LOOP: {}, COMMIT: {}}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if family.name in found and sample.name.endswith("_bucket"):
                    found[family.name][float(sample.labels["le"])] = sample.value
        return cls(found)

    def p99_ms(self, before: Inside, name: str) -> float:
        """Of what was observed since, in milliseconds, as evenly spread within its bucket; NaN where nothing was."""
        now, then = self.buckets[name], before.buckets[name]
        counts = [(bound, count - then.get(bound, 0.0)) for bound, count in sorted(now.items())]
        wanted = 0.99 * counts[-1][1] if counts else 0.0
        for (lower, below), (bound, count) in pairwise([(0.0, 0.0), *counts]):
            if count >= wanted > 0:
                upper = lower if bound == float("inf") else bound
                return 1e3 * (lower + (upper - lower) * (wanted - below) / (count - below))
        return float("nan")
