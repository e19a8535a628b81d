"""An asyncio event loop whose time is virtual: when nothing is ready it jumps to the next timer. No sockets, no
threads, no waiting; callbacks run in the order they were scheduled, so a run depends on nothing but its own randomness.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

START = datetime(2026, 1, 1, tzinfo=UTC)


class Stuck(Exception):
    """Nothing is ready and no timer is set: the run would wait for ever."""


class _Selector:
    """Where the loop would wait for sockets, time passes instead."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise Stuck
        self.now += max(timeout, 0.0)
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop for one run. Use `run_in_virtual_time`."""

    def __init__(self) -> None:
        super().__init__()
        # The names BaseEventLoop expects of the loops built on it.
        self._selector = _Selector()
        self._clock_resolution = 1e-6  # above the precision of a float that counts a century of seconds
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda loop, context: self.failures.append(context))

    def time(self) -> float:
        """Virtual seconds since the run began."""
        return self._selector.now

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in another thread."""


class VirtualClock:
    """`server.clock.Clock` over the running loop's virtual time."""

    def now(self) -> datetime:
        """`START` plus what has passed."""
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()


def run_in_virtual_time(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, then cancel what it left. A callback or task that failed unseen fails the run."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
    if loop.failures:
        raise AssertionError(f"failed in the loop: {loop.failures}")
    return result


def in_virtual_time(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """A test that runs in virtual time: timeouts of minutes take no time, and no test can hang."""

    @functools.wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run
