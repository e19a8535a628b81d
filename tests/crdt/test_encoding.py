"""Golden bytes and refusals of the lib0 primitives, in both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.encoding import MAX_SAFE_INTEGER, Reader, write_string, write_var_uint
from crdt.errors import MALFORMED, Refused


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (2**31, "8080808008"),
        (MAX_SAFE_INTEGER, "ffffffffffffff0f"),
    ],
)
def test_var_uint_golden_bytes_both_ways(value: int, raw: str) -> None:
    out = bytearray()
    write_var_uint(out, value)
    assert out.hex() == raw
    assert Reader(bytes.fromhex(raw)).read_var_uint() == value


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "ends early"),
        ("80", "ends early"),
        ("8000", "not canonical"),
        ("ffffffffffffff1f", "beyond 53 bits"),
        ("ff" * 200, "too long"),
    ],
)
def test_var_uint_refuses(raw: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refusal:
        Reader(bytes.fromhex(raw)).read_var_uint()
    assert refusal.value.reason == MALFORMED


def test_a_count_that_the_input_cannot_hold_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(Refused, match="count beyond the end"):
        Reader(bytes.fromhex("8080808001")).read_count(1)


@pytest.mark.parametrize("raw", ["02ff", "01ff", "02c328", "03eda080"])
def test_strings_must_fit_and_be_utf8(raw: str) -> None:
    with pytest.raises(Refused):
        Reader(bytes.fromhex(raw)).read_string()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_round_trip(text: str) -> None:
    out = bytearray()
    write_string(out, text)
    reader = Reader(bytes(out))
    assert reader.read_string() == text
    assert reader.at_end()


@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_a_refusal(raw: bytes) -> None:
    for read in (Reader.read_var_uint, Reader.read_string, Reader.read_bytes, Reader.skip_var_int):
        reader = Reader(raw)
        try:
            read(reader)
        except Refused:
            continue
        assert reader.pos <= len(raw)
