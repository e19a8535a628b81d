"""What begins is dear: a handshake, a token that is read, a request that is routed. One crosses the threshold in a few
turns of the loop, which are short where nothing else happens: a crowd is let in about as quickly as ever, and whoever
is in already is heard between any two of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

TURNS_APART: Final = 4  # an edit takes several from its arrival to its reader


class Threshold:
    """Of one server. Who comes first crosses first."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._turns_left = 0  # until the next may cross

    def cross(self, enter: Callable[[], None]) -> None:
        """Enter, now or in a later turn."""
        if self._turns_left:
            self._waiting.append(enter)
        else:
            self._count_down()
            enter()

    async def crossed(self) -> None:
        """When it is one's turn."""
        if not self._turns_left:
            self.cross(lambda: None)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.cross(lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _count_down(self) -> None:
        self._turns_left = TURNS_APART
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turns_left -= 1
        if self._turns_left:
            asyncio.get_running_loop().call_soon(self._turn)
        elif self._waiting:
            self._count_down()
            self._waiting.popleft()()
