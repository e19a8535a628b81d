"""Issues as records, read from the projection: one, a page, and the wait for what was just written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from storage.database import Database
from storage.errors import Purged
from storage.store import ProjectedIssue
from storage.tables import issues, tombstones, workspaces
from storage.tables.issue_queries import IssueQuery, Keyset, statement

_LOOK_SECONDS: Final = 0.02
_MAX_LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class IssuePage:
    """Some rows in the order asked for, without their comments. `following`: where the next page starts, None at the
    end."""

    issues: Sequence[ProjectedIssue]
    following: Keyset | None


class IssueReader:
    """Reads `issues`; writes nothing. Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def one(self, workspace_id: int, issue_id: UUID) -> ProjectedIssue | None:
        """The row of an issue, deleted or not, without its comments; None when there is none. Raises `Purged`."""
        async with self._database.session("read an issue") as connection:
            rows = await connection.fetch(issues.SELECT, workspace_id, [issue_id])
            if not rows and await tombstones.purged_among(connection, [workspace_id], [issue_id]):
                raise Purged(f"issue {issue_id} was purged")
        return issues.projected_issues(rows, ()).get(issue_id)

    async def page(self, workspace_id: int, query: IssueQuery) -> IssuePage:
        """Up to `query.limit` rows."""
        sql, arguments = statement(workspace_id, query)
        async with self._database.session("list issues") as connection:
            rows = await connection.fetch(sql, *arguments)
        found = list(issues.projected_issues(rows, ()).values())
        page = found[: query.limit]
        if len(found) == len(page):
            return IssuePage(page, None)
        last = page[-1]
        return IssuePage(page, Keyset(last.issue_id, None if query.sort == "id" else last.content.updated_at))

    async def wait_for(self, workspace_id: int, seq: int, seconds: float) -> bool:
        """Wait until the projection has reached `seq`, at most `seconds`. False: it has not."""
        try:
            async with asyncio.timeout(seconds):
                pause = _LOOK_SECONDS
                while await self._projected_through(workspace_id) < seq:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _MAX_LOOK_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _projected_through(self, workspace_id: int) -> int:
        async with self._database.session("read the projection's cursor") as connection:
            cursor: int | None = await connection.fetchval(workspaces.CURSOR, workspace_id, workspaces.PROJECTION)
        return cursor or 0
