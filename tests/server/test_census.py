"""How far nodes that count for themselves may go beyond the bound of issues of a workspace together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any, cast

import pytest

from server.census import Census
from tests.server.test_rates import Watch


class Stored:
    """Counts what all nodes have committed."""

    def __init__(self, issues: int) -> None:
        self.issues = issues

    async def issue_count(self, _workspace: int) -> int:
        return self.issues


def census(stored: Stored, watch: Watch, most: int) -> Census:
    """What is asked for in the background is there before the next question."""

    def at_once(work: Coroutine[None, None, None]) -> None:
        with pytest.raises(StopIteration):
            work.send(None)

    return Census(cast(Any, stored), cast(Any, watch), most, at_once)


@pytest.mark.parametrize("nodes", [1, 2, 16])
@pytest.mark.parametrize(("most", "before"), [(1_000, 900), (40_000, 20_000), (40_000, 0)])
def test_only_what_others_begin_in_the_last_second_comes_on_top(nodes: int, most: int, before: int) -> None:
    chance, stored, watch = Random(nodes + most + before), Stored(before), Watch()
    everybody = [census(stored, watch, most) for _ in range(nodes)]
    for one in everybody:
        asyncio.run(one.refresh(1))
    fastest, quiet = 0, 0
    while quiet < 30:  # tenths of a second
        began = 0
        for one in chance.sample(everybody, nodes):
            for _ in range(chance.choice((0, 5, 40))):
                if one.may_begin(1):
                    one.begun(1)
                    stored.issues += 1
                    began += 1
        quiet = 0 if began else quiet + 1
        fastest = max(fastest, began)
        watch.time += 0.1
    assert most <= stored.issues <= most + (0 if nodes == 1 else 11 * fastest)
