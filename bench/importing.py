"""Import and export: ten thousand issues from a file, the same file again, out again, and the import taken back; what
each takes of time and memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from bench.cores import Cores
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import CHECKOUT, syncline

IMPORT_S_MAX = 60.0
LONGER = 3  # times, the file that is only looked at
_NAMES = UUID(int=10)
_NOON = datetime(2026, 1, 1, tzinfo=UTC)
_PARAGRAPH = "The list takes ten seconds to load when there are more than a thousand entries in it. " * 8

# What a process needed since its program began: its parent would count what it has itself.
_PROGRAM = """
import os, sys
from bench.resident import peak_mb
from server.cli import main
try:
    main()
finally:
    print(peak_mb(os.getpid()), file=sys.stderr)
"""


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """A running server, and the commands beside it. Yields one table."""
    rows: list[dict[str, Value]] = []
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        data_dir, file, long = Path(folder) / "data", Path(folder) / "issues.ndjson", Path(folder) / "long.ndjson"
        size, long_size = write_file(file, scale.imported), write_file(long, LONGER * scale.imported)
        with syncline(cores, data_dir):
            first = _run("import", str(file), data_dir=data_dir)
            rows.append(_row(f"import {scale.imported:,} issues, {size / 1e6:.0f} MB", first, IMPORT_S_MAX))
            rows.append(_row("the same file again", _run("import", str(file), data_dir=data_dir)))
            looked = _run("import", "--dry-run", str(long), data_dir=data_dir)
            rows.append(_row(f"look at {LONGER * scale.imported:,} issues, {long_size / 1e6:.0f} MB (dry run)", looked))
            output = str(Path(folder) / "out.ndjson")
            exported = _run("export", "--format", "ndjson", "--wait", "300", "--output", output, data_dir=data_dir)
            rows.append(_row("export, and the wait for the projection", exported))
            batch = re.search(r"batch (\S+)", first.told)
            assert batch is not None, first.told
            rows.append(_row("undo", _run("import", "undo", batch[1], data_dir=data_dir)))
    yield Report(
        "Import and export: one NDJSON file, a comment an issue",
        rows,
        (
            "whole commands beside a running server on the same cores, start of Python included.",
            "peak MB: the most resident memory that the command ever had, without its engines.",
        ),
    )


def write_file(file: Path, issues: int) -> int:
    """An export of another server; its bytes."""
    with file.open("w") as opened:
        for number in range(issues):
            at = (_NOON + timedelta(minutes=number)).isoformat()
            comment = {"id": "1", "author": "ben", "body": "Me too.", "createdAt": at}
            record = {
                "id": str(uuid5(_NAMES, str(number))),
                "title": f"Slow list {number}",
                "description": _PARAGRAPH,
                "status": ("pending", "in_progress", "done")[number % 3],
                "labels": ["bug", f"team {number % 10}"],
                "createdAt": at,
                "createdBy": "ana",
                "comments": [comment],
            }
            opened.write(json.dumps(record) + "\n")
    return file.stat().st_size


@dataclass(frozen=True, slots=True)
class _Ran:
    """A command that is done. `told`: what it printed."""

    seconds: float
    peak_mb: float
    told: str


def _run(*arguments: str, data_dir: Path) -> _Ran:
    started = time.perf_counter()
    command = [sys.executable, "-c", _PROGRAM, *arguments, "--data-dir", str(data_dir)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return _Ran(time.perf_counter() - started, float(done.stderr.split()[-1]), done.stdout)


def _row(what: str, ran: _Ran, limit: float | None = None) -> dict[str, Value]:
    return {"what": what, "seconds": round(ran.seconds, 1), "at most": limit, "peak MB": round(ran.peak_mb)}
