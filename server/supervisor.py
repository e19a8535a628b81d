"""Keeps the workers of a node alive: one that dies is logged, counted and started again, and readiness knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from server.metrics import Metrics
from storage.backoff import Backoff

log = structlog.get_logger()

HEALTHY_SECONDS = 30.0  # a worker that ran this long had recovered


class Supervisor:
    """Owner of the workers' tasks, in the task group it is given. `down`: why each worker that is down is so."""

    def __init__(self, tasks: asyncio.TaskGroup, metrics: Metrics) -> None:
        self.down: dict[str, str] = {}
        self._tasks = tasks
        self._metrics = metrics
        self._workers: list[asyncio.Task[None]] = []

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a worker now and again after each of its deaths."""
        self._workers.append(self._tasks.create_task(self._keep(name, run), name=name))

    async def stop(self) -> None:
        """Cancel every worker and wait until it is gone."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(first_seconds=0.2, longest_seconds=10.0)
        while True:
            started = loop.time()
            reason = "ended"
            try:
                await run()
            except Exception as error:
                reason = type(error).__name__
                log.exception("worker died", worker=name, reason=reason)
            self._metrics.loop_failures.labels(name).inc()
            if loop.time() - started > HEALTHY_SECONDS:
                backoff.reset()
            self.down[name] = reason
            await asyncio.sleep(backoff.next_seconds())
            del self.down[name]
