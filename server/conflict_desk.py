"""Where rooms report conflicts: those that were committed with their deltas, and those that show only later, when the
log tells what another node committed at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Final

import structlog

from server.metrics import Metrics
from storage.backoff import Backoff
from storage.conflicts import Ledger, NewConflict
from storage.engine import IssueKey
from storage.errors import StoreError

_ATTEMPTS: Final = 6


class ConflictDesk:
    """`on_recorded` hears of each issue with new rows. Nothing here waits."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        spawn: Callable[[Coroutine[None, None, None]], None],
        on_recorded: Callable[[IssueKey], None],
        random: Random,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._spawn = spawn
        self._on_recorded = on_recorded
        self._random = random

    def committed(self, key: IssueKey, found: Mapping[int, Sequence[NewConflict]]) -> None:
        """They are in the ledger, with the deltas they were found in."""
        for conflict in (conflict for conflicts in found.values() for conflict in conflicts):
            self._metrics.conflicts.labels(conflict.kind).inc()
        self._on_recorded(key)

    def late(self, key: IssueKey, seq: int, found: Sequence[NewConflict], at: datetime) -> None:
        """They were found in what is committed. Whoever finds them notes them, and all of these make one row. If it
        fails for good, the compactor finds them again before their values are lost."""
        self._spawn(self._note(key, seq, found, at))

    async def _note(self, key: IssueKey, seq: int, found: Sequence[NewConflict], at: datetime) -> None:
        backoff = Backoff(first_seconds=0.2, longest_seconds=5.0, random=self._random)
        for attempt in range(_ATTEMPTS):
            try:
                await self._ledger.note(key.workspace_id, key.issue_id, seq, found, at)
            except StoreError as error:
                reason = str(error)
                if attempt + 1 < _ATTEMPTS:
                    await asyncio.sleep(backoff.next_seconds())
            else:
                self._on_recorded(key)
                return
        self._metrics.loop_failures.labels("conflicts").inc()
        structlog.get_logger().error("conflicts not noted", issue=str(key.issue_id), seq=seq, reason=reason)
