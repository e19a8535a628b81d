"""Documents are read value by value: what one value does to a read is that value's own business."""

from contextlib import nullcontext
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment

from crdt.document import Document, Entries, Rich, Unreadable

XML_IN_A_MAP = "010107002701016d016b03046e616d6500"
FORMAT_IN_A_MAP = "010107002601016d016b0162047472756500"


def loaded(doc: Doc) -> Document:  # type: ignore[type-arg]
    return Document.load(doc.get_update())


def test_every_plain_value_is_read_as_it_is() -> None:
    doc: Doc[Map[object]] = Doc()
    fields = doc.get("fields", type=Map)
    plain = {"null": None, "yes": True, "real": 5.5, "words": "x\0y😀", "list": [1.0, {"k": "v"}], "bytes": b"ab"}
    for key, value in plain.items():
        fields[key] = value
    entries = loaded(doc).entries("fields")
    assert {key: entries.get(key) for key in entries.names()} == plain


def test_numbers_of_javascript_arrive_as_floats() -> None:
    doc: Doc[Map[object]] = Doc()
    doc.get("fields", type=Map)["count"] = 5
    assert isinstance(loaded(doc).entries("fields").get("count"), float)


def test_nested_texts_and_maps_are_read_and_other_types_are_not() -> None:
    doc: Doc[Map[object]] = Doc()
    fields = doc.get("fields", type=Map)
    fields["text"] = Text("body")
    fields["map"] = Map({"k": "v"})
    fields["list"] = Array(["😀"])  # reading it whole is what hangs the engine
    fields["doc"] = Doc()
    entries = loaded(doc).entries("fields")
    text, nested = entries.get("text"), entries.get("map")
    assert isinstance(text, Rich)
    assert text.text == "body"
    assert isinstance(nested, Entries)
    assert nested.get("k") == "v"
    for key in ("list", "doc"):
        with pytest.raises(Unreadable):
            entries.get(key)


@pytest.mark.parametrize(("poison", "raises"), [(XML_IN_A_MAP, True), (FORMAT_IN_A_MAP, False)])
def test_a_poisoned_key_leaves_the_others_readable(poison: str, raises: bool) -> None:
    document = Document.load(bytes.fromhex(poison))
    doc: Doc[Map[object]] = Doc(client_id=99)
    doc.get("m", type=Map)["healthy"] = "yes"
    document.apply(doc.get_update())
    entries = document.entries("m")
    with pytest.raises(Unreadable) if raises else nullcontext():
        assert entries.get("k") is None
    assert entries.get("healthy") == "yes"


def test_a_missing_key_reads_as_nothing() -> None:
    assert Document().entries("fields").get("status") is None
    assert Document().text("title") == ""


def test_roots_of_another_type_read_as_empty() -> None:
    doc: Doc[Any] = Doc()
    doc.get("fields", type=Text).insert(0, "not a map")
    doc.get("title", type=Array).append("ab😀")
    doc.get("description", type=XmlFragment).children.append(XmlElement("p"))
    document = loaded(doc)
    assert document.entries("fields").names() == []
    assert document.text("title") == ""
    assert document.text("description") == ""


def test_state_vector_and_snapshot_are_of_what_is_integrated() -> None:
    doc: Doc[Text] = Doc(client_id=7)
    doc.get("title", type=Text).insert(0, "abc")
    document = loaded(doc)
    assert document.state_vector() == {7: 3}
    assert Document.load(document.snapshot()).text("title") == "abc"
    assert Document().state_vector() == {}


def test_reading_leaves_no_trace_in_the_document() -> None:
    doc: Doc[Map[object]] = Doc(client_id=7)
    doc.get("fields", type=Map)["status"] = "open"
    document = loaded(doc)
    before = document.snapshot()
    document.text("fields")
    document.entries("never seen").names()
    assert document.snapshot() == before


def test_bytes_the_engine_cannot_decode_are_an_ordinary_error() -> None:
    with pytest.raises(ValueError, match="decode"):
        Document.load(b"\x01\x01")
