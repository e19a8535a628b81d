"""What becomes of the socket of a Yjs client whose user makes more edits than they may (`Visit.edited`). The dialects
have no answer for it: what came is taken in, what comes next is read later, and in the end the client comes again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crdt.native import TOO_FAST
from server import close_codes
from server.metrics import Metrics


@dataclass(frozen=True, slots=True)
class EditPace:
    """`delay_seconds`: how much later such a socket is read from at most · `debt_seconds`: who owes more is closed."""

    delay_seconds: float = 1.0
    debt_seconds: float = 10.0

    def keep(
        self, owed: float, slow_down: Callable[[float], None], close: Callable[[int, str], None], metrics: Metrics
    ) -> None:
        """Its user owes so many seconds, more than 0. With 1013, for 44xx would end such a client for good."""
        if owed > self.debt_seconds:
            metrics.refusals.labels(TOO_FAST).inc()
            close(close_codes.TRY_LATER, "too many edits")
        else:
            slow_down(min(owed, self.delay_seconds))
