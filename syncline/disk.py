"""The local store beside an event loop: one thread, one call at a time, in the order in which they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from syncline.errors import ClientClosed
from syncline.local_store import Clock, LocalStore

P = ParamSpec("P")
T = TypeVar("T")


class Disk:
    """A store in a thread of its own. Only while `open` and `close` run on the same loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="syncline-store")
        self._store: LocalStore | None = None

    async def open(self, path: str, clock: Clock) -> None:
        """Open the file. Raises StoreFailed."""
        try:
            self._store = await asyncio.get_running_loop().run_in_executor(self._thread, LocalStore, path, clock)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    def call(
        self, method: Callable[Concatenate[LocalStore, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """`method` of the store, after everything called before. Cancelled before it begins, it does not run.

        Raises ClientClosed at once when the store is not open.
        """
        store = self._store
        if store is None:
            raise ClientClosed("the client is not open")
        return asyncio.get_running_loop().run_in_executor(self._thread, lambda: method(store, *args, **kwargs))

    async def page(self, method: Callable[[LocalStore, int, int], list[T]], after: int, limit: int) -> list[T]:
        """A page of a list; the last one, which is empty, once the store is closed."""
        return await self.call(method, after, limit) if self._store is not None else []

    async def close(self) -> None:
        """Finish what was called, close the file."""
        if self._store is not None:
            closing = self.call(LocalStore.close)
            self._store = None
            await closing
        self._thread.shutdown()
