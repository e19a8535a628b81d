"""Tells any number of waiters that something moved on, without a queue: who comes late sees the newest state once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Pulse:
    """A counter that can be waited for. Read `count`, look at what it guards, then wait for `after(count)`."""

    __slots__ = ("_moved", "count", "is_stopped")

    def __init__(self) -> None:
        self.count = 0
        self.is_stopped = False
        self._moved = asyncio.Event()

    def beat(self) -> None:
        """Something moved on."""
        self.count += 1
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def stop(self) -> None:
        """Nothing will move any more."""
        self.is_stopped = True
        self.beat()

    async def after(self, count: int) -> None:
        """Return as soon as the count is another than `count`, or the pulse has stopped."""
        while self.count == count and not self.is_stopped:
            await self._moved.wait()

    async def beats(self) -> AsyncIterator[None]:
        """Once now, then after every move; several moves may be one beat. Ends when the pulse stops."""
        while not self.is_stopped:
            count = self.count
            yield
            await self.after(count)
