"""The log by itself: one commit after the other, nothing else to do. What no relay that commits first can exceed."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from statistics import median
from uuid import uuid4

import uvloop

from bench.cores import Cores, starting_on
from bench.report import Report, Value
from bench.servers import WORKSPACE
from bench.stock import opened_store
from bench.typist import FIRST_CLIENT, Typist
from storage.store import NewDelta, Store

BATCHES = (1, 5, 100)  # deltas a commit: one writer; ten busy documents, of which half commit; two hundred
WARM_UP = 20
GRACE_S = 60.0


def measure_appends(dsn: str, cores: Cores, seconds: float) -> Report:
    """Commits a second by their size, from the core of the server. Postgres keeps the core it has."""
    with starting_on(cores.server):
        rows = uvloop.run(_sizes(dsn, seconds))
    return Report(
        "The log by itself: commits one after the other, each a round trip and a write to the disk",
        rows,
        (
            f"Core {cores.server}: one writer. Core {cores.load}: Postgres, and the projection that follows.",
            "10×1 w8 commits about five deltas of eight updates at a time: the log alone takes 40 × commits/s of them.",
        ),
    )


async def _sizes(dsn: str, seconds: float) -> list[dict[str, Value]]:
    async with opened_store(dsn) as store:
        workspace = await store.workspace(WORKSPACE)
        if workspace is None:
            raise LookupError(f"no workspace {WORKSPACE}")
        return [await _row(store, workspace.id, deltas, seconds) for deltas in BATCHES]


async def _row(store: Store, workspace_id: int, deltas: int, seconds: float) -> dict[str, Value]:
    waits = await commits(store, workspace_id, deltas, seconds)
    return {
        "deltas a commit": deltas,
        "commits/s": len(waits) / sum(waits),
        "deltas/s": deltas * len(waits) / sum(waits),
        "median ms": 1_000 * median(waits),
    }


async def commits(store: Store, workspace_id: int, deltas: int, seconds: float) -> list[float]:
    """Type a letter into each of `deltas` new issues, commit, and again. How long each commit took, in seconds."""
    authors = [(uuid4(), Typist(FIRST_CLIENT)) for _ in range(deltas)]
    waits: list[float] = []
    begun = time.perf_counter()
    async with asyncio.timeout(seconds + GRACE_S):
        while len(waits) < WARM_UP or time.perf_counter() - begun < seconds:
            now = datetime.now(UTC)
            batch = [NewDelta(workspace_id, issue, author.type(), "bench", None, now) for issue, author in authors]
            sent = time.perf_counter()
            await store.append(batch)
            waits.append(time.perf_counter() - sent)
    return waits[WARM_UP - 1 :]
