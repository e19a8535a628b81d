"""How long to measure: the full size for numbers to keep, the quick one to see that everything runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of all sections. `…_s`: seconds of one run · `rounds`: runs of which the median counts."""

    rounds: int = 3
    warmup_s: float = 0.7
    relay_s: float = 2.0
    patience_s: float = 2.0  # to wait for a quiet machine before a round of the relay
    updates: int = 20_000  # of a made-up workload
    trace_transactions: int | None = None  # None: the whole recording
    gate_updates: int = 20_000
    issues: int = 400  # stored before a cold start
    updates_per_issue: int = 50
    connections: int = 500
    projection_s: float = 8.0
    push_s: float = 1.5
    feed_issues: int = 10_000  # of the big workspace; the small one has a tenth
    feed_changes: int = 500  # issues that change while a client is away
    imported: int = 10_000
    every_attack: bool = True  # False: one of a kind
    attack_s: float = 0.35  # in peace, and the same under attack, for each of the cases
    rest_issues: int = 100_000
    rest_requests: int = 200  # of each kind
    outbox_batch: int = 1_000
    past_deltas: int = 20_000  # of the issue that was edited most

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
            push_s=0.7,
            feed_issues=2_000,
            feed_changes=100,
            imported=500,
            every_attack=False,
            attack_s=0.1,
            rest_issues=2_000,
            rest_requests=20,
            outbox_batch=100,
            past_deltas=4_000,
        )
