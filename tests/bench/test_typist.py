"""The load driver's updates are what real clients send: pycrdt takes them and shows the typed text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text, merge_updates

from bench.typist import FIRST_CLIENT, ROOT, Typist, read_var_uint, var_uint, var_uint_size


def text_of(updates: list[bytes]) -> str:
    document: Doc[Text] = Doc()
    text = document.get(ROOT.decode(), type=Text)
    for update in updates:
        document.apply_update(update)
    return str(text)


@pytest.mark.parametrize("client", [1, 0xFFFF_FFFF, FIRST_CLIENT + 7])
def test_an_engine_shows_exactly_what_was_typed(client: int) -> None:
    typist = Typist(client)
    updates = [typist.type() for _ in range(300)]
    assert text_of(updates) == typist.text
    assert len(typist.text) == 300


def test_two_typists_in_one_document_both_keep_their_text() -> None:
    ana, ben = Typist(5), Typist(9)
    updates = [typist.type() for _ in range(40) for typist in (ana, ben)]
    shown = text_of(updates)
    assert sorted(shown) == sorted(ana.text + ben.text)


def test_an_update_has_the_26_bytes_the_measurements_speak_of() -> None:
    typist = Typist(FIRST_CLIENT)
    sizes = [len(typist.type()) for _ in range(2_000)]
    assert set(sizes[129:]) == {26}


def test_one_update_covers_one_clock() -> None:
    typist = Typist(FIRST_CLIENT)
    assert [typist.covered(typist.type()) for _ in range(200)] == [(n, n + 1) for n in range(200)]


@given(skipped=st.integers(0, 300), joined=st.integers(1, 150))
def test_a_merged_update_covers_all_it_was_merged_from(skipped: int, joined: int) -> None:
    typist = Typist(77)
    for _ in range(skipped):
        typist.type()
    merged = merge_updates(*[typist.type() for _ in range(joined)])
    assert typist.covered(merged) == (skipped, skipped + joined)


@pytest.mark.parametrize("skipped", [0, 1, 127, 128])
def test_what_an_engine_squashed_into_one_string_is_read_too(skipped: int) -> None:
    typist = Typist(3)
    document: Doc[Text] = Doc()
    for _ in range(skipped):
        document.apply_update(typist.type())
    known = document.get_state()
    for _ in range(50):
        document.apply_update(typist.type())
    assert typist.covered(document.get_update(known)) == (skipped, skipped + 50)


def test_the_position_of_the_update_inside_a_message_is_respected() -> None:
    typist = Typist(3)
    typist.type()
    assert typist.covered(b"\x00\x02\x0a" + typist.type(), 3) == (1, 2)


NOT_TYPED = {
    "nothing": b"\x00\x00",
    "two authors": b"\x02\x01\x05\x00\x04",
    "somebody else": b"\x01\x01\x06\x00\x84\x06\x00\x01a\x00",
    "another kind of content": b"\x01\x01\x05\x00\x88\x05\x00",
}


@pytest.mark.parametrize("update", NOT_TYPED.values(), ids=NOT_TYPED.keys())
def test_what_this_typist_did_not_send_is_not_counted(update: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        Typist(5).covered(update)


@given(st.integers(0, 2**53))
def test_integers_round_trip(value: int) -> None:
    encoded = var_uint(value)
    assert read_var_uint(encoded, 0) == (value, len(encoded))
    assert var_uint_size(value) == len(encoded)
