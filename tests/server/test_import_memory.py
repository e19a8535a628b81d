"""Memory of `syncline import`: it does not grow with the file, whatever makes the file long."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.postgres import PostgresStore

# Of the process with the rooms alone: what its program has needed since it began.
PROGRAM = """
import sys
from server.cli import main
try:
    main()
finally:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(f"peak {peak}", file=sys.stderr)
"""
CHECKOUT = Path(__file__).parents[2]


def long_issues(file: Path, count: int) -> None:
    """An issue a line, of 30 kB."""
    with file.open("w") as opened:
        for number in range(count):
            opened.write(
                json.dumps({"id": str(number), "title": f"Slow {number}", "description": "ten " * 7_500}) + "\n"
            )


def many_rows(file: Path, count: int) -> None:
    """A row an issue, without ids, each with a status of its own."""
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["title", "status"])
        rows.writerows([f"Slow {number}", f"waits for {number}"] for number in range(count))


def peak_kib(dsn: str, file: Path, *options: str) -> int:
    """Of an import."""
    arguments = ["import", str(file), "--database-url", dsn, *options]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.rsplit("peak ", 1)[1])


@pytest.mark.long(seconds=25)
@pytest.mark.parametrize(
    ("write", "counts", "options", "growth_kib_max"),
    [
        # Issues stayed open for a minute, up to 512 MB of them: 60 MB more.
        pytest.param(long_issues, (600, 2_000), (), 24 * 1024, id="long issues"),
        # What had come in was kept as Python objects: 20 MB more.
        pytest.param(many_rows, (5_000, 45_000), ("--dry-run",), 8 * 1024, id="many rows"),
    ],
)
async def test_it_does_not_grow_with_the_file(
    store: PostgresStore,
    dsn: str,
    tmp_path: Path,
    write: Callable[[Path, int], None],
    counts: tuple[int, int],
    options: tuple[str, ...],
    growth_kib_max: int,
) -> None:
    await store.create_workspace("main", "Main")
    peaks = []
    for count in counts:
        write(file := tmp_path / f"{count} issues", count)
        peaks.append(peak_kib(dsn, file, *options))
    assert peaks[1] - peaks[0] < growth_kib_max, peaks
