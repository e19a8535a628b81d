"""Byte functions: merging, state vectors, the repair of cut surrogate pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Text

from crdt.errors import Refused
from crdt.trim import utf16_tail
from crdt.update import (
    EMPTY_STATE_VECTOR,
    EMPTY_UPDATE,
    decode_state_vector,
    diff,
    encode_state_vector,
    merge,
    repair_cuts,
)
from tests.crdt.honest import STEPS, loaded, program, shown


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def test_merging_nothing_is_the_empty_update() -> None:
    assert merge([]) == EMPTY_UPDATE


@given(STEPS)
def test_merging_in_groups_says_what_all_of_them_say(steps: list[tuple[int, int, int, int]]) -> None:
    clients = program(steps)
    updates = [update for client in clients for update in client.made] * 3
    assert shown(loaded(merge(updates))) == clients[0].shown()


def test_merging_more_than_one_group() -> None:
    typed = [
        raw(f"0101 07 {clock:02x} {'04 01 01 74' if not clock else f'84 07 {clock - 1:02x}'} 01 61 00")
        for clock in range(120)
    ]
    assert str(loaded(merge(typed)).get("t", type=Text)) == "a" * 120


def test_a_peer_that_has_everything_lacks_nothing() -> None:
    typed = raw("0101 07 00 04 01 01 74 01 61 00")
    assert diff(typed, encode_state_vector({7: 1})) == EMPTY_UPDATE
    assert diff(typed, EMPTY_STATE_VECTOR) == typed


@pytest.mark.parametrize(
    ("clocks", "encoded"), [({}, "00"), ({1: 0}, "00"), ({1: 2}, "010102"), ({1: 2, 300: 5}, "02ac02050102")]
)
def test_state_vectors_golden_bytes(clocks: dict[int, int], encoded: str) -> None:
    assert encode_state_vector(clocks).hex() == encoded
    assert decode_state_vector(bytes.fromhex(encoded)) == {client: clock for client, clock in clocks.items() if clock}


@pytest.mark.parametrize("encoded", ["", "8080808001", "0101", "01010200", "0201020103", "ff" * 300])
def test_unsound_state_vectors_are_refused(encoded: str) -> None:
    with pytest.raises(Refused):
        decode_state_vector(bytes.fromhex(encoded))


@given(st.dictionaries(st.integers(0, 2**53 - 1), st.integers(1, 2**31), max_size=20))
def test_state_vectors_round_trip(clocks: dict[int, int]) -> None:
    assert decode_state_vector(encode_state_vector(clocks)) == clocks


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.integers(0, 24))
def test_the_tail_of_a_text_counts_as_javascript_does(text: str, offset: int) -> None:
    units = text.encode("utf-16-le")[offset * 2 :]
    expected = units.decode("utf-16-le", "replace") if len(units) % 2 == 0 else ""
    tail = utf16_tail(text, offset)
    assert len(tail.encode("utf-16-le")) == len(units)
    assert tail.replace("\ufffd", "") == expected.replace("\ufffd", "")


def test_a_cut_pair_shows_as_two_replacement_characters_and_clocks_stay() -> None:
    """x😀y with "a" typed between the halves: what Yjs shows, and what pycrdt alone would not."""
    merged = merge([raw("0101 07 00 04 01 01 74 06 78 f09f9880 79 00"), raw("0101 09 00 c4 07 01 07 02 01 61 00")])
    repaired = loaded(repair_cuts(merged, {(7, 1)}))
    assert str(repaired.get("t", type=Text)) == "x\ufffda\ufffdy"
    assert decode_state_vector(repaired.get_state()) == {7: 4, 9: 1}
    assert decode_state_vector(loaded(repaired.get_update()).get_state()) == {7: 4, 9: 1}


def test_nothing_to_repair_leaves_the_bytes_alone() -> None:
    typed = raw("0101 07 00 04 01 01 74 04 f09f9880 00")
    assert repair_cuts(typed, set()) is typed
