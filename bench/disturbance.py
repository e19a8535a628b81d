"""How much of its cores this machine really gives (shared ones are taken away without the system's noticing), and how
long its disk takes to keep a page: a commit is never faster than that."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.cores import Cores, starting_on

PIECES = 40
ADDITIONS = 20_000  # about a millisecond
QUIET = 1.3
PAUSE_S = 0.5
PAGES = 200
PAGE_BYTES = 8192


def disturbance(cores: Cores) -> float:
    """How many times longer than its best a small piece of work takes on average, on the worse of the two cores.

    1 is a quiet machine; at 2 half the time went to somebody else.
    """
    return max(_on(cores.server), _on(cores.load))


def settled(cores: Cores, patience_s: float) -> float:
    """The disturbance once it is below `QUIET`, or the last one when patience ends."""
    deadline = time.monotonic() + patience_s
    while (now := disturbance(cores)) > QUIET and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return now


def sync_ms(folder: Path) -> float:
    """The mean of `fdatasync` of one page of a log that has its size already, in milliseconds. The mean, because each
    of a run's commits waits for one."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PAGES * PAGE_BYTES))
        os.fsync(file.fileno())
        waits = []
        for page in range(PAGES):
            os.pwrite(file.fileno(), b"\1" * PAGE_BYTES, page * PAGE_BYTES)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            waits.append(time.perf_counter() - started)
    return statistics.fmean(waits) * 1e3


def _on(core: int) -> float:
    with starting_on(core):
        pieces = [_piece() for _ in range(PIECES)]
    return sum(pieces) / len(pieces) / min(pieces)


def _piece() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(ADDITIONS):
        total += number
    return time.perf_counter() - started
