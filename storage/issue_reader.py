"""Issues as records, read from the projection: one, a page, and the wait for what was just written."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg

from crdt.issue import Comment
from storage.database import Database
from storage.errors import Purged
from storage.isolation import Connection
from storage.store import ProjectedIssue
from storage.tables import issue_labels, issue_words, issues, tombstones, workspaces
from storage.tables.issue_queries import MANY, MOST, IssueQuery, KeysetValue, statement

_TRIGRAM_CHARS: Final = 3
# The name of a statement that is planned each time, for its arguments: one that is kept is soon planned for all alike.
_ANEW: Final = ""
_LOOK_SECONDS: Final = 0.02
_MAX_LOOK_SECONDS: Final = 0.25

ThreadPlace: TypeAlias = tuple[datetime | None, str]  # `created_at` and id of a comment


@dataclass(frozen=True, slots=True)
class IssuePage:
    """Some rows in the order asked for, without their comments. `following`: where the next page starts, the values of
    the last row one a column of the order; None at the end."""

    issues: Sequence[ProjectedIssue]
    following: Sequence[KeysetValue] | None


class IssueReader:
    """Reads `issues`; writes nothing. Every method raises `StoreUnavailable` when there is no answer; what may look at
    many rows, such as a search for what nearly everything holds, is given up after `list_seconds`."""

    def __init__(self, database: Database, list_seconds: float = 5.0) -> None:
        self._database = database
        self._list_seconds = list_seconds
        self._has_trigrams: bool | None = None  # not looked yet

    async def one(self, workspace_id: int, issue_id: UUID) -> ProjectedIssue | None:
        """The row of an issue, deleted or not, without its comments; None when there is none. Raises `Purged`."""
        async with self._database.session("read an issue", workspace_id) as connection:
            rows = await connection.fetch(issues.SELECT, workspace_id, [issue_id])
            if not rows and await tombstones.purged_among(connection, [workspace_id], [issue_id]):
                raise Purged(f"issue {issue_id} was purged")
        return issues.projected_issues(rows, ()).get(issue_id)

    async def page(self, workspace_id: int, query: IssueQuery) -> IssuePage:
        """Up to `query.limit` rows."""
        async with self._database.session("list issues", workspace_id) as connection:
            if query.text is None:
                rows = await self._fetch(connection, query, *statement(workspace_id, query))
            else:
                rows = await self._found(connection, workspace_id, query, query.text)
        page = [issues.projected_issue(row) for row in rows[: query.limit]]
        if len(rows) == len(page):
            return IssuePage(page, None)
        return IssuePage(page, [rows[len(page) - 1][f"key_{at}"] for at in range(len(query.order))])

    async def thread(
        self, workspace_id: int, issue_id: UUID, *, is_deleted: bool, after: ThreadPlace | None, limit: int
    ) -> Sequence[Comment] | None:
        """Comments of an issue, the oldest first; None when there is no such issue. Raises `Purged`."""
        moment, comment_id = after or (None, None)
        async with self._database.session("read comments", workspace_id) as connection:
            arguments = (workspace_id, issue_id, is_deleted, comment_id, moment, limit)
            rows = await connection.fetch(issues.SELECT_THREAD, *arguments)
            if not rows and not await connection.fetchval(issues.EXISTS, workspace_id, issue_id):
                if await tombstones.purged_among(connection, [workspace_id], [issue_id]):
                    raise Purged(f"issue {issue_id} was purged")
                return None
        return [Comment(**row) for row in rows]

    async def label_counts(self, workspace_id: int, *, after: str, limit: int) -> list[tuple[str, int]]:
        """Labels of issues that are not deleted, by name, behind `after`, with how many issues have each."""
        async with self._database.session("count labels", workspace_id) as connection:
            rows = await connection.fetch(issue_labels.COUNTS, workspace_id, after, limit, timeout=self._list_seconds)
        return [(row["label"], row["issues"]) for row in rows]

    async def wait_for(self, workspace_id: int, seq: int, seconds: float, *, with_words: bool = False) -> bool:
        """Wait until the projection has reached `seq`, and what texts are found by too `with_words`; at most `seconds`.
        False: it has not."""
        try:
            async with asyncio.timeout(seconds):
                pause = _LOOK_SECONDS
                while not await self._has_reached(workspace_id, seq, with_words=with_words):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _MAX_LOOK_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _has_reached(self, workspace_id: int, seq: int, *, with_words: bool) -> bool:
        async with self._database.session("read the projection's cursor", workspace_id) as connection:
            cursor: int | None = await connection.fetchval(workspaces.CURSOR, workspace_id, workspaces.PROJECTION)
            if (cursor or 0) < seq:
                return False
            return not (with_words and await connection.fetchval(issue_words.IS_DUE, workspace_id, seq))

    async def _found(
        self, connection: Connection, workspace_id: int, query: IssueQuery, text: str
    ) -> list[asyncpg.Record]:
        """What little holds is looked up; of what much holds, the order is walked until a page is full."""
        words = await self._words(connection, text)
        if await self._estimated(connection, workspace_id, text) <= MANY:
            looked_up = statement(workspace_id, query, words=words, is_looked_up=True)
            rows = await self._fetch(connection, query, *looked_up)
            if (rows[0]["found"] or 0) <= MOST:
                return [row for row in rows if row["id"] is not None]
        return await self._fetch(connection, query, *statement(workspace_id, query, words=words))

    async def _words(self, connection: Connection, text: str) -> str:
        if len(text) >= _TRIGRAM_CHARS and await self._look_for_trigrams(connection):
            return issue_words.BY_TRIGRAMS
        return issue_words.BY_WORDS

    async def _look_for_trigrams(self, connection: Connection) -> bool:
        if self._has_trigrams is None:
            self._has_trigrams = await connection.fetchval(issue_words.HAS_TRIGRAMS)
        return bool(self._has_trigrams)

    async def _estimated(self, connection: Connection, workspace_id: int, text: str) -> float:
        """About how many issues hold all words of a text, told from what Postgres knows without looking. Without end
        where it would not look into the index of words: nearly all hold it, or a policy keeps it out
        (docs/isolation.md)."""
        asked = (issue_words.ESTIMATE, workspace_id, text)
        [told] = json.loads(await connection.fetchval(*asked, timeout=self._list_seconds))
        if told["Plan"].get("One-Time Filter") == "false":
            return 0.0  # there is no word in it
        return float(told["Plan"]["Plan Rows"]) if _uses(told["Plan"], issue_words.INDEX) else math.inf

    async def _fetch(
        self, connection: Connection, query: IssueQuery, sql: str, arguments: Sequence[object]
    ) -> list[asyncpg.Record]:
        """Which index is best depends on how many issues a filter finds; a text with at most one leaves no choice."""
        if query.text is not None and query.filters <= 1:
            return await connection.fetch(sql, *arguments, timeout=self._list_seconds)
        planned = await connection.prepare(sql, name=_ANEW)
        return await planned.fetch(*arguments, timeout=self._list_seconds)


def _uses(plan: Mapping[str, Any], index: str) -> bool:
    return plan.get("Index Name") == index or any(_uses(part, index) for part in plan.get("Plans", ()))
