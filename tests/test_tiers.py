"""The order in which tests run."""

from __future__ import annotations

import pytest

from tests.tiers import dealt


@pytest.mark.parametrize(("first", "items", "workers"), [(5, 23, 4), (0, 5, 2), (3, 3, 1), (3, 3, 4), (1, 100, 3)])
def test_what_takes_long_is_at_the_heads_of_the_parts_and_nothing_is_lost(first: int, items: int, workers: int) -> None:
    order = dealt(range(first), range(items), workers)
    assert sorted(order) == list(range(items))
    left, parts = list(order), []
    for worker in range(workers):  # as xdist's `worksteal` begins
        size = len(left) // (workers - worker)
        parts.append([number for number in left[:size] if number < first])
        assert parts[-1] == left[: len(parts[-1])]
        del left[:size]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
