"""Readers that open issues and leave again or stay: a process of its own, told by a `Visit` as JSON on stdin.

`python -m bench.visitors` prints a `Visited` as JSON when the last issue is open. With `stay` it then keeps all
connections until stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import uvloop

from bench.peer import Peer, connect

VISIT_S_MAX = 180.0


@dataclass(frozen=True, slots=True)
class Visit:
    """Open `urls`, `at_once` at a time."""

    urls: Sequence[str]
    at_once: int
    stay: bool
    core: int


@dataclass(frozen=True, slots=True)
class Visited:
    """`seconds` from the first connect to the last SyncStep2 · `received`: bytes of all SyncStep2 updates."""

    opened: int
    seconds: float
    received: int


@contextmanager
def visiting(visit: Visit) -> Iterator[Visited]:
    """Visit from another process; with `stay`, the connections last as long as the context."""
    visitors = subprocess.Popen(
        [sys.executable, "-m", "bench.visitors"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert visitors.stdin is not None
    assert visitors.stdout is not None
    with visitors:
        visitors.stdin.write(json.dumps(asdict(visit)) + "\n")
        visitors.stdin.flush()
        answer = visitors.stdout.readline()
        if not answer:
            raise ConnectionError("the visitors did not get in; what stopped them is above")
        yield Visited(**json.loads(answer))


async def go(visit: Visit) -> tuple[Visited, list[Peer]]:
    """Open everything; the peers stay connected only if they are to stay. Raises what `connect` raises."""
    places = asyncio.Semaphore(visit.at_once)
    staying: list[Peer] = []
    received = 0

    async def enter(url: str) -> None:
        nonlocal received
        async with places:
            peer = await connect(url)
            received += peer.synced.result()
            if visit.stay:
                staying.append(peer)
            else:
                peer.close()

    started = time.perf_counter()
    async with asyncio.timeout(VISIT_S_MAX), asyncio.TaskGroup() as group:
        for url in visit.urls:
            group.create_task(enter(url))
    return Visited(len(visit.urls), time.perf_counter() - started, received), staying


async def main() -> None:
    visit = Visit(**json.loads(sys.stdin.readline()))
    os.sched_setaffinity(0, {visit.core})
    visited, staying = await go(visit)
    print(json.dumps(asdict(visited)), flush=True)
    if visit.stay:
        await asyncio.to_thread(sys.stdin.read)
    for peer in staying:
        peer.close()


if __name__ == "__main__":
    uvloop.run(main())
