"""Issues that are begun twice, seen in bytes: by whoever knew of no title, and by nobody else."""

from __future__ import annotations

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map, Text

from crdt.beginnings import BEGINNING, MAX_TOLD_BYTES
from crdt.field_writes import read_any
from crdt.gate import check, fold
from crdt.index import Index
from crdt.records import Arrival, Limits, Overwrite
from crdt.update import merge
from crdt.writing import seed

LIMITS = Limits()
ISSUE = UUID(int=1)


class Writer:
    """A replica; `sent` is what it has not sent yet."""

    def __init__(self, client: int, user: str = "") -> None:
        self.user = user or f"user{client}"
        self.doc: Doc[Any] = Doc(client_id=client)
        self._sent = self.doc.get_state()

    def types(self, text: str, at: int = 0, name: str = "title") -> Writer:
        self.doc.get(name, type=Text).insert(at, text)
        return self

    def erases(self, start: int, end: int) -> Writer:
        del self.doc.get("title", type=Text)[start:end]
        return self

    def labels(self, name: str) -> Writer:
        self.doc.get("labels", type=Map)[name] = True
        return self

    def hears(self, update: bytes) -> Writer:
        self.doc.apply_update(update)
        return self

    def news(self) -> bytes:
        update = self.doc.get_update(self._sent)
        self._sent = self.doc.get_state()
        return update


def sends(index: Index, writer: Writer) -> list[Overwrite]:
    return check(index, writer.news(), writer.user, LIMITS, None, Arrival("laptop", 1_000)).overwrites


def told(found: Overwrite) -> tuple[object, object]:
    return read_any(found.standing.value), read_any(found.losing.value)


def test_a_second_beginning_is_found_with_both_contents_and_both_authors() -> None:
    index = Index()
    ana = Writer(7).types("Search is slow").types("Since Monday", name="description").labels("bug")
    assert sends(index, ana) == []
    [found] = sends(index, Writer(9).types("Suche lahmt"))
    assert found.key == BEGINNING
    assert told(found) == (
        {"title": "Search is slow", "description": "Since Monday", "labels": ["bug"]},
        {"title": "Suche lahmt", "description": "", "labels": []},
    )
    assert (found.standing.actor, found.losing.actor) == ("user7", "user9")
    assert (found.losing.device, found.losing.at_ms) == ("laptop", 1_000)


def test_who_knew_of_the_title_begins_nothing() -> None:
    index = Index()
    ana, ben = Writer(7).types("Search"), Writer(9)
    first = ana.news()
    assert check(index, first, "user7", LIMITS).overwrites == []
    ben.hears(first).news()
    assert sends(index, ben.types("The ")) == []
    assert sends(index, ben.erases(0, 10)) == []
    assert sends(index, ben.types("Anew")) == []
    assert str(ben.doc.get("title", type=Text)) == "Anew"


def test_two_who_begin_with_the_same_agree() -> None:
    index = Index()
    assert sends(index, Writer(7).types("Search")) == []
    assert sends(index, Writer(9).types("Search")) == []


def test_the_same_seed_from_two_devices_is_one_beginning_and_another_seed_is_not() -> None:
    index = Index()
    for _ in range(2):
        assert check(index, seed(ISSUE, "Search", "slow", ["bug"]), "ana", LIMITS).overwrites == []
    [found] = check(index, seed(ISSUE, "Suche", "", []), "ben", LIMITS).overwrites
    assert sorted(str(each["title"]) for each in told(found)) == ["Search", "Suche"]  # type: ignore[index]


@pytest.mark.parametrize("order", list(permutations((3, 5, 9))))
def test_the_same_beginnings_are_lost_in_whatever_order_they_come(order: tuple[int, ...]) -> None:
    index = Index()
    writers = {client: Writer(client).types(f"title {client}") for client in order}
    lost = [found.losing.client for client in order for found in sends(index, writers[client])]
    assert sorted(lost) == [5, 9]
    assert index.heads[BEGINNING].client == 3
    merged: Doc[Any] = Doc()
    for writer in writers.values():
        merged.apply_update(writer.doc.get_update())
    assert str(merged.get("title", type=Text)).startswith("title 3"), "and it is the one that comes first"


def test_the_index_keeps_the_beginning() -> None:
    index = Index()
    sends(index, Writer(7).types("Search"))
    stored = Index.decode(index.encode())
    [found] = fold(stored, Writer(9).types("Suche").news(), "user9").overwrites
    assert told(found)[0] == {"title": "Search", "description": "", "labels": []}


def test_a_refused_beginning_leaves_no_trace() -> None:
    index = Index()
    sends(index, Writer(7).types("Search"))
    before = index.encode()
    with pytest.raises(Exception, match="client"):
        check(index, Writer(9).types("Suche").news(), "eve", Limits(max_new_clients=0))
    assert index.encode() == before


def test_both_in_one_update_are_found_once() -> None:
    both = merge([Writer(7).types("Search").news(), Writer(9).types("Suche").news()])
    index = Index()
    assert [found.losing.client for found in check(index, both, "ana", LIMITS).overwrites] == [9]
    assert check(index, both, "ana", LIMITS).overwrites == []


def test_what_is_long_is_left_out_and_the_title_last() -> None:
    index = Index()
    sends(index, Writer(7).types("x" * 900).types("y" * 900, name="description").labels("bug"))
    [found] = sends(index, Writer(9).types("z" * 5_000))
    assert told(found) == ({"title": "x" * 900}, {"description": "", "labels": []})
    assert len(index.encode()) < 2 * MAX_TOLD_BYTES


@given(
    st.lists(st.tuples(st.integers(0, 100), st.text(min_size=1, max_size=6), st.booleans()), min_size=1, max_size=12)
)
def test_a_text_is_told_as_its_author_left_it(edits: list[tuple[int, str, bool]]) -> None:
    """Typed anywhere, erased in part, with whatever characters."""
    writer = Writer(9)
    text = writer.doc.get("title", type=Text)
    text.insert(0, "begun")
    for at, typed, is_erased in edits:
        characters = str(text)
        at %= len(characters) + 1
        place = len(characters[:at].encode())
        text.insert(place, typed.replace("\0", ""))
        if is_erased and len(characters) > 1:
            del text[0 : len(str(text)[:1].encode())]
    index = Index()
    sends(index, Writer(7).types("first"))
    found = sends(index, writer)
    expected = str(text)
    told = [read_any(each.losing.value) for each in found]
    assert told == ([{"title": expected, "description": "", "labels": []}] if expected else [])
