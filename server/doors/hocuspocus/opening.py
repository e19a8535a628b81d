"""The way into a document's room: tried for as long as it takes, and again whenever the room was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from server.doors.hocuspocus.socket import SharedSocket
from server.doors.hocuspocus.surroundings import Surroundings
from storage.backoff import Backoff
from storage.errors import Purged, StoreError


@dataclass(frozen=True, slots=True)
class Way:
    """The document's side of it. `join` opens the issue, or raises · `purged` hears that there is none any more ·
    `failed` that `join` had a defect, and undoes what it did."""

    join: Callable[[], Awaitable[None]]
    purged: Callable[[], None]
    failed: Callable[[], None]


async def _stay() -> None:
    """Nobody is there to join."""


def _unheard() -> None:
    """Nobody is there to hear."""


_NOWHERE: Final = Way(_stay, _unheard, _unheard)


class Opening:
    """Of one document."""

    __slots__ = ("_around", "_backoff", "_log", "_socket", "_task", "_way")

    def __init__(self, way: Way, socket: SharedSocket, around: Surroundings, log: Any) -> None:
        self._way = way
        self._socket = socket
        self._around = around
        self._log = log
        self._backoff = Backoff(around.limits.first_retry_seconds, around.limits.longest_retry_seconds)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """For somebody who has just been let in."""
        self._task = self._around.spawn(self._keep_trying(0.0))

    def again(self) -> None:
        """The room is gone: later each time, until something was stored."""
        self._task = self._around.spawn(self._keep_trying(self._backoff.next_seconds()))

    def stored(self) -> None:
        """What the client wrote was stored: the next time begins with the shortest wait."""
        self._backoff.reset()

    def stop(self) -> None:
        """Nobody wants in any more."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def end(self) -> None:
        """Nobody will ever want in again. Lets go of the document, which holds this."""
        self.stop()
        self._way = _NOWHERE

    async def _keep_trying(self, delay: float) -> None:
        """Open the issue after `delay` seconds, however often that takes; never an empty one in its place."""
        while not self._socket.is_closed:
            await asyncio.sleep(delay)
            try:
                await self._way.join()
            except Purged:
                self._way.purged()
                return
            except StoreError as error:
                self._log.warning("join failed", reason=str(error))
            except Exception as error:  # noqa: BLE001 -- the top of a task: one document's defect ends no other
                self._around.services.metrics.loop_failures.labels("hocuspocus join").inc()
                self._log.exception("join failed", reason=type(error).__name__)
                self._way.failed()
            else:
                self._task = None
                return
            delay = self._backoff.next_seconds()
