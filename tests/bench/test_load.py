"""What the load driver counts: clocks, whether a server joins updates or not, and only what every reader has."""

from __future__ import annotations

import pytest
from pycrdt import merge_updates

from bench.load import Document
from bench.peer import UPDATE_MESSAGE, update_frame
from bench.plan import percentile, percentiles
from bench.typist import FIRST_CLIENT, Typist, var_uint

AT = 3


def typed(count: int) -> list[bytes]:
    typist = Typist(FIRST_CLIENT)
    return [typist.type() for _ in range(count)]


def message(*updates: bytes) -> bytes:
    update = merge_updates(*updates)
    return UPDATE_MESSAGE + var_uint(len(update)) + update


def document(readers: int, sent: int) -> Document:
    made = Document(FIRST_CLIENT, readers)
    made.type(sent)
    return made


def test_an_update_counts_when_the_last_reader_has_it() -> None:
    one = document(readers=3, sent=1)
    (update,) = typed(1)
    assert [one.receive(reader, message(update), AT) for reader in (1, 0, 2)] == [False, False, True]
    assert (one.slowest, one.reached) == (1, [1, 1, 1])


def test_joined_updates_count_as_many_as_they_were() -> None:
    one = document(readers=1, sent=4)
    assert one.receive(0, message(*typed(4)), AT)
    assert one.slowest == 4
    assert [(first, end) for _, first, end in one.completions] == [(0, 4)]


def test_a_faster_reader_does_not_move_the_slowest() -> None:
    one = document(readers=2, sent=3)
    first, second, third = typed(3)
    assert not one.receive(0, message(first, second, third), AT)
    assert one.receive(1, message(first), AT)
    assert one.receive(1, message(second, third), AT)
    assert [(start, end) for _, start, end in one.completions] == [(0, 1), (1, 3)]


def test_what_comes_twice_counts_once() -> None:
    one = document(readers=1, sent=1)
    (update,) = typed(1)
    assert one.receive(0, message(update), AT)
    assert not one.receive(0, message(update), AT)
    assert one.reached == [1]


def test_a_hole_ends_the_run() -> None:
    one = document(readers=1, sent=2)
    with pytest.raises(ValueError, match="left out"):
        one.receive(0, message(typed(2)[1]), AT)


def test_a_frame_is_masked_final_and_binary() -> None:
    (update,) = typed(1)
    frame = update_frame(update)
    assert frame[:6] == bytes([0x82, 0x80 | len(update) + 3, 0, 0, 0, 0])
    assert frame[6:] == message(update)


def test_an_update_too_long_for_a_short_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="typing"):
        update_frame(bytes(123))


def test_percentiles_of_known_values() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentiles([float(n) for n in range(1_000, 0, -1)])["p99"] == 991.0
    assert percentiles([])["p50"] != percentiles([])["p50"]  # NaN
