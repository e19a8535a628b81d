"""How many issues a workspace has, so that nobody begins more than it may have.

Counted in the database, where all nodes' issues are, and by what begins here since: every second near the bound, or
when much has begun here, else every minute. No node lets more begin than there was room for when it counted last; so
with up to sixteen nodes, only what others begin in the last second, and while it counts, comes on top of the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

import structlog

from server.clock import Clock
from storage.errors import StoreError
from storage.store import Store

_CALM_SECONDS: Final = 60.0
_NEAR: Final = 0.9  # of the bound, or so few issues below it:
_NEAR_ISSUES: Final = 10_000
_NEAR_SECONDS: Final = 1.0
_MUCH: Final = 1 / 16  # of the room there was


@dataclass(slots=True)
class _Count:
    """`at`: when it was asked for · `begun`: here, since then."""

    stored: int
    at: float
    begun: int = 0


class Census:
    """Of one node. `max_issues`: of one workspace, 0 for any."""

    def __init__(
        self, store: Store, clock: Clock, max_issues: int, spawn: Callable[[Coroutine[None, None, None]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_issues = max_issues
        self._spawn = spawn
        self._counts: dict[int, _Count] = {}
        self._counting: set[int] = set()

    async def refresh(self, workspace_id: int) -> None:
        """Count again if that is due, before somebody may begin an issue. Raises `StoreUnavailable`."""
        if not self._max_issues or not self._is_due(workspace_id) or workspace_id in self._counting:
            return
        self._counting.add(workspace_id)
        try:
            before, now = self._counts.get(workspace_id), self._clock.monotonic()
            begun = before.begun if before else 0
            stored = await self._store.issue_count(workspace_id)
            since = before.begun - begun if before else 0
            self._counts[workspace_id] = _Count(stored, now, since)
        finally:
            self._counting.discard(workspace_id)

    def may_begin(self, workspace_id: int) -> bool:
        """Whether one more issue may begin there, as far as is known."""
        if not self._max_issues:
            return True
        if self._is_due(workspace_id):
            self._spawn(self._refresh_later(workspace_id))
        count = self._counts.get(workspace_id)
        return count is None or count.stored + count.begun < self._max_issues

    def begun(self, workspace_id: int) -> None:
        """One has."""
        count = self._counts.get(workspace_id)
        if count is not None:
            count.begun += 1

    def _is_due(self, workspace_id: int) -> bool:
        count = self._counts.get(workspace_id)
        if count is None:
            return True
        is_near = count.stored + count.begun >= min(_NEAR * self._max_issues, self._max_issues - _NEAR_ISSUES)
        is_much = count.begun >= _MUCH * (self._max_issues - count.stored)
        return self._clock.monotonic() - count.at >= (_NEAR_SECONDS if is_near or is_much else _CALM_SECONDS)

    async def _refresh_later(self, workspace_id: int) -> None:
        try:
            await self.refresh(workspace_id)
        except StoreError as error:
            structlog.get_logger().warning("issues not counted", workspace=workspace_id, reason=str(error))
