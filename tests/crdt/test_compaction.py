"""Compaction may shrink an issue; it may never change it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map, Text

from crdt.compaction import compact
from crdt.document import Document
from crdt.gate import fold, index_of
from crdt.index import Index
from crdt.issue import read
from crdt.update import merge
from tests.crdt.honest import loaded, shown
from tests.crdt.logs import LOGS


def made(doc: Doc[Any], edits: int, edit: Any) -> list[bytes]:
    """The updates of `edits` calls of `edit(n)`."""
    updates = []
    for number in range(edits):
        before = doc.get_state()
        edit(number)
        updates.append(doc.get_update(before))
    return updates


def test_keystrokes_shrink_to_their_text() -> None:
    doc: Doc[Text] = Doc(client_id=7)
    text = doc.get("description", type=Text)
    updates = made(doc, 2_000, lambda number: text.insert(number, "x"))
    compacted = compact(merge(updates), set())
    assert compacted.kept is None
    assert len(compacted.state) < 2_100
    assert Document.load(compacted.state).text("description") == "x" * 2_000


def test_a_field_set_a_thousand_times_shrinks_to_one_value() -> None:
    doc: Doc[Map[object]] = Doc(client_id=7)
    fields = doc.get("fields", type=Map)
    updates = made(doc, 1_000, lambda number: fields.__setitem__("status", f"v{number}"))
    compacted = compact(merge(updates), set())
    assert compacted.kept is None
    assert len(compacted.state) < 100


def test_plain_objects_whose_keys_the_engine_shuffles_are_no_reason_to_keep_everything() -> None:
    doc: Doc[Map[object]] = Doc(client_id=7)
    stamps = doc.get("stamps", type=Map)
    value = {f"key {letter}": letter for letter in "abcdefgh"}
    updates = made(doc, 1_000, lambda number: stamps.__setitem__("status", {**value, "at": f"v{number}"}))
    compacted = compact(merge(updates), set())
    assert compacted.kept is None
    assert len(compacted.state) < 1_000


def test_nothing_compacts_to_nothing() -> None:
    assert compact(merge([]), set()).state == b"\x00\x00"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_merged_bytes_with_something_missing_are_kept(missing: int) -> None:
    doc: Doc[Text] = Doc(client_id=7)
    text = doc.get("title", type=Text)
    updates = made(doc, 4, lambda number: text.insert(number, "ab"))
    del updates[missing]
    merged = merge(updates)
    compacted = compact(merged, set())
    assert compacted.state == merged
    assert compacted.kept is not None


def test_a_delete_that_waits_for_its_target_is_kept() -> None:
    writer: Doc[Text] = Doc(client_id=7)
    text = writer.get("title", type=Text)
    (written,) = made(writer, 1, lambda _: text.insert(0, "abc"))
    (deleted,) = made(writer, 1, lambda _: text.__delitem__(slice(1, 2)))
    assert written != deleted
    compacted = compact(deleted, set())
    assert compacted.state == deleted


def test_bytes_that_are_not_an_update_are_kept_with_a_reason() -> None:
    compacted = compact(b"\x01\x00\x01\x00\x00", {(1, 0)})
    assert compacted.kept == "not strict: malformed"


@given(LOGS)
def test_compaction_changes_nothing_a_reader_or_a_peer_can_see(updates: list[bytes]) -> None:
    index = Index()
    for update in updates:
        fold(index, update, "ana")
    merged = merge(updates)
    compacted = compact(merged, index.cuts)
    assert compacted.kept is None
    before, after = Document.load(merged), Document.load(compacted.state)
    assert after.state_vector() == before.state_vector() == index.state_vector
    assert read(after) == read(before)
    assert index_of(compacted.state, {}).deleted == index_of(before.snapshot(), {}).deleted


@given(LOGS, st.data())
def test_a_snapshot_and_the_tail_after_any_split_are_the_whole(updates: list[bytes], data: st.DataObject) -> None:
    split = data.draw(st.integers(0, len(updates)))
    head = compact(merge(updates[:split]), set())
    assert head.kept is None
    whole = Document.load(merge(updates))
    resumed = Document.load(merge([head.state, *updates[split:]]))
    live = Document.load(head.state)
    for update in updates[split:]:
        live.apply(update)
    for document in (resumed, live):
        assert document.state_vector() == whole.state_vector()
        assert read(document) == read(whole)
        assert shown(loaded(document.snapshot())) == shown(loaded(whole.snapshot()))
