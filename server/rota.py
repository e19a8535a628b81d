"""Whose turn it is when the loop turns next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Rota:
    """All turns that are due go in one callback: a callback each would cost as much as judging what it is for."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()

    def put(self, turn: Callable[[], None]) -> None:
        """Have it called in the next turn of the loop, behind those that were put before. It must not raise."""
        self._due.append(turn)
        if len(self._due) == 1:
            self._loop.call_soon(self._take_turns)

    def _take_turns(self) -> None:
        due, self._due = self._due, []
        for turn in due:
            turn()
