"""Bytes that are nearly right: what is in the corpus, changed in a few places by hypothesis' engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hypothesis import strategies as st

MAX_BYTES: Final = 4_096
# Numbers at the edges of varUints, of lib0's values and of msgpack, text that is none, and what closes and opens JSON.
TELLING: Final = (
    *(b"\x00", b"\x01", b"\x02", b"\x7f", b"\x80", b"\xff", b"\x80\x00", b"\x80\x01", b"\xff\x7f", b"\xff\xff\x7f"),
    *(b"\xff\xff\xff\xff\x0f", b"\x80" * 5 + b"\x01", b"\xff" * 7 + b"\x0f", b"\xff" * 9 + b"\x01"),
    *(b"\x75", b"\x76", b"\x77", b"\x78", b"\x7c\x7f\xc0\x00\x00", b"\x7b\x7f\xf8" + bytes(6), b"\x7d\x7f", b"\x7e"),
    *(b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xc0", b"\xc3\x28", b'"\\ud800"', b"NaN", b"1e99", b"."),
    *(b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(b'"', b"[", b"]", b"{", b"}", b",", b":", b"\n", b"\r\n", b"%", b"/", b"\x1b["),
)
Edit = Callable[[bytes], bytes]


def nearly(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs near one or two of the seeds, or near none."""
    near = st.builds(_changed, st.sampled_from(list(seeds)), st.lists(_edits(seeds), max_size=6))
    return st.one_of(near, near, near, st.binary(max_size=64))


def _changed(seed: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        seed = edit(seed)
    return seed[:MAX_BYTES]


def _edits(seeds: Sequence[bytes]) -> st.SearchStrategy[Edit]:
    place, size = st.integers(0, MAX_BYTES), st.integers(1, 8)
    piece = st.one_of(st.sampled_from(TELLING), st.binary(min_size=1, max_size=4))
    return st.one_of(
        st.builds(_overwrite, place, piece),
        st.builds(_insert, place, piece),
        st.builds(_add, place, st.integers(1, 255)),
        st.builds(_delete, place, size),
        st.builds(_repeat, place, size, st.integers(1, 20)),
        st.builds(_splice, place, st.sampled_from(list(seeds)), place),
    )


def _overwrite(place: int, piece: bytes) -> Edit:
    return lambda data: data[: (at := _at(data, place))] + piece + data[at + len(piece) :]


def _insert(place: int, piece: bytes) -> Edit:
    return lambda data: data[: (at := _at(data, place))] + piece + data[at:]


def _add(place: int, value: int) -> Edit:
    return lambda data: (
        data[: (at := _at(data, place))] + bytes((byte + value) % 256 for byte in data[at : at + 1]) + data[at + 1 :]
    )


def _delete(place: int, size: int) -> Edit:
    return lambda data: data[: (at := _at(data, place))] + data[at + size :]


def _repeat(place: int, size: int, times: int) -> Edit:
    return lambda data: data[: (at := _at(data, place))] + data[at : at + size] * times + data[at:]


def _splice(place: int, other: bytes, from_: int) -> Edit:
    return lambda data: data[: _at(data, place)] + other[_at(other, from_) :]


def _at(data: bytes, place: int) -> int:
    return place % (len(data) + 1)
