"""Edits that are made a few at a time and go to the log together."""

from __future__ import annotations

import asyncio

from server.muster import Muster
from tests.simulation.time import in_virtual_time


@in_virtual_time
async def test_all_go_in_the_moment_in_which_the_last_one_is_made() -> None:
    loop, muster = asyncio.get_running_loop(), Muster(5, at_once=2)
    busy, most, went = 0, 0, list[float]()

    async def edit(is_made: bool) -> None:
        nonlocal busy, most
        entry = await muster.enter()
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.5)
        busy -= 1
        if is_made:
            await entry.made()
            went.append(loop.time())
        entry.leave()

    await asyncio.gather(*(edit(is_made=number != 3) for number in range(5)))
    assert (most, len(went), len({round(at, 6) for at in went})) == (2, 4, 1)


@in_virtual_time
async def test_nobody_is_waited_for_for_ever() -> None:
    loop, muster = asyncio.get_running_loop(), Muster(2, at_once=2, wait_seconds=3)
    entry, _stuck = await muster.enter(), await muster.enter()
    await entry.made()
    assert loop.time() == 3
