"""Flat range lists against plain sets of integers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from crdt import ranges

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=25)


def built(spans: list[tuple[int, int]]) -> tuple[list[int], set[int]]:
    flat: list[int] = []
    members: set[int] = set()
    for start, length in spans:
        ranges.add(flat, start, start + length)
        members.update(range(start, start + length))
    return flat, members


def expanded(flat: list[int]) -> list[int]:
    return [clock for at in range(0, len(flat), 2) for clock in range(flat[at], flat[at + 1])]


@given(SPANS)
def test_adding_keeps_the_list_disjoint_ascending_and_without_touching_neighbours(spans: list[tuple[int, int]]) -> None:
    flat, members = built(spans)
    assert expanded(flat) == sorted(members)
    assert all(left < right for left, right in itertools.pairwise(flat))


@given(SPANS, st.integers(0, 70), st.integers(1, 20))
def test_missing_is_what_the_set_does_not_hold(spans: list[tuple[int, int]], start: int, length: int) -> None:
    flat, members = built(spans)
    assert expanded(ranges.missing(flat, start, start + length)) == sorted(set(range(start, start + length)) - members)


@given(SPANS, st.integers(0, 80))
def test_contains(spans: list[tuple[int, int]], clock: int) -> None:
    flat, members = built(spans)
    assert ranges.contains(flat, clock) == (clock in members)
