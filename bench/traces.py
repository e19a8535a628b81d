"""Recorded editing sessions of real people, for the benchmarks and the demo.

The recordings are not part of this repository: without them callers fall back to seeded sessions and say so.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED_TRACES = Path(__file__).resolve().parents[2] / "shared" / "data"
SUFFIX = ".json.gz"


@dataclass(frozen=True, slots=True)
class Patch:
    """At `position` (in code points) `deleted` code points go and `inserted` comes."""

    position: int
    deleted: int
    inserted: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one agent did at once, on the merge of the states its `parents` (indexes) left behind."""

    agent: int
    parents: tuple[int, ...]
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class SequentialTrace:
    """One author: each entry of `transactions` applies to the text the one before it left."""

    name: str
    start_content: str
    end_content: str
    transactions: tuple[tuple[Patch, ...], ...]


@dataclass(frozen=True, slots=True)
class ConcurrentTrace:
    """Several authors, each with a replica: parents come before their children, and the text begins empty."""

    name: str
    end_content: str
    agents: int
    transactions: tuple[Transaction, ...]


def find_traces(folder: Path | None = None) -> dict[str, Path]:
    """The recordings in `folder` by name; by default those beside this checkout. Empty when there are none."""
    directory = SHARED_TRACES if folder is None else folder
    return {path.name.removesuffix(SUFFIX): path for path in sorted(directory.glob(f"*{SUFFIX}"))}


def load(path: Path) -> SequentialTrace | ConcurrentTrace:
    """Read one gzipped recording. Raises OSError for an unreadable file and ValueError for one of another format."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        record = json.load(file)
    name = path.name.removesuffix(SUFFIX)
    try:
        return _concurrent(name, record) if record.get("kind") == "concurrent" else _sequential(name, record)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not an editing trace") from error


def _sequential(name: str, record: Mapping[str, Any]) -> SequentialTrace:
    return SequentialTrace(
        name=name,
        start_content=record["startContent"],
        end_content=record["endContent"],
        transactions=tuple(_patches(entry) for entry in record["txns"]),
    )


def _concurrent(name: str, record: Mapping[str, Any]) -> ConcurrentTrace:
    transactions = tuple(
        Transaction(agent=entry["agent"], parents=tuple(entry["parents"]), patches=_patches(entry))
        for entry in record["txns"]
    )
    for index, transaction in enumerate(transactions):
        if any(parent >= index for parent in transaction.parents):
            raise ValueError(f"{name}: transaction {index} comes before one of its parents")
    return ConcurrentTrace(name, record["endContent"], record["numAgents"], transactions)


def _patches(entry: Mapping[str, Any]) -> tuple[Patch, ...]:
    return tuple(Patch(*patch) for patch in entry["patches"])
