"""The worker that keeps `issue_words` behind the projection: it reads the words of changed issues anew, once for all
edits of a while. It may be stopped anywhere; what was not committed is still due."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from storage.backoff import Backoff
from storage.database import Database
from storage.errors import StoreError
from storage.giving_way import GivingWay
from storage.tables import issue_words


@dataclass(frozen=True, slots=True)
class WordsLimits:
    """`page_issues`: how many are read in one transaction · `page_rows`: an issue is noted as due each time that it is
    projected; so many notes are looked at together · `settle_seconds`: gathers edits of the same issue · `rest_times`,
    up to `rest_seconds`: a whole text is read anew however little was edited, so while others write a tenth of the time
    must do."""

    page_issues: int = 200
    page_rows: int = 2_000
    settle_seconds: float = 0.5
    rest_times: float = 9.0
    rest_seconds: float = 2.0
    poll_seconds: float = 5.0
    longest_backoff_seconds: float = 5.0


class Words:
    """Reads what is due. Several nodes may do so at once: each takes other issues."""

    def __init__(self, database: Database, limits: WordsLimits) -> None:
        self._database = database
        self._limits = limits
        self._way = GivingWay(
            settle_seconds=limits.settle_seconds,
            times=limits.rest_times,
            longest_seconds=limits.rest_seconds,
            poll_seconds=limits.poll_seconds,
        )

    def wake(self) -> None:
        """Something was projected."""
        self._way.wake()

    async def run(self) -> None:
        """Read until cancelled."""
        backoff = Backoff(longest_seconds=self._limits.longest_backoff_seconds)
        while True:
            self._way.begin()
            try:
                was_any = await self.read_once()
            except StoreError as error:
                structlog.get_logger().warning("words not read", reason=str(error))
                await asyncio.sleep(backoff.next_seconds())
            else:
                backoff.reset()
                await self._way.rest(is_behind=was_any)

    async def read_once(self) -> bool:
        """Read one page of what is due in each workspace; True when there was any. Raises `StoreUnavailable`."""
        async with self._database.directory("look for words that are due") as connection:
            rows = await connection.fetch(issue_words.DUE_WORKSPACES)
        return any([await self._read(row["workspace_id"]) for row in rows])

    async def _read(self, workspace_id: int) -> bool:
        async with self._database.session("read words", workspace_id) as connection, connection.transaction():
            limits = self._limits
            due = await connection.fetchval(issue_words.TAKE_DUE, workspace_id, limits.page_issues, limits.page_rows)
            if not due:
                return False
            with_trigrams: bool = await connection.fetchval(issue_words.HAS_TRIGRAMS)
            await connection.execute(issue_words.READ, workspace_id, due, with_trigrams)
        return True
