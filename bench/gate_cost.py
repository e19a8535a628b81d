"""Times the gate in this process: `python -m bench.gate_cost plain|"as installed" UPDATES` prints JSON.

`plain` takes `crdt` from its source even where compiled modules lie beside it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.plain_source import take_plain_source
from bench.workloads import Workload, deletions, map_sets, typing

if TYPE_CHECKING:
    from bench.gate import Cost
    from crdt.index import Index

ACTOR = "bench"
RESENDS = 20


class Gate:
    """The gate as it was imported here."""

    def __init__(self) -> None:
        self._gate = importlib.import_module("crdt.gate")
        self._new_index = importlib.import_module("crdt.index").Index
        self._limits = importlib.import_module("crdt.records").Limits()

    @property
    def is_compiled(self) -> bool:
        return not str(self._gate.__file__).endswith(".py")

    def time(self, updates: Sequence[bytes], index: Index | None = None) -> tuple[float, Index]:
        """Microseconds each of `updates` took, on top of `index`, and the index they left behind."""
        known = self._new_index() if index is None else index
        check, limits = self._gate.check, self._limits
        started = time.perf_counter()
        for update in updates:
            check(known, update, ACTOR, limits)
        return (time.perf_counter() - started) * 1e6 / len(updates), known


def measure(count: int) -> Cost:
    """`us` and `bytes` an update by kind, and which gate ran."""
    from crdt.update import merge

    gate = Gate()
    fields, (typed, deleted) = map_sets(count), deletions(count // 2)
    typing_us, _ = gate.time(typing(count).updates)
    map_us, _ = gate.time(fields.updates)
    _, known = gate.time(typed.updates)
    delete_us, known = gate.time(deleted.updates[: len(deleted.updates) // 2], known)
    everything = merge([*typed.updates, *deleted.updates[: len(deleted.updates) // 2]])
    resend_us, _ = gate.time([everything] * RESENDS, known)
    return {
        "compiled": gate.is_compiled,
        "us": {"typing": typing_us, "map set": map_us, "delete": delete_us, "Step2 resend": resend_us},
        "bytes": {
            "typing": _mean(typing(count)),
            "map set": _mean(fields),
            "delete": _mean(deleted),
            "Step2 resend": len(everything),
        },
    }


def _mean(workload: Workload) -> float:
    return workload.size / len(workload.updates)


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        take_plain_source()
    print(json.dumps(measure(int(sys.argv[2]))))
