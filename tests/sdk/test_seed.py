"""The beginning of an issue, and documents with halved surrogate pairs."""

from uuid import UUID

from pycrdt import Doc, Text

from crdt.document import Document
from crdt.update import merge
from crdt.writing import seed
from syncline.cuts import CutWatch, repaired
from syncline.replica import write_update

ISSUE = UUID(int=7)

# 'x😀y' by client 1; then client 2 inserts 'a' between the halves of 😀 (engine-made bytes cannot; these are Yjs's).
PAIR = bytes.fromhex("0101010004010b6465736372697074696f6e0678f09f98807900")
CUT = bytes.fromhex("01010200c401010102016100")


def test_the_same_beginning_is_the_same_bytes_in_any_order_of_labels() -> None:
    assert seed(ISSUE, "t", "d", ["b", "a"]) == seed(ISSUE, "t", "d", ["a", "b"])


def test_other_texts_and_other_issues_begin_with_another_author() -> None:
    beginnings = {seed(ISSUE, "t", "d", []), seed(ISSUE, "td", "", []), seed(UUID(int=8), "t", "d", [])}
    assert len(beginnings) == 3
    assert str(Document.load(merge(sorted(beginnings))).text("title")).count("t") == 3


def test_an_edit_that_changes_nothing_is_the_empty_update() -> None:
    assert write_update(seed(ISSUE, "t", "", []), 5, lambda shape: None) == b"\x00\x00"


def test_a_cut_pair_is_seen_and_repaired() -> None:
    watch = CutWatch(PAIR)
    assert watch.sees_cut(CUT, lambda: PAIR)
    assert Document.load(repaired(merge([PAIR, CUT]))).text("description") == "x\ufffda\ufffdy"


def test_plain_documents_are_not_indexed_for_cuts() -> None:
    doc: Doc[Text] = Doc(client_id=3)
    doc.get("title", type=Text).insert(0, "plain")
    state = doc.get_update()
    assert repaired(state) is state
    assert not CutWatch(state).sees_cut(state, lambda: state)


def test_a_pair_written_here_and_cut_by_another_is_seen() -> None:
    watch = CutWatch(b"\x00\x00")
    watch.wrote(PAIR)
    assert watch.sees_cut(CUT, lambda: PAIR)
