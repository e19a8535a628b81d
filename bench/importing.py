"""Import and export: ten thousand issues from a file, the same file again, out again, and the import taken back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from bench.cores import Cores
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import CHECKOUT, syncline

IMPORT_S_MAX = 60.0
_NAMES = UUID(int=10)
_NOON = datetime(2026, 1, 1, tzinfo=UTC)
_PARAGRAPH = "The list takes ten seconds to load when there are more than a thousand entries in it. " * 8


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """A running server, and the commands beside it. Yields one table."""
    rows: list[dict[str, Value]] = []
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        data_dir, file = Path(folder) / "data", Path(folder) / "issues.ndjson"
        size = write_file(file, scale.imported)
        with syncline(cores, data_dir):
            first, told = _timed("import", str(file), data_dir=data_dir)
            rows.append(_row(f"import {scale.imported:,} issues, {size / 1e6:.0f} MB", first, IMPORT_S_MAX))
            rows.append(_row("the same file again", _timed("import", str(file), data_dir=data_dir)[0]))
            output = str(Path(folder) / "out.ndjson")
            exported = _timed("export", "--format", "ndjson", "--wait", "300", "--output", output, data_dir=data_dir)[0]
            rows.append(_row("export, and the wait for the projection", exported))
            batch = re.search(r"batch (\S+)", told)
            assert batch is not None, told
            rows.append(_row("undo", _timed("import", "undo", batch[1], data_dir=data_dir)[0]))
    yield Report(
        "Import and export: one NDJSON file, a comment an issue",
        rows,
        ("whole commands beside a running server on the same cores, start of Python included.",),
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


def _timed(*arguments: str, data_dir: Path) -> tuple[float, str]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "server.cli", *arguments, "--data-dir", str(data_dir)]
    told = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, told.stdout


def _row(what: str, seconds: float, limit: float | None = None) -> dict[str, Value]:
    return {"what": what, "seconds": round(seconds, 1), "at most": limit}
