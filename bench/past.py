"""The past of an issue with few and with many edits: what a history, a moment, a difference, blame, a revert cost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from uuid import UUID

from bench.asking import Asker, Request, spread
from bench.cores import Cores, starting_on
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import WORKSPACE, ask, cli, syncline
from bench.stock import query, stock, until_compacted, until_projected

ROUNDS: Final = 10
OF_MOST: Final = (40, 4, 1)  # of the edits of the issue that has most of them


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Issues with few and many edits. Yields one table."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        dsn = ask(*cli("database-url", Path(folder)))
        token = ask(*cli("token", Path(folder)), "--workspace", WORKSPACE, "--user", "bench", "--role", "member")
        rows: list[dict[str, Value]] = []
        with closing(Asker(server.http, WORKSPACE, token)) as asker, starting_on(cores.load):
            for deltas in (scale.past_deltas // part for part in OF_MOST):
                [issue] = asyncio.run(stock(dsn, 1, deltas))
                asyncio.run(until_projected(dsn))
                asyncio.run(until_compacted(dsn))
                rows += _rows(asker, issue, deltas, _last(dsn))
    yield Report(
        "The past of one issue, by how many edits it has",
        rows,
        (
            f"{ROUNDS} requests of each kind, one after the other; every edit is a letter and a row of the log, the"
            " most a log can cost. It is compacted, as it is within seconds. A page of history has 50 entries; what one"
            " person types without a rest is one entry, of which a page tells 5,000 edits.",
        ),
    )


def _rows(asker: Asker, issue: UUID, deltas: int, last: int) -> Iterator[dict[str, Value]]:
    path, first, middle = f"/issues/{issue}", last - deltas + 1, last - deltas // 2
    kinds = {
        "a page of history": Request("GET", f"{path}/history"),
        "as it was after a tenth": Request("GET", f"{path}?at={first + deltas // 10}"),
        "as it was after half": Request("GET", f"{path}?at={middle}"),
        "difference of the last tenth": Request("GET", f"{path}/diff?from={last - deltas // 10}&to={last}"),
        "blame": Request("GET", f"{path}/blame"),
    }
    for name, request in kinds.items():
        yield {"edits": deltas, "what": name, **spread(asker.time([request] * ROUNDS))}
    reverts = [Request("POST", f"{path}/revert", {"to": str(middle + number)}) for number in range(ROUNDS)]
    yield {"edits": deltas, "what": "revert to about half", **spread(asker.time(reverts))}
    of_one = Request("POST", f"{path}/revert", {"since": str(middle), "actor": "bench"})
    yield {"edits": deltas, "what": "revert of one actor's half", **spread(asker.time([of_one] * ROUNDS))}


def _last(dsn: str) -> int:
    head: int = asyncio.run(query(dsn, "SELECT max(head) AS head FROM workspaces"))[0]["head"]
    return head
