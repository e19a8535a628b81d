"""A crowd comes in one by one, and others have their turns between them."""

from __future__ import annotations

import asyncio
from itertools import count

from server.websocket.threshold import TURNS_APART, Threshold
from tests.simulation.time import in_virtual_time


@in_virtual_time
async def test_a_crowd_enters_in_order_with_turns_between() -> None:
    threshold, turns, entered = Threshold(), count(), list[tuple[str, int]]()
    now = next(turns)
    for name in "abc":
        threshold.cross(lambda name=name: entered.append((name, now)))  # type: ignore[misc]
    while now < 3 * TURNS_APART:
        await asyncio.sleep(0)
        now = next(turns)
    assert entered == [("a", 0), ("b", TURNS_APART - 1), ("c", 2 * TURNS_APART - 1)]


@in_virtual_time
async def test_whoever_comes_alone_does_not_wait() -> None:
    threshold, entered = Threshold(), list[int]()
    for number in range(3):
        threshold.cross(lambda number=number: entered.append(number))  # type: ignore[misc]
        assert entered == list(range(number + 1))
        await asyncio.sleep(1)


@in_virtual_time
async def test_requests_wait_their_turn_and_who_gave_up_keeps_nobody_waiting() -> None:
    threshold, begun = Threshold(), list[str]()

    async def request(name: str) -> None:
        await threshold.crossed()
        begun.append(name)

    requests = [asyncio.create_task(request(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert begun == ["a"]
    requests[1].cancel()
    await asyncio.wait(requests)
    assert begun == ["a", "c"]


@in_virtual_time
async def test_whoever_fails_keeps_nobody_waiting() -> None:
    threshold, entered = Threshold(), list[str]()

    def fail() -> None:
        raise ConnectionError

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: entered.append(type(context["exception"]).__name__))
    threshold.cross(lambda: entered.append("first"))
    threshold.cross(fail)
    threshold.cross(lambda: entered.append("last"))
    await asyncio.sleep(1)
    assert entered == ["first", "ConnectionError", "last"]
