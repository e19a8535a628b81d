"""What is measured is how long the loop was kept."""

from __future__ import annotations

import asyncio

import pytest

from server.loop_lag import INTERVAL_SECONDS, LoopLag
from tests.simulation.time import VirtualLoop, in_virtual_time


@in_virtual_time
async def test_whoever_keeps_the_loop_is_seen_and_whoever_lets_it_go_is_not() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    seen: list[float] = []
    running = asyncio.create_task(LoopLag(seen.append, loop.time).run())
    await asyncio.sleep(10.5 * INTERVAL_SECONDS)
    assert seen == [pytest.approx(0, abs=1e-5)] * 11
    loop._selector.now += 0.25  # as if this had taken so long
    await asyncio.sleep(10 * INTERVAL_SECONDS)
    assert max(seen) == pytest.approx(0.25 - INTERVAL_SECONDS / 2, abs=1e-3)
    assert [lag > INTERVAL_SECONDS for lag in seen].count(True) == 24  # also who would have come a little later
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    count = len(seen)
    await asyncio.sleep(1)
    assert len(seen) == count
