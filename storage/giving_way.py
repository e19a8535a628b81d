"""When a worker behind the log works: at once while nobody writes, with rests while others do, since they share the
processor with it."""

from __future__ import annotations

import asyncio
import contextlib


class GivingWay:
    """Of one worker, which calls `begin` before each piece of its work and `rest` after it. Times are in seconds.

    `settle_seconds`: gathers what is written · `times`: a rest is so many times as long as the work before it, but at
    most `longest_seconds` · `poll_seconds`: between two looks when nobody says that something was written.
    """

    def __init__(self, *, settle_seconds: float, times: float, longest_seconds: float, poll_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._times = times
        self._longest_seconds = longest_seconds
        self._poll_seconds = poll_seconds
        self._written = asyncio.Event()
        self._began_at = 0.0

    def wake(self) -> None:
        """Something was written."""
        self._written.set()

    def begin(self) -> None:
        """What is written from now on is for the next piece."""
        self._written.clear()
        self._began_at = asyncio.get_running_loop().time()

    async def rest(self, *, is_behind: bool) -> None:
        """Until the next piece; `is_behind`: there is one already."""
        worked_seconds = asyncio.get_running_loop().time() - self._began_at
        if not is_behind:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._written.wait()
        if self._written.is_set():
            rest = min(self._times * worked_seconds, self._longest_seconds)
            await asyncio.sleep(max(self._settle_seconds, rest))
