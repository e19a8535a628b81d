"""Reads that cost, of one user a few at a time: however many they ask for at once, others' reads and everybody's edits
find the database free."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from starlette.responses import Response

from server.doors.rest.operations import Call, Reply, Served


class Lanes:
    """`width`: reads of one user at a time; the next ones wait in the order they came, for at most `patience_seconds`:
    then `TimeoutError`."""

    def __init__(self, width: int, patience_seconds: float) -> None:
        self._width = width
        self._patience_seconds = patience_seconds
        # As long as somebody is in one or waits for it.
        self._lanes: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()

    def around(self, served: Served) -> Served:
        """The same operation, with its callers in their lanes if it costs."""
        if not served.operation.costs:
            return served

        async def work(call: Call[Any, Any, Any]) -> Reply | Response:
            who = (call.identity.workspace, call.identity.user_id)
            lane = self._lanes.setdefault(who, asyncio.Semaphore(self._width))
            async with asyncio.timeout(self._patience_seconds):
                await lane.acquire()
            try:
                return await served.work(call)
            finally:
                lane.release()

        return replace(served, work=work)
