"""How long to measure: the full size for numbers to keep, the quick one to see that everything runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of all sections. `…_s`: seconds of one run · `rounds`: runs of which the median counts."""

    rounds: int = 3
    warmup_s: float = 0.7
    relay_s: float = 3.0
    patience_s: float = 10.0  # to wait for a quiet machine before a round of the relay
    updates: int = 20_000  # of a made-up workload
    trace_transactions: int | None = None  # None: the whole recording
    gate_updates: int = 20_000
    issues: int = 400  # stored before a cold start
    updates_per_issue: int = 50
    connections: int = 500
    projection_s: float = 15.0

    @classmethod
    def quick(cls) -> Scale:
        """About half a minute over all sections."""
        return cls(
            rounds=1,
            warmup_s=0.3,
            relay_s=1.0,
            patience_s=0.0,
            updates=3_000,
            trace_transactions=5_000,
            gate_updates=3_000,
            issues=100,
            updates_per_issue=20,
            connections=100,
            projection_s=4.0,
        )
