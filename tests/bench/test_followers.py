"""What a reader of frames counts as arrived, and that it believes no page out of order."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from bench.feeding import catch_up_row
from bench.followers import Arrived, Reader
from crdt.native import Page, Reload, Reset, ServerFrame
from crdt.native_codec import encode
from crdt.native_entries import SNAPSHOT, UPDATE, Entry, write_body, write_entry

ONE, OTHER = UUID(int=1), UUID(int=2)


def body(*entries: Entry) -> bytes:
    return write_body([write_entry(entry) for entry in entries], len(entries))


def hear(reader: Reader, *frames: ServerFrame) -> None:
    for frame in frames:
        reader.receive(encode(frame))


async def test_a_first_load_ends_at_the_page_behind_the_reload() -> None:
    reader = Reader(0)
    hear(
        reader,
        Reset("new", uuid4(), 7, 0),
        Reload(7, None, ONE, False, body(Entry(ONE, 3, SNAPSHOT, b"first"))),
        Reload(7, ONE, None, False, body(Entry(OTHER, 7, SNAPSHOT, b"second"))),
    )
    assert not reader.live.done()
    hear(reader, Page(7, 7, 7, False, body()))
    assert reader.live.done()
    assert (reader.issues, reader.content_bytes) == ({ONE, OTHER}, 11)


async def test_a_catch_up_ends_at_the_head_and_counts_an_issue_once() -> None:
    reader = Reader(5)
    first = Page(5, 6, 7, False, body(Entry(ONE, 6, UPDATE, b"x")))
    second = Page(6, 7, 7, False, body(Entry(ONE, 7, UPDATE, b"y")))
    hear(reader, first)
    assert not reader.live.done()
    hear(reader, second)
    await reader.live
    assert len(reader.issues) == 1
    assert reader.wire_bytes == len(encode(first)) + len(encode(second))


async def test_a_page_out_of_order_ends_the_run() -> None:
    reader = Reader(5)
    hear(reader, Page(6, 7, 7, False, body()))
    with pytest.raises(ValueError, match="cursor 5"):
        await reader.live


def arrived(seconds: float, wire_bytes: int) -> Arrived:
    return Arrived(seconds, 500, wire_bytes, 0, 40.0, 41.0)


@pytest.mark.parametrize(
    ("big", "met"), [((0.15, 1_000), "yes"), ((0.16, 1_000), "NO"), ((0.1, 1_500), "yes"), ((0.1, 1_600), "NO")]
)
def test_both_time_and_bytes_must_follow_the_changes(big: tuple[float, int], met: str) -> None:
    row = catch_up_row("frames only", [10_000, 1_000], [[arrived(*big)], [arrived(0.1, 1_000)]])
    assert (row["met"], row["10,000 issues: ms"]) == (met, big[0] * 1e3)


def test_a_catch_up_is_compared_within_its_round() -> None:
    big = [arrived(0.1, 10), arrived(1.0, 10), arrived(0.1, 10)]
    small = [arrived(0.1, 10), arrived(1.0, 10), arrived(0.01, 10)]  # the machine was slow in the second round
    assert catch_up_row("frames only", [10, 1], [big, small])["time ratio"] == 1.0


def test_bytes_that_were_not_told_are_not_compared() -> None:
    row = catch_up_row("SDK", [10, 1], [[arrived(0.1, 0)], [arrived(0.1, 0)]])
    assert (row["bytes ratio"], row["10 issues: kB"], row["met"]) == (None, None, "yes")
