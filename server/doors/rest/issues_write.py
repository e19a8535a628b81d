"""`POST …/issues`, `PATCH` and `DELETE …/issues/{id}`, `POST …/restore`: ordinary edits of the issue's document.

An answer names the `seq` that holds the edit, so a read with `min_seq` sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from crdt.edits import RESTORE, Delete, Edit
from server.doors.rest.arguments import read_condition
from server.doors.rest.headers import DEVICE, ETAG, IDEMPOTENCY_KEY, IF_MATCH, LOCATION, WRITTEN_TAG
from server.doors.rest.issues_read import ISSUE, ISSUES
from server.doors.rest.models import IssueCreate, IssuePatch, Written
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace, OfIssue
from server.doors.rest.problems import (
    EXISTS,
    FORBIDDEN,
    FULL,
    INVALID,
    PRECONDITION,
    PURGED,
    SOON,
    UNAVAILABLE,
    UNKNOWN_COMMENT,
    UNKNOWN_ISSUE,
    UNWRITABLE,
    Problem,
    ProblemType,
)
from server.doors.rest.tags import tag_of
from server.permissions import may_edit
from server.record_errors import (
    Exists,
    Forbidden,
    Full,
    Gone,
    Invalid,
    NoComment,
    NotThere,
    Overtaken,
    RecordError,
    Unavailable,
    Unwritable,
)
from server.records import OnlyAt, Records
from server.records import Written as Committed

_PROBLEMS: Final[Mapping[type[RecordError], ProblemType]] = {
    NotThere: UNKNOWN_ISSUE,
    NoComment: UNKNOWN_COMMENT,
    Gone: PURGED,
    Exists: EXISTS,
    Forbidden: FORBIDDEN,
    Full: FULL,
    Invalid: INVALID,
    Overtaken: PRECONDITION,
    Unwritable: UNWRITABLE,
    Unavailable: UNAVAILABLE,
}
WRITTEN: Final = Answer("It is committed.", Written, headers=(WRITTEN_TAG,))

CREATE: Final = Operation(
    method="POST",
    path=ISSUES,
    id="createIssue",
    tag="issues",
    summary="A new issue",
    place=InWorkspace,
    query=Query,
    body=IssueCreate,
    needs=may_edit,
    edits=1,
    answers={
        HTTPStatus.CREATED: Answer("It is committed.", Written, headers=(LOCATION,)),
        HTTPStatus.OK: Answer("It was there, and began with the same content.", Written, headers=(LOCATION,)),
    },
    problems=(EXISTS, PURGED, UNWRITABLE, FULL),
    headers=(DEVICE, IDEMPOTENCY_KEY),
)
PATCH: Final = Operation(
    method="PATCH",
    path=ISSUE,
    id="patchIssue",
    tag="issues",
    summary="Change what is named, nothing else",
    description="Texts are changed by small edits: what others type beside them stays.",
    place=OfIssue,
    query=Query,
    body=IssuePatch,
    needs=may_edit,
    edits=1,
    answers={HTTPStatus.OK: WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)
DELETE: Final = Operation(
    method="DELETE",
    path=ISSUE,
    id="deleteIssue",
    tag="issues",
    summary="Mark it as deleted",
    place=OfIssue,
    query=Query,
    body=Nothing,
    needs=may_edit,
    edits=1,
    audited=(),
    answers={HTTPStatus.OK: WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)
RESTORE_ISSUE: Final = Operation(
    method="POST",
    path=ISSUE + "/restore",
    id="restoreIssue",
    tag="issues",
    summary="Take a deletion back",
    place=OfIssue,
    query=Query,
    body=Nothing,
    needs=may_edit,
    edits=1,
    audited=(),
    answers={HTTPStatus.OK: WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)


class IssuesWrite:
    """What writes an issue."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def operations(self) -> list[Served]:
        """What is served here."""
        return [
            CREATE.by(self.create),
            PATCH.by(self.patch),
            DELETE.by(self.delete),
            RESTORE_ISSUE.by(self.restore),
        ]

    async def create(self, call: Call[InWorkspace, Query, IssueCreate]) -> Reply:
        """201 with its address; 200 when the same issue began with the same content already."""
        issue_id = call.body.id or call.new_id()
        written = await write(self._records, call, issue_id, call.body.edit())
        where = {LOCATION.name: f"{quote(call.request.url.path)}/{issue_id}"}
        return Reply(_told(written), HTTPStatus.CREATED if written.is_new else HTTPStatus.OK, where)

    async def patch(self, call: Call[OfIssue, Query, IssuePatch]) -> Reply:
        """Fields that are named are changed, texts by small edits; what others change beside them stays."""
        return await self._change(call, call.body.edit())

    async def delete(self, call: Call[OfIssue, Query, Nothing]) -> Reply:
        """Mark it as deleted; `restore` takes that back."""
        return await self._change(call, Delete())

    async def restore(self, call: Call[OfIssue, Query, Nothing]) -> Reply:
        """Take a deletion back."""
        return await self._change(call, RESTORE)

    async def _change(self, call: Call[OfIssue, Any, Any], edit: Edit) -> Reply:
        written = await write(self._records, call, call.place.issue, edit)
        return Reply(_told(written), headers=tags_of(written))


async def write(records: Records, call: Call[Any, Any, Any], issue_id: UUID, edit: Edit) -> Committed:
    """Make one edit of an issue, as the headers of a request have it. Raises `Problem`."""
    only_at = condition_of(call)
    try:
        return await records.change(
            call.workspace, call.identity, issue_id, edit, device=call.device, only_at=only_at, once=call.once
        )
    except RecordError as error:
        raise problem_of(error) from None


def condition_of(call: Call[Any, Any, Any]) -> OnlyAt | None:
    """What `If-Match` asks of the issue's version. Raises `Problem`."""
    wanted = read_condition(call.header(IF_MATCH))
    return None if wanted is None else wanted.hold_of


def tags_of(written: Committed) -> dict[str, str]:
    """The tag of what the issue is now, where that is known."""
    return {} if written.version is None else {ETAG.name: tag_of(written.version)}


def problem_of(error: RecordError) -> Problem:
    """How the answer says that a record was not written."""
    return Problem(_PROBLEMS[type(error)], str(error), headers=SOON if isinstance(error, Unavailable) else None)


def _told(written: Committed) -> Written:
    return Written(id=written.issue_id, seq=written.seq)
