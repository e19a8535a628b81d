"""The workloads: causal, seeded, and recordings converted with every author's own replica."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from pycrdt import Doc, Text

from bench import workloads
from bench.typist import ROOT


def shown(updates: list[bytes]) -> str:
    document: Doc[Text] = Doc()
    for update in updates:
        document.apply_update(update)
    return str(document.get(ROOT.decode(), type=Text))


def test_concurrent_replicas_agree_with_a_reader_of_all_their_updates() -> None:
    workload = workloads.concurrent(200)
    assert shown(list(workload.updates)) == workload.text


def test_the_same_workload_every_time() -> None:
    assert workloads.concurrent(120).updates == workloads.concurrent(120).updates
    assert workloads.map_sets(50).updates == workloads.map_sets(50).updates


def test_deletions_leave_nothing_of_the_text() -> None:
    typed, deleted = workloads.deletions(60)
    assert shown([*typed.updates, *deleted.updates]) == ""


SEQUENTIAL = {
    "startContent": "Hello",
    "endContent": "Help",
    "txns": [{"patches": [[4, 1, ""]]}, {"patches": [[3, 1, ""], [3, 0, "p"]]}],
}
CONCURRENT = {
    "kind": "concurrent",
    "numAgents": 2,
    "endContent": "ab!",
    "txns": [
        {"agent": 0, "parents": [], "patches": [[0, 0, "a"]]},
        {"agent": 1, "parents": [0], "patches": [[1, 0, "b"]]},
        {"agent": 0, "parents": [0], "patches": [[0, 0, "-"]]},
        {"agent": 0, "parents": [1, 2], "patches": [[0, 1, ""], [2, 0, "!"]]},
    ],
}


@pytest.mark.parametrize("record", [SEQUENTIAL, CONCURRENT], ids=["sequential", "concurrent"])
def test_a_recording_becomes_updates_that_end_in_its_text(
    record: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recording.json.gz"
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    monkeypatch.setattr(workloads, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(workloads, "find_traces", lambda: {"recording": path})
    (fresh,) = workloads.recorded(None)
    (cached,) = workloads.recorded(None)
    assert shown(list(fresh.updates)) == record["endContent"] == fresh.text
    assert list(fresh.updates) == list(cached.updates)


def test_a_recording_that_does_not_end_as_it_says_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.json.gz"
    path.write_bytes(gzip.compress(json.dumps({**SEQUENTIAL, "endContent": "Hell"}).encode()))
    monkeypatch.setattr(workloads, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(workloads, "find_traces", lambda: {"broken": path})
    with pytest.raises(ValueError, match="own text"):
        workloads.recorded(None)
