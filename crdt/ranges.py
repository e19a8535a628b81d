"""Sets of clocks as flat ascending lists [start, end, start, end, …] of disjoint, non-touching half-open ranges."""

from bisect import bisect_left, bisect_right


def contains(flat: list[int], clock: int) -> bool:
    """Whether the set holds `clock`."""
    return bisect_right(flat, clock) % 2 == 1


def missing(flat: list[int], start: int, end: int) -> list[int]:
    """What of [start, end) the set does not hold, as a set."""
    found: list[int] = []
    at = bisect_right(flat, start)
    if at % 2 == 1:  # start lies inside a range: go on at its end
        start = flat[at]
        at += 1
    while start < end:
        if at >= len(flat) or flat[at] >= end:
            found.append(start)
            found.append(end)
            break
        found.append(start)
        found.append(flat[at])
        start = flat[at + 1]
        at += 2
    return found


def add(flat: list[int], start: int, end: int) -> None:
    """Add [start, end) in place, joining what it overlaps or touches."""
    if (flat and flat[-1] < start) or not flat:
        flat.append(start)
        flat.append(end)
        return
    first = bisect_left(flat, start)
    last = bisect_right(flat, end)
    joined: list[int] = []
    if first % 2 == 0:
        joined.append(start)
    if last % 2 == 0:
        joined.append(end)
    flat[first:last] = joined
