"""How long whatever arrives waits for its turn of the loop: the one figure that is the server's own, whoever shares its
machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

INTERVAL_SECONDS: Final = 0.01  # libuv counts milliseconds: what is shorter than one is not seen
MOST_AT_ONCE: Final = 1_000


class LoopLag:
    """Asks to be called again and again, and tells by how many seconds that came too late. A call that is late by more
    than an interval stands for those that would have come meanwhile, too: else one long turn would count as one short
    one does (coordinated omission)."""

    def __init__(self, observe: Callable[[float], None], clock: Callable[[], float] = perf_counter) -> None:
        self._observe = observe
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        due, timer = self._clock(), loop.call_later(0, lambda: None)

        def look() -> None:
            nonlocal due, timer
            now = self._clock()
            self._tell(now - due)
            due, timer = now + INTERVAL_SECONDS, loop.call_later(INTERVAL_SECONDS, look)

        look()
        try:
            await loop.create_future()
        finally:
            timer.cancel()

    def _tell(self, lag: float) -> None:
        self._observe(max(0.0, lag))
        for missed in range(1, min(int(lag / INTERVAL_SECONDS), MOST_AT_ONCE) + 1):
            self._observe(lag - missed * INTERVAL_SECONDS)
