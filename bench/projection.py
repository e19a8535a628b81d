"""Projection lag: from sending an edit to reading it in the `issues` table, while many issues are edited."""

from __future__ import annotations

import asyncio
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg

from bench.cores import Cores
from bench.plan import PERCENTILES, Plan, carry_out, percentiles
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import Server, ask, cli, syncline

EDITS_PER_S = 500.0
ISSUES = 100
POLL_S = 0.01
SETTLE_S_MAX = 20.0
TARGET_P99_S = 1.0
LENGTHS = "SELECT id, length(description) AS letters FROM issues"


class Progress:
    """When each issue's row was first seen with how many letters."""

    def __init__(self, issues: Sequence[UUID]) -> None:
        self._letters: dict[UUID, list[int]] = {issue: [0] for issue in issues}
        self._times: dict[UUID, list[float]] = {issue: [0.0] for issue in issues}

    def note(self, issue: UUID, letters: int, at: float) -> None:
        """The row of `issue` has `letters` at the time `at`."""
        if issue in self._letters and letters > self._letters[issue][-1]:
            self._letters[issue].append(letters)
            self._times[issue].append(at)

    def letters(self, issue: UUID) -> int:
        """The newest length seen."""
        return self._letters[issue][-1]

    def seen_at(self, issue: UUID, clock: int) -> float | None:
        """When the letter typed at `clock` was first there; None if it never was."""
        place = bisect_right(self._letters[issue], clock)
        return self._times[issue][place] if place < len(self._times[issue]) else None


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Type into many issues by the clock and poll the table. Yields one table."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        dsn = ask(*cli("database-url", Path(folder)))
        lags, missing = asyncio.run(_lags(server, dsn, cores, scale))
    waits = percentiles(lags)
    row: dict[str, Value] = {
        "edits": len(lags) + missing,
        "never seen": missing,
        **{f"{name} ms": waits[name] * 1e3 for name in PERCENTILES},
        "target p99 ms": TARGET_P99_S * 1e3,
        "met": "yes" if missing == 0 and waits["p99"] < TARGET_P99_S else "NO",
    }
    yield Report(
        f"Projection: lag at {EDITS_PER_S:g} edits/s over {ISSUES} issues, sent to readable in SQL",
        [row],
        (f"The table is read every {POLL_S * 1e3:g} ms, which is part of the lag.",),
    )


async def _lags(server: Server, dsn: str, cores: Cores, scale: Scale) -> tuple[list[float], int]:
    """Seconds for each edit, and how many were not seen in the end."""
    issues = [uuid4() for _ in range(ISSUES)]
    plan = Plan(
        urls=[server.url(str(issue)) for issue in issues],
        readers=0,
        window=1,
        warmup_s=scale.warmup_s,
        measure_s=scale.projection_s,
        core=cores.load,
        rate=EDITS_PER_S,
        keep_times=True,
    )
    progress = Progress(issues)
    connection = await asyncpg.connect(dsn)
    try:
        load = asyncio.create_task(asyncio.to_thread(carry_out, plan))
        while not load.done():
            await _poll(connection, progress)
        sent_at = (await load).sent_at
        deadline = time.perf_counter() + SETTLE_S_MAX
        while time.perf_counter() < deadline and any(
            progress.letters(issue) < len(times) for issue, times in zip(issues, sent_at, strict=True)
        ):
            await _poll(connection, progress)
    finally:
        await connection.close()
    seen = [
        (progress.seen_at(issue, clock), sent)
        for issue, times in zip(issues, sent_at, strict=True)
        for clock, sent in enumerate(times)
    ]
    lags = [at - sent for at, sent in seen if at is not None]
    return lags, len(seen) - len(lags)


async def _poll(connection: asyncpg.Connection[asyncpg.Record], progress: Progress) -> None:
    rows = await connection.fetch(LENGTHS)
    now = time.perf_counter()
    for row in rows:
        progress.note(row["id"], row["letters"], now)
    await asyncio.sleep(POLL_S)
