"""One server a file; whatever a test does to it, the honest people go on, during it and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.attacks.arena import Arena, arena
from tests.attacks.honest import People


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground() -> AsyncIterator[tuple[Arena, People]]:
    async with arena() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def attacked(ground: tuple[Arena, People]) -> AsyncIterator[Arena]:
    """The arena, for one attack."""
    made, people = ground
    over = asyncio.Event()
    talking = asyncio.create_task(people.keep_talking(over))
    yield made
    over.set()
    await talking
    await made.expect_calm(people)
