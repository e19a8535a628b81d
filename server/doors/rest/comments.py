"""`…/issues/{issue}/comments`: read from the rows, written as ordinary edits of the issue's document.

Who may only comment writes comments of their own; that an edit is one of those is proven by the gate.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, cast
from urllib.parse import quote

from pydantic import BaseModel, Field

from crdt.edits import AddComment, DeleteComment, Edit, EditComment
from crdt.issue import MAX_COMMENT_CHARS, Comment
from server.doors.rest import cursors
from server.doors.rest.arguments import read_cursor
from server.doors.rest.headers import DEVICE, IDEMPOTENCY_KEY, IF_MATCH, LOCATION, WRITTEN_TAG
from server.doors.rest.issues_read import ISSUE, reach
from server.doors.rest.issues_write import tags_of, write
from server.doors.rest.models import MAX_PAGE, RowsQuery, Short
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import OfIssue
from server.doors.rest.problems import (
    EXISTS,
    FULL,
    NOT_PROJECTED,
    PRECONDITION,
    UNKNOWN_COMMENT,
    UNKNOWN_ISSUE,
    UNWRITABLE,
    Problem,
)
from server.permissions import may_comment, may_read
from server.records import Records, Written
from storage.issue_reader import IssueReader, ThreadPlace

COMMENTS: Final = ISSUE + "/comments"
COMMENT: Final = COMMENTS + "/{comment}"
_KEYS: Final = ("timestamptz", "text")

Body = Annotated[str, Field(min_length=1, max_length=MAX_COMMENT_CHARS)]


class OfComment(OfIssue):
    """`…/comments/{comment}`"""

    UNKNOWN = OfIssue.UNKNOWN | {"comment": UNKNOWN_COMMENT}
    HOLDS_SLASHES = frozenset({"comment"})  # clients choose these ids
    comment: Short


class ThreadQuery(RowsQuery):
    """A page, the oldest first."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=cursors.MAX_CHARS)] | None = Field(
        None, description="The page before told it."
    )
    deleted: bool = False


class CommentShown(BaseModel):
    """One comment. A deleted one is there still, in the list of those that are deleted."""

    id: str
    author: str | None
    created_at: datetime | None
    edited_at: datetime | None
    deleted_at: datetime | None
    body: str

    @classmethod
    def of(cls, row: Comment) -> CommentShown:
        """What a row says."""
        return cls.model_construct(**{name: getattr(row, name) for name in cls.model_fields})


class Thread(BaseModel):
    """Some comments. `cursor`: of the next page, null at the end."""

    comments: list[CommentShown]
    cursor: str | None


class CommentCreate(Nothing):
    """A new comment. With an `id`, sending it again changes nothing."""

    id: Short | None = None
    body: Body


class CommentPatch(Nothing):
    """What the comment is to read."""

    body: Body


class CommentWritten(BaseModel):
    """The edit is committed. A read with `min_seq` of this `seq` sees it."""

    id: str
    seq: int


_WRITTEN: Final = Answer("It is committed.", CommentWritten, headers=(WRITTEN_TAG,))

LIST: Final = Operation(
    method="GET",
    path=COMMENTS,
    id="listComments",
    tag="comments",
    summary="A page of an issue's comments",
    place=OfIssue,
    query=ThreadQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The page.", Thread)},
    problems=(NOT_PROJECTED,),
)
ADD: Final = Operation(
    method="POST",
    path=COMMENTS,
    id="addComment",
    tag="comments",
    summary="A new comment",
    place=OfIssue,
    query=Query,
    body=CommentCreate,
    needs=may_comment,
    edits=1,
    answers={
        HTTPStatus.CREATED: Answer("It is committed.", CommentWritten, headers=(LOCATION, WRITTEN_TAG)),
        HTTPStatus.OK: Answer("You had written it already.", CommentWritten, headers=(LOCATION, WRITTEN_TAG)),
    },
    problems=(EXISTS, PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)
EDIT: Final = Operation(
    method="PATCH",
    path=COMMENT,
    id="editComment",
    tag="comments",
    summary="Change a comment",
    description="By small edits: what others type beside them stays.",
    place=OfComment,
    query=Query,
    body=CommentPatch,
    needs=may_comment,
    edits=1,
    answers={HTTPStatus.OK: _WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)
DELETE: Final = Operation(
    method="DELETE",
    path=COMMENT,
    id="deleteComment",
    tag="comments",
    summary="Mark a comment as deleted",
    place=OfComment,
    query=Query,
    body=Nothing,
    needs=may_comment,
    edits=1,
    answers={HTTPStatus.OK: _WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)


class Comments:
    """What answers them. `min_seq_seconds`: how long a read waits for the projection."""

    def __init__(self, reader: IssueReader, records: Records, min_seq_seconds: float) -> None:
        self._reader = reader
        self._records = records
        self._min_seq_seconds = min_seq_seconds

    def operations(self) -> list[Served]:
        """What is served here."""
        return [LIST.by(self.list), ADD.by(self.add), EDIT.by(self.edit), DELETE.by(self.delete)]

    async def list(self, call: Call[OfIssue, ThreadQuery, Nothing]) -> Reply:
        """A page, and the cursor of the next one."""
        asked, workspace = call.query, call.workspace
        of = f"comments {workspace.id} {call.place.issue} {asked.deleted}"
        after = read_cursor(asked.cursor, of, _KEYS)
        await reach(self._reader, workspace, asked.min_seq, self._min_seq_seconds)
        rows = await self._reader.thread(
            workspace.id,
            call.place.issue,
            is_deleted=asked.deleted,
            after=None if after is None else cast(ThreadPlace, tuple(after)),
            limit=asked.limit + 1,
        )
        if rows is None:
            raise Problem(UNKNOWN_ISSUE)
        page = rows[: asked.limit]
        following = cursors.written(of, (page[-1].created_at, page[-1].id)) if len(rows) > len(page) else None
        return Reply(Thread(comments=[CommentShown.of(row) for row in page], cursor=following))

    async def add(self, call: Call[OfIssue, Query, CommentCreate]) -> Reply:
        """201 with its address; 200 when the caller had written it already."""
        comment_id = call.body.id or str(call.new_id())
        written = await self._write(call, AddComment(comment_id, call.body.body))
        status = HTTPStatus.CREATED if written.is_new else HTTPStatus.OK
        where = {LOCATION.name: f"{call.request.url.path}/{quote(comment_id)}"}
        return Reply(CommentWritten(id=comment_id, seq=written.seq), status, where | tags_of(written))

    async def edit(self, call: Call[OfComment, Query, CommentPatch]) -> Reply:
        """What others change beside it stays."""
        written = await self._write(call, EditComment(call.place.comment, call.body.body))
        return Reply(CommentWritten(id=call.place.comment, seq=written.seq), headers=tags_of(written))

    async def delete(self, call: Call[OfComment, Query, Nothing]) -> Reply:
        """Its text stays in the document."""
        written = await self._write(call, DeleteComment(call.place.comment))
        return Reply(CommentWritten(id=call.place.comment, seq=written.seq), headers=tags_of(written))

    async def _write(self, call: Call[Any, Any, Any], edit: Edit) -> Written:
        return await write(self._records, call, call.place.issue, edit)
