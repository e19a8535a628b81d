"""Operations of a client's queue as `POST …/sync` takes them, each checked alone: what is wrong with one does not keep
the others out. Columns are in snake_case or camelCase.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from crdt.edits import AddComment, Begin, Delete, DeleteComment, Edit, EditComment
from crdt.issue import MAX_DESCRIPTION_CHARS
from crdt.shape import Changes
from server.bases import Base
from server.doors.rest.comments import Body
from server.doors.rest.headers import DEVICE
from server.doors.rest.models import Issue, IssueCreate, IssuePatch, Seq, Short
from server.doors.rest.operations import Nothing
from server.outbox_batch import Result, Status, Wanted
from storage.sync_queue import Outcome, QueuedOperation

MAX_OPERATIONS: Final = 1_000  # `max-outbox-operations` may say less
MAX_ID_CHARS: Final = 100  # of the format: it is part of a key
_UPPER: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")

Device = Annotated[str, Field(min_length=1, max_length=DEVICE.max_chars, pattern="^[^\\x00]*$")]


class Malformed(Exception):
    """An operation that is rejected for what it holds; the message never repeats it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class SyncOperation(BaseModel):
    """One row of a client's queue."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS, pattern="^[^\\x00]*$")] | int = Field(
        union_mode="left_to_right"
    )
    table_name: Literal["issues", "comments"]
    record_id: Short
    operation: Literal["insert", "update", "delete"]
    data: dict[str, Any] | None = None
    device_id: Device | None = None
    created_at: AwareDatetime
    base_version: Seq | None = None
    base_seq: Seq | None = None


class SyncRequest(Nothing):
    """What a device did while it was offline, in the order in which it did it."""

    device_id: Device
    cursor: Seq | None = Field(None, description="Through which seq the device knows everything, at first 0.")
    epoch: UUID | None = Field(None, description="Of the cursor, as the answer told it.")
    operations: Annotated[
        Sequence[Any],
        Field(
            max_length=MAX_OPERATIONS,
            json_schema_extra={"items": SyncOperation.model_json_schema()},
            description="Each is checked alone.",
        ),
    ] = ()


class SyncResult(BaseModel):
    """What became of an operation, in the order of the request. `id`: null where none could be read · `outcome`: of a
    duplicate, what it was when it was made · `record`: as it is now, null where there is none or it cannot be read yet
    · `seq`: of the edit · `version`: of the record with it · `retry_after`: seconds, where it comes too early."""

    id: str | None
    status: Status
    outcome: Outcome | None = None
    reason: str | None = None
    field: str | None = None
    record: Issue | None = None
    seq: int | None = None
    version: int | None = None
    retry_after: int | None = None

    @classmethod
    def of(cls, operation: str | None, result: Result) -> Self:
        """What a client is told."""
        return cls(
            id=operation,
            status=result.status,
            outcome=result.first,
            reason=result.error,
            field=result.field,
            record=None if result.row is None else Issue.of(result.row),
            seq=result.seq,
            version=result.version,
            retry_after=result.retry_after,
        )


class SyncChange(BaseModel):
    """An issue that has changed. `row`: as it is now with its comments, null where it is gone or cannot be shown."""

    issue: UUID
    seq: int
    is_purged: bool = False
    row: dict[str, Any] | None = None


class SyncReset(BaseModel):
    """The log does not lead on from the cursor: `floor` (it was trimmed), `epoch` (history was replaced) or `ahead` (no
    seq is that high). `reload` is the address that does."""

    reason: str
    reload: str


class SyncChanges(BaseModel):
    """What has changed since the cursor of the request, the oldest first. `cursor` and `epoch`: for the next request,
    at once if it `has_more`."""

    epoch: UUID
    cursor: int
    has_more: bool = False
    reset: SyncReset | None = None
    changes: list[SyncChange] = []


class SyncResponse(BaseModel):
    """A result for each operation, in their order. `changes`: null unless the request names a cursor."""

    results: list[SyncResult]
    changes: SyncChanges | None = None


class _OwnedByServer(BaseModel):
    """Columns of whole rows that the server writes itself: whatever is sent is passed over."""

    workspace_id: Any = None
    seq: Any = None
    version: Any = None
    created_by: Any = None
    created_at: Any = None
    updated_at: Any = None


class _Inserted(IssueCreate, _OwnedByServer):
    """The row of a new issue."""

    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] | None = ""  # type: ignore[assignment]
    deleted_at: AwareDatetime | None = None

    def edit(self) -> Begin:
        """What is asked of the document."""
        fields = self.fields()
        if self.deleted_at is not None:
            fields["deleted_at"] = self.deleted_at
        return Begin(self.title, self.description or "", self.labels, fields)


class _Updated(IssuePatch, _OwnedByServer):
    """Columns of an issue that are to change."""

    id: UUID | None = None
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] | None = ""  # type: ignore[assignment]
    deleted_at: AwareDatetime | None = None

    def edit(self) -> Changes:
        """What is asked of the document."""
        named = self.model_fields_set
        fields = self.fields()
        if "deleted_at" in named:
            fields["deleted_at"] = self.deleted_at
        return Changes(
            title=self.title if "title" in named else None,
            description=(self.description or "") if "description" in named else None,
            fields=fields,
            labels=self.labels if "labels" in named else None,
            add_labels=self.add_labels,
            remove_labels=self.remove_labels,
        )


class _CommentRow(Nothing):
    """Columns of a comment; what the server writes itself is passed over."""

    issue_id: UUID
    id: Short | None = None
    body: Body | None = None
    deleted_at: AwareDatetime | None = None
    workspace_id: Any = None
    author: Any = None
    created_at: Any = None
    edited_at: Any = None
    updated_at: Any = None


def id_of(sent: object) -> str | None:
    """The id of an operation of whatever form, None where it has none that could be kept."""
    found = sent.get("id") if isinstance(sent, Mapping) else None
    if isinstance(found, str) and 0 < len(found) <= MAX_ID_CHARS and "\0" not in found:
        return found
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else None


def wanted(sent: object, device: str) -> Wanted:
    """What an operation asks for. Raises `Malformed`."""
    operation = _read(SyncOperation, _snake_case(sent, ""), "")
    if operation.device_id not in (None, device):
        raise Malformed("device_id", "is not the device of the request")
    issue, edit = _edit(operation)
    try:
        edit.check()
    except ValueError as error:
        raise Malformed("data", str(error)) from None
    record = operation.record_id if operation.table_name == "comments" else str(issue)
    queued = QueuedOperation(str(operation.id), operation.table_name, record, issue, operation.operation)
    return Wanted(queued, edit, operation.created_at, _base(operation))


def _base(operation: SyncOperation) -> Base | None:
    if operation.base_version is not None and operation.base_seq is not None:
        raise Malformed("base_seq", "name the version or the seq, not both")
    if operation.operation == "insert" or (operation.base_version is None and operation.base_seq is None):
        return None
    return Base(operation.base_version, operation.base_seq)


def _edit(operation: SyncOperation) -> tuple[UUID, Edit]:
    """The issue that is edited, and how."""
    if operation.table_name == "comments":
        return _comment_edit(operation)
    try:
        issue = UUID(operation.record_id)
    except ValueError:
        raise Malformed("record_id", "is no UUID") from None
    if operation.operation == "delete":
        return issue, Delete()
    model = _Inserted if operation.operation == "insert" else _Updated
    row: _Inserted | _Updated = _read(model, _snake_case(operation.data or {}, "data"), "data")
    if row.id not in (None, issue):
        raise Malformed("data.id", "is not the record_id")
    return issue, row.edit()


def _comment_edit(operation: SyncOperation) -> tuple[UUID, Edit]:
    row: _CommentRow = _read(_CommentRow, _snake_case(operation.data or {}, "data"), "data")
    comment = operation.record_id
    if row.id not in (None, comment):
        raise Malformed("data.id", "is not the record_id")
    if operation.operation == "delete" or (operation.operation == "update" and row.deleted_at is not None):
        return row.issue_id, DeleteComment(comment)
    if row.body is None:
        raise Malformed("data.body", "is missing")
    kind = AddComment if operation.operation == "insert" else EditComment
    return row.issue_id, kind(comment, row.body)


def _read(model: type[Any], row: Mapping[str, object], within: str) -> Any:
    try:
        return model.model_validate_json(json.dumps(row), strict=True)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_context=False, include_url=False)[0]
        place = [
            str(part) for part in wrong["loc"] if part not in ("constrained-str", "int")
        ]  # which kind of id it is none of
        raise Malformed(".".join([*filter(None, [within]), *place]), wrong["msg"]) from None


def _snake_case(row: object, within: str) -> dict[str, object]:
    """Columns by the names they have here."""
    if not isinstance(row, Mapping):
        raise Malformed(within, "is no object")
    named: dict[str, object] = {}
    for name, value in row.items():
        column = _UPPER.sub(lambda found: "_" + found[0].lower(), name)
        if column in named:
            raise Malformed(f"{within}.{column}".lstrip("."), "is there twice")
        named[column] = value
    return named
