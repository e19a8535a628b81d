"""Many ask the same thing at once: when a crowd comes back, or one user with many sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class SharedReads(Generic[Key, Found]):
    """One read for all who ask while another is under way; nobody gets one that began before they asked."""

    def __init__(self, read: Callable[[Key], Awaitable[Found]]) -> None:
        self._read = read
        self._running: dict[Key, asyncio.Task[Found]] = {}
        self._next: dict[Key, asyncio.Task[Found]] = {}

    async def __call__(self, key: Key) -> Found:
        """What is found. Raises what the read raises."""
        running, following = self._running.get(key), self._next.get(key)
        if following is not None:
            shared = following
        elif running is not None:
            shared = self._next[key] = asyncio.create_task(self._run_after(running, key), name="shared read")
        else:
            shared = self._running[key] = asyncio.create_task(self._run(key), name="shared read")
        return await asyncio.shield(shared)

    async def _run_after(self, running: asyncio.Task[Found], key: Key) -> Found:
        await asyncio.wait([running])
        self._running[key] = self._next.pop(key)
        return await self._run(key)

    async def _run(self, key: Key) -> Found:
        try:
            return await self._read(key)
        finally:
            del self._running[key]
