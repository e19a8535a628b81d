"""Whose turn it is when the loop turns next."""

from __future__ import annotations

import asyncio


class Due:
    """What can be due."""

    def take_turn(self) -> None:
        """Do what has come together. Must not raise."""
        raise NotImplementedError


class Rota:
    """All that is due goes in one callback: a callback each would cost as much as judging what it is for."""

    def __init__(self) -> None:
        self._due: list[Due] = []
        self._loop = asyncio.get_running_loop()

    def put(self, one: Due) -> None:
        """Its turn comes in the next turn of the loop, once for each call."""
        self._due.append(one)
        if len(self._due) == 1:
            self._loop.call_soon(self._take_turns)

    def _take_turns(self) -> None:
        due, self._due = self._due, []
        for one in due:
            one.take_turn()
