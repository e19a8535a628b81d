"""`GET …/issues` and `GET …/issues/{id}`: what the projection says, at `min_seq` or later."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from server.doors.rest import cursors
from server.doors.rest.arguments import read_cursor
from server.doors.rest.headers import ETAG, IF_NONE_MATCH
from server.doors.rest.models import Issue, IssuePage, ListParameters, ReadParameters
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Reply, Served
from server.doors.rest.past import Moment, Past
from server.doors.rest.paths import InWorkspace, OfIssue
from server.doors.rest.problems import (
    NOT_PROJECTED,
    SOON,
    TRIMMED,
    UNKNOWN_ISSUE,
    UNREADABLE,
    Problem,
)
from server.doors.rest.tags import names, tag_of
from server.permissions import may_read
from storage.issue_reader import IssueReader
from storage.store import ProjectedIssue, Workspace

ISSUES: Final = "/v1/workspaces/{workspace}/issues"
ISSUE: Final = ISSUES + "/{issue}"


class OneParameters(ReadParameters):
    """The query of one issue."""

    at: Moment | None = None


LIST: Final = Operation(
    method="GET",
    path=ISSUES,
    id="listIssues",
    tag="issues",
    summary="A page of issues",
    description="Filters are combined with and. Follow `cursor` for the next page, with the same filters and sort.",
    place=InWorkspace,
    query=ListParameters,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The page.", IssuePage)},
    problems=(NOT_PROJECTED,),
    costs=True,
)
READ: Final = Operation(
    method="GET",
    path=ISSUE,
    id="readIssue",
    tag="issues",
    summary="One issue, deleted or not",
    description="With `at`, as it was at that moment.",
    place=OfIssue,
    query=OneParameters,
    body=Nothing,
    needs=may_read,
    answers={
        HTTPStatus.OK: Answer("The issue.", Issue, headers=(ETAG,)),
        HTTPStatus.NOT_MODIFIED: Answer("It is what `If-None-Match` names.", headers=(ETAG,)),
    },
    problems=(NOT_PROJECTED, TRIMMED, UNREADABLE),
    headers=(IF_NONE_MATCH,),
)


class IssuesRead:
    """Both. `min_seq_seconds`: how long a read waits for the projection."""

    def __init__(self, reader: IssueReader, past: Past, min_seq_seconds: float) -> None:
        self._reader = reader
        self._past = past
        self._min_seq_seconds = min_seq_seconds

    def operations(self) -> list[Served]:
        """What is served here."""
        return [LIST.by(self.list), READ.by(self.one)]

    async def list(self, call: Call[InWorkspace, ListParameters, Nothing]) -> Reply:
        """A page, and the cursor of the next one."""
        asked = call.query
        of = f"{call.workspace.id} {asked.list_name()}"
        query = asked.query(read_cursor(asked.cursor, of, [key.column.type for key in asked.query().order]))
        await self._reach(call.workspace, asked.min_seq, with_words=asked.q is not None)
        page = await self._reader.page(call.workspace.id, query)
        following = None if page.following is None else cursors.written(of, page.following)
        return Reply(IssuePage(issues=[asked.shown(row) for row in page.issues], cursor=following), is_partial=True)

    async def one(self, call: Call[OfIssue, OneParameters, Nothing]) -> Reply:
        """304 when the caller has this version already."""
        row = await self._row(call)
        etag = tag_of(row.version, call.query.fields)
        if names(call.header(IF_NONE_MATCH), etag):
            return Reply(status=HTTPStatus.NOT_MODIFIED, headers={ETAG.name: etag})
        return Reply(call.query.shown(row), headers={ETAG.name: etag}, is_partial=True)

    async def _row(self, call: Call[OfIssue, OneParameters, Nothing]) -> ProjectedIssue:
        if call.query.at is not None:
            return await self._past.issue(call.workspace, call.place.issue, call.query.at)
        await self._reach(call.workspace, call.query.min_seq)
        row = await self._reader.one(call.workspace.id, call.place.issue)
        if row is None:
            raise Problem(UNKNOWN_ISSUE)
        return row

    async def _reach(self, workspace: Workspace, seq: int, *, with_words: bool = False) -> None:
        await reach(self._reader, workspace, seq, self._min_seq_seconds, with_words=with_words)


async def reach(
    reader: IssueReader, workspace: Workspace, seq: int, seconds: float, *, with_words: bool = False
) -> None:
    """Wait for the rows. Raises `Problem` when they are not there in time."""
    if seq and not await reader.wait_for(workspace.id, seq, seconds, with_words=with_words):
        raise Problem(NOT_PROJECTED, f"seq {seq} cannot be read yet", headers=SOON)
