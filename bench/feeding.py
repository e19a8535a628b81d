"""What it takes to come to a workspace: for the first time, and after a while away."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from bench.cores import Cores
from bench.followers import Arrived, Coming, come
from bench.native import host_of
from bench.report import Report, Value, middle
from bench.resident import forget_peak, peak_mb, resident_mb
from bench.scale import Scale
from bench.servers import Server, ask, cli, syncline
from bench.stock import opened_store, stock_whole, type_into, until_projected
from storage.store import Workspace

LETTERS_EACH: Final = 4  # typed into an issue while the client is away: so many deltas, one entry of the feed
CATCH_UPS: Final = 6  # even: they take turns in going first
TARGET: Final = 1.5


@dataclass(frozen=True, slots=True)
class Stocked:
    """A workspace as its client left it, and how to come back: `frames` reads, `sdk` has a local store."""

    workspace: Workspace
    issues: int
    frames: Coming
    sdk: Coming


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Yields a table of first loads and one of catch-ups."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        dsn = ask(*cli("database-url", Path(folder)))
        sizes = (scale.feed_issues, scale.feed_issues // 10)
        both = [_stocked(dsn, size, Path(folder), server, cores) for size in sizes]
        stocked = [one for one, _ in both]
        asyncio.run(until_projected(dsn))
        yield _first_loads(stocked, server)
        for one, ids in both:
            asyncio.run(_change(dsn, one, ids[:: one.issues // scale.feed_changes]))
        asyncio.run(until_projected(dsn))
        yield _catch_ups(stocked, scale)


def _stocked(dsn: str, size: int, folder: Path, server: Server, cores: Cores) -> tuple[Stocked, list[UUID]]:
    slug = f"of-{size}"
    workspace, ids = asyncio.run(stock_whole(dsn, slug, size))
    token = ask(*cli("token", folder), "--workspace", slug, "--user", "bench", "--role", "member")
    first = Coming(host_of(server), slug, token, cores.load)
    back = replace(first, epoch=str(workspace.epoch), cursor=workspace.head)
    return Stocked(workspace, size, back, replace(first, store=str(folder / f"{slug}.db"))), ids


async def _change(dsn: str, stocked: Stocked, ids: Sequence[UUID]) -> None:
    async with opened_store(dsn) as store:
        await type_into(store, stocked.workspace, ids, LETTERS_EACH)


def _first_loads(stocked: Sequence[Stocked], server: Server) -> Report:
    rows = []
    for one in stocked:
        for name, coming in (("frames only", replace(one.frames, epoch=None, cursor=None)), ("SDK", one.sdk)):
            forget_peak(server.process.pid)
            before = resident_mb(server.process.pid)
            arrived = _whole(come(coming), one.issues)
            rows.append(_first_row(name, arrived, before, peak_mb(server.process.pid)))
    return Report(
        "First load: a client that has nothing, until it is live",
        rows,
        (
            "frames only: every frame is decoded and nothing kept. SDK: into a new local store on disk.",
            "wire: frames as they came, compressed. content: the updates in them.",
            "RSS: resident memory before, and the most while it lasted.",
        ),
    )


def _whole(arrived: Arrived, issues: int) -> Arrived:
    if arrived.issues != issues:
        raise ValueError(f"{arrived.issues} issues came of {issues}")
    return arrived


def _first_row(name: str, arrived: Arrived, server_before: float, server_peak: float) -> dict[str, Value]:
    return {
        "issues": arrived.issues,
        "client": name,
        "seconds": arrived.seconds,
        "wire MB": arrived.wire_bytes / 1e6 or None,
        "content MB": arrived.content_bytes / 1e6 or None,
        "server RSS MB": server_before,
        "server peak MB": server_peak,
        "client RSS MB": arrived.rss_mb,
        "client peak MB": arrived.peak_mb,
    }


def _catch_ups(stocked: Sequence[Stocked], scale: Scale) -> Report:
    """Interleaved: the big workspace, the small one, and back. The SDK's store moves on, so it comes back once."""
    frames: list[list[Arrived]] = [[] for _ in stocked]
    for number in range(CATCH_UPS):
        in_turn = list(zip(stocked, frames, strict=True))
        for one, runs in in_turn if number % 2 else reversed(in_turn):
            runs.append(_whole(come(one.frames), scale.feed_changes))
    sdk = [[_whole(come(one.sdk), one.issues)] for one in stocked]
    sizes = [one.issues for one in stocked]
    return Report(
        f"Catch-up: {scale.feed_changes:,} issues changed while the client was away, {LETTERS_EACH} deltas each",
        [catch_up_row("frames only", sizes, frames), catch_up_row("SDK", sizes, sdk)],
        (f"frames only: medians of {CATCH_UPS} interleaved rounds. SDK: one, with what opening its store takes.",),
    )


def catch_up_row(name: str, sizes: Sequence[int], runs: Sequence[Sequence[Arrived]]) -> dict[str, Value]:
    """The big workspace (first) beside the small one, each round compared with itself."""
    times = middle(big.seconds / small.seconds for big, small in zip(*runs, strict=True))
    told = all(run.wire_bytes for own in runs for run in own)
    volume = middle(big.wire_bytes / small.wire_bytes for big, small in zip(*runs, strict=True)) if told else None
    row: dict[str, Value] = {"client": name}
    for size, own in zip(sizes, runs, strict=True):
        row[f"{size:,} issues: ms"] = middle(run.seconds for run in own) * 1e3
        row[f"{size:,} issues: kB"] = middle(run.wire_bytes for run in own) / 1e3 if told else None
    met = "yes" if max(times, volume or 0.0) <= TARGET else "NO"
    return row | {"time ratio": times, "bytes ratio": volume, "at most": TARGET, "met": met}
