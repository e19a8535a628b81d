"""Lets the last write stand where the order of merging chose an older one: looks for such conflicts when a commit made
one, and now and then for those that a node left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import structlog

from server.clock import Clock
from server.decisions import Decisions
from server.record_errors import Gone, NotThere, RecordError
from storage.backoff import Backoff
from storage.conflicts import Conflict
from storage.errors import StoreError
from storage.store import Store

_AT_ONCE = 100


class Referee:
    """For all workspaces. Nodes share the work: a conflict is claimed before it is decided."""

    def __init__(
        self,
        store: Store,
        decisions: Decisions,
        clock: Clock,
        *,
        interval_seconds: float = 5.0,
        on_failure: Callable[[str], None] = lambda name: None,
        random: Random | None = None,
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._on_failure = on_failure
        self._random = random or Random()  # noqa: S311 - jitter
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to decide."""
        self._wake.set()

    async def run(self) -> None:
        """Decide until cancelled."""
        backoff = Backoff(first_seconds=0.5, longest_seconds=30.0, random=self._random)
        while True:
            self._wake.clear()
            try:
                await self.decide_due()
            except Exception as error:  # noqa: BLE001 - a top loop
                reason = str(error) if isinstance(error, StoreError | RecordError) else type(error).__name__
                structlog.get_logger().warning("conflicts not decided", reason=reason)
                self._on_failure("referee")
                await asyncio.sleep(backoff.next_seconds())
            else:
                backoff.reset()
                await self._rest()

    async def decide_due(self) -> list[Conflict]:
        """Decide what waits for it; one that cannot be decided now does not keep the others waiting. Raises
        `StoreUnavailable`, or the first `RecordError` once all were tried."""
        decided: list[Conflict] = []
        failures: list[RecordError] = []
        waiting = await self._store.ledger.unsettled(_AT_ONCE, self._clock.now())
        workspaces = {workspace.id: workspace for workspace in await self._store.workspaces()} if waiting else {}
        for conflict in waiting:
            try:
                decided.append(await self._decisions.let_the_last_stand(workspaces[conflict.workspace_id], conflict.id))
            except (Gone, NotThere):
                pass  # purged with its issue
            except RecordError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return decided

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._interval_seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
