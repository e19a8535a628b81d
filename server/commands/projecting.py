"""Project while a command runs: no server need be running, and one that is takes turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from server import bounds
from server.commands.workbench import Workbench
from storage.projector import Projector


@asynccontextmanager
async def projecting(bench: Workbench) -> AsyncIterator[None]:
    """Until the end of the block."""
    projector = Projector(bench.store, bench.engine, bounds.of_projector(bench.settings), now=lambda: datetime.now(UTC))
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
