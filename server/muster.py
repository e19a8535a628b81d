"""Many edits, of an issue each, that are made a few at a time and committed together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

_WAIT_SECONDS: Final = 3.0  # for the last ones; what is ready by then is committed without them


class Muster:
    """Of `count` edits, `at_once` are made at a time. Whoever has made theirs waits for the others, so that all come to
    the log in one moment; those that fail, or find nothing to do, are not waited for."""

    def __init__(self, count: int, at_once: int, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._missing = count
        self._places = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds
        self._complete = asyncio.Event()

    async def enter(self) -> Entry:
        """Wait for a place to make an edit in. Whatever becomes of it, the entry must be left."""
        await self._places.acquire()
        return Entry(self)

    def gone(self) -> None:
        """One less to wait for. Entries call it."""
        self._places.release()
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()

    async def together(self) -> None:
        """Wait for the others, not for ever. Entries call it."""
        with suppress(TimeoutError):  # then without them
            async with asyncio.timeout(self._wait_seconds):
                await self._complete.wait()


class Entry:
    """One edit on its way."""

    def __init__(self, muster: Muster) -> None:
        self._muster = muster
        self._is_in_place = True

    async def made(self) -> None:
        """It is made: wait for the others."""
        self.leave()
        await self._muster.together()

    def leave(self) -> None:
        """Make room. Calling it again changes nothing."""
        if self._is_in_place:
            self._is_in_place = False
            self._muster.gone()
