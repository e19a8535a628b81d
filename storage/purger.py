"""Deletes for good what was marked as deleted long ago, one issue a transaction; a tombstone is left of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

import structlog

from storage.backoff import Backoff
from storage.engine import IssueKey
from storage.errors import NotPurgeable, Purged, StoreError
from storage.store import Store

SYSTEM: Final = "system"  # the actor of what nobody asked for


@dataclass(frozen=True, slots=True)
class PurgerLimits:
    """`after_days`: how long a deleted issue stays that nobody touches; 0 keeps it for ever. Other times in seconds."""

    after_days: float = 30.0
    interval_seconds: float = 60.0
    picks_at_once: int = 64
    longest_backoff_seconds: float = 60.0


class Purger:
    """Looks after all workspaces. Another node at the same issue comes too late, which changes nothing."""

    def __init__(
        self,
        store: Store,
        limits: PurgerLimits,
        *,
        now: Callable[[], datetime],
        on_issue: Callable[[IssueKey], None] = lambda key: None,
        on_failure: Callable[[str], None] = lambda name: None,
        random: Random | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._now = now
        self._on_issue = on_issue
        self._on_failure = on_failure
        self._random = random or Random()  # noqa: S311 - jitter

    async def run(self) -> None:
        """Purge until cancelled."""
        backoff = Backoff(first_seconds=1.0, longest_seconds=self._limits.longest_backoff_seconds, random=self._random)
        while True:
            try:
                while await self.purge_due():
                    pass
            except Exception as error:  # noqa: BLE001 - a top loop
                reason = str(error) if isinstance(error, StoreError) else type(error).__name__
                structlog.get_logger().warning("purger failed", reason=reason)
                self._on_failure("purger")
                await asyncio.sleep(backoff.next_seconds())
            else:
                backoff.reset()
                await asyncio.sleep(self._limits.interval_seconds)

    async def due(self) -> list[IssueKey]:
        """What `purge_due` would take next."""
        if not self._limits.after_days:
            return []
        found = await self._store.issues_to_purge(self._untouched_since(), self._limits.picks_at_once)
        return [IssueKey(*key) for key in found]

    async def purge_due(self) -> list[IssueKey]:
        """One round; returns what is gone. Raises `StoreUnavailable`."""
        purged = []
        for key in await self.due():
            since = self._untouched_since()
            try:
                seq = await self._store.purge(
                    key.workspace_id, key.issue_id, by=SYSTEM, at=self._now(), untouched_since=since
                )
            except (Purged, NotPurgeable):
                continue  # touched since, or another node was faster
            structlog.get_logger().info("issue purged", workspace=key.workspace_id, issue=str(key.issue_id), seq=seq)
            purged.append(key)
            self._on_issue(key)
        return purged

    def _untouched_since(self) -> datetime:
        return self._now() - timedelta(days=self._limits.after_days)
