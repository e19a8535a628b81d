from __future__ import annotations

import asyncio

from server.metrics import Metrics
from server.supervisor import Supervisor


async def test_a_worker_that_dies_is_counted_shown_as_down_and_started_again() -> None:
    metrics = Metrics()
    starts = 0
    seen_down: list[dict[str, str]] = []
    recovered = asyncio.Event()

    async def worker() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            asyncio.get_running_loop().call_later(0.05, lambda: seen_down.append(dict(supervisor.down)))
            raise RuntimeError("as asked")
        recovered.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(tasks, metrics)
        supervisor.keep("projector", worker)
        async with asyncio.timeout(5):
            await recovered.wait()
        assert seen_down == [{"projector": "RuntimeError"}]
        assert supervisor.down == {}
        await supervisor.stop()
    assert b'syncline_loop_failures_total{loop="projector"} 1.0' in await metrics.render()


async def test_a_worker_that_just_ends_is_down_too() -> None:
    async def worker() -> None:
        ended.set()

    ended = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(tasks, Metrics())
        supervisor.keep("relay", worker)
        await ended.wait()
        assert supervisor.down == {"relay": "ended"}
        await supervisor.stop()


async def test_stop_ends_every_worker_and_waits_for_it() -> None:
    ended: list[str] = []

    async def worker() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("worker")

    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(tasks, Metrics())
        supervisor.keep("one", worker)
        supervisor.keep("two", worker)
        await asyncio.sleep(0)
        await supervisor.stop()
        assert ended == ["worker", "worker"]
