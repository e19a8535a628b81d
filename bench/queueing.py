"""The outbox: a device that comes back with a thousand queued operations, in one request."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from bench.asking import Asker, Request
from bench.cores import Cores, starting_on
from bench.report import Report, Value, middle
from bench.scale import Scale
from bench.servers import WORKSPACE, ask, cli, syncline

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC).isoformat()


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """Batches of each kind, a few times. Yields one table."""
    size = scale.outbox_batch
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        token = ask(*cli("token", Path(folder)), "--workspace", WORKSPACE, "--user", "bench", "--role", "member")
        with closing(Asker(server.http, WORKSPACE, token)) as asker, starting_on(cores.load):
            for _ in range(scale.rounds):
                for name, took in _round(asker, size):
                    seconds.setdefault(name, []).append(took)
    rows: list[dict[str, Value]] = [
        {"batch": name, "operations": size, "seconds": middle(took), "operations/s": size / middle(took)}
        for name, took in seconds.items()
    ]
    yield Report(
        f"The outbox: {size:,} queued operations in one request",
        rows,
        (f"the median of {scale.rounds} rounds, one request at a time, each with new issues.",),
    )


def _round(asker: Asker, size: int) -> Iterator[tuple[str, float]]:
    ids = [uuid4() for _ in range(size)]
    created = [_operation("insert", one, {"title": f"Queued {number}"}) for number, one in enumerate(ids)]
    changed = [_operation("update", one, {"status": "done"}, 1) for one in ids]
    yield "new issues", _sent(asker, created, "applied")
    yield "the same again", _sent(asker, created, "duplicate")
    yield "a change of each", _sent(asker, changed, "applied")
    of_one = [_operation("update", ids[0], {"status": f"status {number}"}) for number in range(size)]
    yield "changes of one issue", _sent(asker, of_one, "applied")


def _operation(kind: str, issue: UUID, data: dict[str, Any], base: int | None = None) -> dict[str, Any]:
    row = {"id": str(uuid4()), "table_name": "issues", "record_id": str(issue), "operation": kind}
    return row | {"data": data, "created_at": _NOW, "base_version": base}


def _sent(asker: Asker, operations: list[dict[str, Any]], expected: str) -> float:
    took, told = asker.ask(Request("POST", "/sync", {"device_id": "phone", "operations": operations}))
    odd = {result["status"] for result in told["results"]} - {expected}
    if odd:
        raise ValueError(f"{expected} was expected, not {', '.join(sorted(odd))}")
    return took
