"""Forgets what is known of requests that were to be done once: what became of queued operations, and what requests with
a key were answered, once it is so old that nobody sends them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random
from typing import Final, Protocol

import structlog

from storage.backoff import Backoff
from storage.errors import StoreError
from storage.store import Store

_INTERVAL_SECONDS: Final = 600.0
_LONGEST_BACKOFF_SECONDS: Final = 60.0


class Account(Protocol):
    """What grows old."""

    async def forget(self, workspace_id: int, now: datetime) -> int:
        """Delete what is too old, a bounded number; how many there were. Raises `StoreUnavailable`."""


class Sweeper:
    """Looks after all workspaces, on every node: whoever comes second finds nothing."""

    def __init__(
        self,
        store: Store,
        accounts: Sequence[Account],
        *,
        now: Callable[[], datetime],
        on_failure: Callable[[str], None] = lambda name: None,
        random: Random | None = None,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._now = now
        self._on_failure = on_failure
        self._random = random or Random()  # noqa: S311 - jitter

    async def run(self) -> None:
        """Forget until cancelled."""
        backoff = Backoff(first_seconds=1.0, longest_seconds=_LONGEST_BACKOFF_SECONDS, random=self._random)
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                structlog.get_logger().warning("sweeper failed", reason=str(error))
                self._on_failure("sweeper")
                await asyncio.sleep(backoff.next_seconds())
            else:
                backoff.reset()
                await asyncio.sleep(_INTERVAL_SECONDS)

    async def sweep(self) -> int:
        """All that is too old; how many there were. Raises `StoreUnavailable`."""
        forgotten = 0
        for workspace in await self._store.workspaces():
            for account in self._accounts:
                while some := await account.forget(workspace.id, self._now()):
                    forgotten += some
        return forgotten
