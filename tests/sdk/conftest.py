"""Every test of a loop has a deadline: what is waited for and never comes is a failure, not a pause."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

DEADLINE_SECONDS = 30.0
LONG_DEADLINE_SECONDS = 600.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and Path(__file__).parent in item.path.parents:
            is_long = item.get_closest_marker("long") is not None
            if inspect.iscoroutinefunction(item.obj):
                item.obj = with_deadline(item.obj, LONG_DEADLINE_SECONDS if is_long else DEADLINE_SECONDS)


def with_deadline(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return limited
