"""Whose turn it is: everybody's who is due, in order, in one go."""

from __future__ import annotations

import asyncio
from functools import partial

from server.rota import Rota


async def test_turns_come_in_order_in_the_next_turn_of_the_loop() -> None:
    rota, turns = Rota(), list[str]()
    for name in "abc":
        rota.put(partial(turns.append, name))
    assert turns == []
    await asyncio.sleep(0)
    assert turns == ["a", "b", "c"]


async def test_who_is_due_again_waits_for_the_turn_after() -> None:
    rota, turns = Rota(), list[str]()
    rota.put(lambda: rota.put(partial(turns.append, "again")))
    rota.put(partial(turns.append, "b"))
    await asyncio.sleep(0)
    assert turns == ["b"]
    await asyncio.sleep(0)
    assert turns == ["b", "again"]
    await asyncio.sleep(0)
    assert turns == ["b", "again"]
