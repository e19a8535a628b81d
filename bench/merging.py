"""Merge throughput: the gate and the log's fold, against the bare engine as the limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pycrdt import Doc, Text

from bench.cores import Cores, starting_on
from bench.report import Report, Value, middle
from bench.scale import Scale
from bench.typist import ROOT
from bench.workloads import Workload, concurrent, map_sets, recorded, typing
from crdt import gate, update
from crdt.index import Index
from crdt.records import Limits

ACTOR = "bench"
ENOUGH_UPDATES = 100_000  # a workload of so many is its own repetition
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds each way of merging the same updates took."""

    gate: float
    fold: float
    document: float
    bytes_only: float


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """One row a workload. Yields one table."""
    workloads = [typing(scale.updates), map_sets(scale.updates), concurrent(scale.updates)]
    recordings = recorded(scale.trace_transactions)
    with starting_on(cores.server):
        rows = [_row(workload, _rounds(workload, scale)) for workload in [*workloads, *recordings]]
    yield Report(
        "Merging: updates/s through the gate, through gate and fold of the log, and through the bare engine",
        rows,
        (
            "gate + fold: crdt.gate.check of each update, then crdt.update.merge of what it let through.",
            "Doc: pycrdt applies each update to a live document, unchecked. merge: pycrdt's merge_updates alone.",
            "of Doc: gate + fold beside a live document. Both ways must end in the same text, or the run fails.",
            *([] if recordings else ["The recorded sessions are not on this machine: their rows are missing."]),
        ),
    )


def _rounds(workload: Workload, scale: Scale) -> int:
    return 1 if len(workload.updates) >= ENOUGH_UPDATES else scale.rounds


def _row(workload: Workload, rounds: int) -> dict[str, Value]:
    timings = [time_one(workload) for _ in range(rounds)]
    count, megabytes = len(workload.updates), workload.size / 1e6
    whole = middle(timing.gate + timing.fold for timing in timings)
    document = middle(timing.document for timing in timings)
    return {
        "workload": workload.name,
        "updates": count,
        "bytes/update": workload.size / count,
        "gate": count / middle(timing.gate for timing in timings),
        "gate + fold": count / whole,
        "MB/s": megabytes / whole,
        "Doc": count / document,
        "Doc MB/s": megabytes / document,
        "merge": count / middle(timing.bytes_only for timing in timings),
        "of Doc": document / whole,
    }


def time_one(workload: Workload) -> Timing:
    """Merge a workload in every way. Raises ValueError when two of them disagree."""
    accepted, gate_s = _timed(lambda: _gated(workload.updates))
    folded, fold_s = _timed(lambda: update.merge(accepted))
    shown, document_s = _timed(lambda: _applied(workload.updates))
    _, merge_s = _timed(lambda: update.merge(workload.updates))
    if _applied([folded]) != shown or workload.text not in (None, shown):
        raise ValueError(f"{workload.name}: the gated log and the engine show different texts")
    return Timing(gate=gate_s, fold=fold_s, document=document_s, bytes_only=merge_s)


def _gated(updates: Sequence[bytes]) -> list[bytes]:
    index, limits, accepted = Index(), Limits(), []
    for data in updates:
        verdict = gate.check(index, data, ACTOR, limits)
        if verdict.gap:
            raise ValueError("a gap in a causal order")
        if verdict.update:  # two replicas may have deleted the same letter
            accepted.append(verdict.update)
    return accepted


def _applied(updates: Sequence[bytes]) -> str:
    document: Doc[Text] = Doc()
    for data in updates:
        document.apply_update(data)
    return str(document.get(ROOT.decode(), type=Text))


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
