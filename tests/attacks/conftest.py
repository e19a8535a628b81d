"""One server a file; whatever a test did to it, the two honest people go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.attacks.arena import Arena, Person, arena


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground() -> AsyncIterator[tuple[Arena, Person, Person]]:
    async with arena() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def attacked(ground: tuple[Arena, Person, Person]) -> AsyncIterator[Arena]:
    """The arena, for one attack."""
    made, ana, ben = ground
    yield made
    await made.expect_calm(ana, ben)
