"""Recordings are read as they are or refused; without them there is an empty answer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bench.traces import ConcurrentTrace, Patch, SequentialTrace, Transaction, find_traces, load


def record(folder: Path, name: str, content: object) -> Path:
    path = folder / f"{name}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_a_folder_without_recordings_has_none(tmp_path: Path) -> None:
    assert find_traces(tmp_path) == {}
    assert find_traces(tmp_path / "absent") == {}


def test_recordings_are_found_by_name(tmp_path: Path) -> None:
    path = record(tmp_path, "duet", {})
    assert find_traces(tmp_path) == {"duet": path}


def test_a_sequential_trace_is_read(tmp_path: Path) -> None:
    path = record(tmp_path, "solo", {"startContent": "", "endContent": "b", "txns": [{"patches": [[0, 0, "b"]]}]})
    assert load(path) == SequentialTrace("solo", "", "b", ((Patch(0, 0, "b"),),))


def test_a_concurrent_trace_is_read(tmp_path: Path) -> None:
    transactions = [{"parents": [], "agent": 1, "patches": [[0, 0, "b"]]}]
    path = record(tmp_path, "duet", {"kind": "concurrent", "endContent": "b", "numAgents": 2, "txns": transactions})
    assert load(path) == ConcurrentTrace("duet", "b", 2, (Transaction(1, (), (Patch(0, 0, "b"),)),))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"endContent": ""},
        {"startContent": "", "endContent": "", "txns": [{"patches": [[0, 0]]}]},
        {"kind": "concurrent", "endContent": "", "numAgents": 2, "txns": [{"parents": [0], "agent": 0, "patches": []}]},
    ],
)
def test_something_else_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match=r"odd"):
        load(record(tmp_path, "odd", content))
