"""What is stored and what it costs to open: bytes an update, cold opens, memory an open issue, replay."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from bench.cores import Cores, starting_on
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import CHECKOUT, Server, ask, cli, syncline
from bench.stock import query, stock, until_projected
from bench.visitors import Visit, visiting

AT_ONCE = 16
REPLAY_S_MAX = 300.0
SIZES = "SELECT count(*) AS rows, sum(length(update)) AS bytes, pg_total_relation_size('deltas') AS size FROM deltas"


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Stock a server, start it anew, open everything. Yields one table."""
    rows: list[dict[str, Value]] = []
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        data_dir = Path(folder)
        with syncline(cores, data_dir):
            dsn = ask(*cli("database-url", data_dir))
            issues = asyncio.run(stock(dsn, scale.issues, scale.updates_per_issue))
            rows += _stored(dsn)
        with syncline(cores, data_dir) as server:
            asyncio.run(until_projected(ask(*cli("database-url", data_dir))))
            rows += _opened(server, issues, cores, scale.connections)
            rows += _replayed(data_dir, cores, scale.issues * scale.updates_per_issue)
    yield Report(
        f"Storage: {scale.issues:,} issues of {scale.updates_per_issue:,} updates, one delta an update",
        rows,
        (
            f"cold open: connect, SyncStep1, SyncStep2, {AT_ONCE} at a time, after a restart.",
            "an update a delta is the most a log can cost: under load several become one row.",
        ),
    )


def _stored(dsn: str) -> list[dict[str, Value]]:
    (sizes,) = asyncio.run(query(dsn, SIZES))
    return [
        _row("bytes an update as it came", sizes["bytes"] / sizes["rows"], "B"),
        _row("bytes an update in deltas, indexes included", sizes["size"] / sizes["rows"], "B"),
    ]


def _opened(server: Server, issues: list[UUID], cores: Cores, connections: int) -> list[dict[str, Value]]:
    """Open all issues, one of them often, all of them again, and see what each adds to the server's resident memory."""
    urls = [server.url(str(issue)) for issue in issues]
    before = server.process.memory_info().rss
    with visiting(Visit(urls, AT_ONCE, stay=True, core=cores.load)) as cold:
        opened = server.process.memory_info().rss
        with visiting(Visit([urls[0]] * connections, AT_ONCE, stay=True, core=cores.load)):
            joined = server.process.memory_info().rss
        with visiting(Visit(urls, AT_ONCE, stay=False, core=cores.load)) as warm:
            pass
    connection = (joined - opened) / connections
    issue = (opened - before) / len(issues) - connection
    return [
        _row("cold opens", cold.opened / cold.seconds, "/s"),
        _row("the same again", warm.opened / warm.seconds, "/s"),
        _row("RSS of the server, idle", before / 1e6, "MB"),
        _row("RSS a connection", connection / 1e3, "kB"),
        _row("RSS an open issue, without its connection", issue / 1e3, "kB"),
    ]


def _replayed(data_dir: Path, cores: Cores, updates: int) -> list[dict[str, Value]]:
    started = time.perf_counter()
    with starting_on(cores.server):
        subprocess.run(
            [*cli("replay", data_dir), "--from-log"],
            cwd=CHECKOUT,
            stdout=subprocess.DEVNULL,
            timeout=REPLAY_S_MAX,
            check=True,
        )
    seconds = time.perf_counter() - started
    return [_row("replay --from-log, its start included", updates / seconds, "updates/s")]


def _row(what: str, value: float, unit: str) -> dict[str, Value]:
    return {"what": what, "value": float(value), "unit": unit}
