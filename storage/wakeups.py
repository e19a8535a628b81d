"""Tells other nodes that something was committed, and hears it from them: Postgres NOTIFY, sent after the COMMIT.

A hint and no more: it may be lost, and whoever follows the log looks now and then by itself. Not in the transaction
that appends, because Postgres lets only one transaction with a NOTIFY commit at a time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from typing import Final

import asyncpg
import structlog

from storage.backoff import Backoff
from storage.database import connect, translated
from storage.errors import StoreUnavailable
from storage.isolation import DIRECTORY

CHANNEL: Final = "syncline_commits"
PAUSE_SECONDS: Final = 0.01  # between two NOTIFYs: what is committed meanwhile goes into one
STATEMENT_SECONDS: Final = 5.0
_MAX_NAMED: Final = 400  # workspaces in one payload, which Postgres bounds at 8,000 bytes

_ID: Final = re.compile(r"[0-9]{1,18}")

Hear = Callable[[Collection[int] | None], None]


class PostgresWakeups:
    """`hear` gets the ids of workspaces that other nodes wrote to; None: it may have been any. `run` must be
    running."""

    def __init__(self, dsn: str, hear: Hear) -> None:
        self._dsn = dsn
        self._hear = hear
        self._told: set[int] = set()
        self._woken = asyncio.Event()
        self._log = structlog.get_logger()

    def tell(self, workspace_ids: Collection[int]) -> None:
        """This node committed to these. Never waits."""
        self._told.update(workspace_ids)
        self._woken.set()

    async def run(self) -> None:
        """Listen and notify until cancelled; a connection that breaks is made again."""
        backoff = Backoff()
        while True:
            try:
                await self._converse(backoff)
            except (StoreUnavailable, TimeoutError) as error:
                self._log.warning("no wake-ups from other nodes", reason=str(error))
            await asyncio.sleep(backoff.next_seconds())

    async def _converse(self, backoff: Backoff) -> None:
        connection = await connect(self._dsn, DIRECTORY)
        try:
            with translated("listen for commits"):
                connection.add_termination_listener(lambda _: self._woken.set())
                await connection.add_listener(CHANNEL, self._heard)
                self._hear(None)  # what was said while nobody listened
                backoff.reset()
                while not connection.is_closed():
                    await self._woken.wait()
                    self._woken.clear()
                    await self._notify(connection)
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            connection.terminate()

    async def _notify(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        told, self._told = self._told, set()
        if told and not connection.is_closed():
            payload = ",".join(map(str, told)) if len(told) <= _MAX_NAMED else ""
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload, timeout=STATEMENT_SECONDS)

    def _heard(self, connection: object, process: int, channel: str, payload: object) -> None:
        assert isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy)
        if process != connection.get_server_pid():
            self._hear(_ids(str(payload)))


def _ids(payload: str) -> set[int] | None:
    """Anybody who may connect to the database may say anything here: what is no list of ids means any workspace."""
    names = payload.split(",")
    return {int(name) for name in names} if all(map(_ID.fullmatch, names)) else None
