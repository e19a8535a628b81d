"""What was found by fuzzing stays found; and the fuzzer finds what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import corpus, targets
from tests.fuzz.__main__ import fuzz
from tests.fuzz.corpus import FOLDER, inputs_of, keep
from tests.fuzz.targets import TARGETS, attempt


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_is_taken_or_refused(target: str) -> None:
    assert inputs_of(target)
    for data in inputs_of(target).values():
        attempt(target, data)


def test_every_file_of_the_corpus_has_its_target() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(TARGETS)


def test_a_defect_is_found_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same engine and edits, on a decoder that trips over one letter in a hundred inputs or so."""
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    (tmp_path / "gate.txt").write_text("an honest one: 6162636465\n")

    def trips(data: bytes) -> None:
        assert b"b\xff" not in data

    monkeypatch.setattr(targets, "TARGETS", {"gate": (trips, ValueError)})
    current = tmp_path / "input"
    with pytest.raises(AssertionError):
        fuzz("gate", 60, current)
    assert b"b\xff" in current.read_bytes()
    keep("gate", current.read_bytes())
    assert [name.split()[0] for name in inputs_of("gate")] == ["an", "found"]
