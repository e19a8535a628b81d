"""The native codec: golden vectors in both directions, and nothing but `Refused` on whatever else comes."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.errors import MALFORMED, REASONS, TOO_LARGE, Refused
from crdt.native import Awareness, Frame, Push, PushEntry
from crdt.native_codec import FrameLimits, decode_client, decode_server, encode
from crdt.native_entries import (
    CONFLICT,
    read_conflict,
    read_entries,
    read_row,
    unpack_body,
    write_body,
    write_conflict,
    write_entry,
    write_row,
)
from tests.crdt.native_vectors import entry_of, frame_of, load

Result = TypeVar("Result")

ISSUE = UUID(int=7)
DECODERS: dict[str, list[Callable[[bytes], Frame]]] = {
    "client": [decode_client],
    "server": [decode_server],
    "both": [decode_client, decode_server],
}


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@named(load("native_frames"))
def test_a_golden_frame_is_written_and_read(vector: dict[str, Any]) -> None:
    frame = frame_of(vector)
    assert encode(frame).hex() == vector["hex"]
    for decode in DECODERS[vector["from"]]:
        assert decode(bytes.fromhex(vector["hex"])) == frame


@named(load("native_refused"))
def test_a_bad_frame_is_refused_for_the_right_reason(vector: dict[str, Any]) -> None:
    for decode in DECODERS[vector["from"]]:
        with pytest.raises(Refused) as refused:
            decode(bytes.fromhex(vector["hex"]))
        assert refused.value.reason == vector["reason"]


@named(load("native_entries"))
def test_a_golden_body_is_written_and_read(vector: dict[str, Any]) -> None:
    entries = [entry_of(described) for described in vector["entries"]]
    body = bytes.fromhex(vector["body"])
    assert write_body(map(write_entry, entries), len(entries)) == body
    assert read_entries(body, is_packed=False) == entries
    assert read_entries(bytes.fromhex(vector["packed"]), is_packed=True) == entries
    if "rows" in vector:
        assert [read_row(entry.payload) for entry in entries] == vector["rows"]
        assert [write_row(row) if row else b"" for row in vector["rows"]] == [entry.payload for entry in entries]
    if "conflicts" in vector:
        told = [read_conflict(entry.payload) if entry.kind == CONFLICT else None for entry in entries]
        assert told == vector["conflicts"]
        assert [write_conflict(each) if each else b"" for each in told] == [entry.payload for entry in entries]


def test_the_vectors_name_every_frame() -> None:
    codes = {bytes.fromhex(vector["hex"])[1] for vector in load("native_frames")}
    assert codes == {1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 32, 33, 34, 35, 36, 37, 38, 48, 49, 50}


def test_a_frame_above_the_bound_is_too_large() -> None:
    limits = FrameLimits(max_frame_bytes=100, max_entries=2)
    with pytest.raises(Refused, match=TOO_LARGE):
        decode_client(encode(Awareness(ISSUE, b"x" * 100)), limits)
    with pytest.raises(Refused, match=TOO_LARGE):
        decode_client(encode(Push((PushEntry(1, ISSUE, b""),) * 3)), limits)


def test_no_memory_is_taken_on_the_word_of_a_length() -> None:
    heads = b"\xdd\x00\x0f\xff\xff" * 200_000  # each claims a million elements, and there are bytes enough for one
    tracemalloc.start()
    try:
        for start in (b"", b"\x92\x30", b"\x92\x30\x91\x93\x01"):
            with pytest.raises(Refused):
                decode_client(start + heads)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(heads)
    finally:
        tracemalloc.stop()


def test_a_body_that_inflates_without_end_is_cut() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    with pytest.raises(Refused, match=TOO_LARGE):
        unpack_body(bomb, max_body_bytes=1_000_000)
    with pytest.raises(Refused, match=MALFORMED):
        unpack_body(zlib.compress(b"\x90")[:-1])
    with pytest.raises(Refused, match=MALFORMED):
        unpack_body(zlib.compress(b"\x90") + b"more")


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
codes = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 32, 33, 34, 35, 36, 37, 38, 48, 49, 50])
almost_frames = st.builds(lambda code, rest: msgpack.packb([code, *rest]), codes, st.lists(trees, max_size=8))
frames = st.sampled_from([bytes.fromhex(vector["hex"]) for vector in load("native_frames")])


@st.composite
def damaged_frames(draw: st.DrawFn) -> bytes:
    frame = bytearray(draw(frames))
    for _ in range(draw(st.integers(1, 3))):
        frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame)


def attempt(read: Callable[[], Result]) -> tuple[Result | None, str]:
    try:
        return read(), ""
    except Refused as refused:
        return None, refused.reason


@given(st.binary(max_size=200) | almost_frames | damaged_frames())
def test_whatever_comes_it_is_a_frame_or_refused(data: bytes) -> None:
    for decode in (decode_client, decode_server):
        frame, reason = attempt(partial(decode, data))
        assert reason in REASONS if frame is None else decode(encode(frame)) == frame


@given(st.binary(max_size=200) | trees.map(msgpack.packb), st.booleans())
def test_whatever_a_body_holds_it_is_entries_or_refused(data: bytes, is_packed: bool) -> None:
    rows, reason = attempt(lambda: [read_row(entry.payload) for entry in read_entries(data, is_packed)])
    assert rows is not None or reason in REASONS
