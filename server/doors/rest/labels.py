"""Labels: those of a workspace with how many issues have each, and one put on an issue or taken off."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final, cast

from pydantic import BaseModel, Field

from crdt.shape import Changes
from server.doors.rest import cursors
from server.doors.rest.arguments import read_cursor
from server.doors.rest.headers import DEVICE, IDEMPOTENCY_KEY, IF_MATCH
from server.doors.rest.issues_read import ISSUE, reach
from server.doors.rest.issues_write import WRITTEN, tags_of, write
from server.doors.rest.models import MAX_PAGE, RowsQuery, Short, Written
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace, OfIssue
from server.doors.rest.problems import FULL, INVALID, NOT_PROJECTED, PRECONDITION, UNWRITABLE
from server.permissions import may_edit, may_read
from server.records import Records
from storage.issue_reader import IssueReader

LABELS: Final = "/v1/workspaces/{workspace}/labels"
LABEL: Final = ISSUE + "/labels/{label}"


class OfLabel(OfIssue):
    """`…/issues/{issue}/labels/{label}`"""

    UNKNOWN = OfIssue.UNKNOWN | {"label": INVALID}
    HOLDS_SLASHES = frozenset({"label"})  # area/ui
    label: Short


class LabelsQuery(RowsQuery):
    """A page, by name."""

    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=cursors.MAX_CHARS)] | None = Field(
        None, description="The page before told it."
    )


class LabelCount(BaseModel):
    """A label, and how many issues have it that are not deleted."""

    label: str
    issues: int


class LabelPage(BaseModel):
    """Some labels. `cursor`: of the next page, null at the end."""

    labels: list[LabelCount]
    cursor: str | None


LIST: Final = Operation(
    method="GET",
    path=LABELS,
    id="listLabels",
    tag="labels",
    summary="Labels that issues have, and how many have each",
    place=InWorkspace,
    query=LabelsQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The page.", LabelPage)},
    problems=(NOT_PROJECTED,),
)
PUT: Final = Operation(
    method="PUT",
    path=LABEL,
    id="putLabel",
    tag="labels",
    summary="Label an issue",
    place=OfLabel,
    query=Query,
    body=Nothing,
    needs=may_edit,
    edits=1,
    answers={HTTPStatus.OK: WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)
REMOVE: Final = Operation(
    method="DELETE",
    path=LABEL,
    id="removeLabel",
    tag="labels",
    summary="Take a label off an issue",
    description="Where the issue does not have it, nothing happens.",
    place=OfLabel,
    query=Query,
    body=Nothing,
    needs=may_edit,
    edits=1,
    answers={HTTPStatus.OK: WRITTEN},
    problems=(PRECONDITION, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)


class Labels:
    """What answers them. `min_seq_seconds`: how long a read waits for the projection."""

    def __init__(self, reader: IssueReader, records: Records, min_seq_seconds: float) -> None:
        self._reader = reader
        self._records = records
        self._min_seq_seconds = min_seq_seconds

    def operations(self) -> list[Served]:
        """What is served here."""
        return [LIST.by(self.list), PUT.by(self.put), REMOVE.by(self.remove)]

    async def list(self, call: Call[InWorkspace, LabelsQuery, Nothing]) -> Reply:
        """A page, and the cursor of the next one."""
        asked, workspace = call.query, call.workspace
        of = f"labels {workspace.id}"
        after = read_cursor(asked.cursor, of, ("text",))
        await reach(self._reader, workspace, asked.min_seq, self._min_seq_seconds)
        name = "" if after is None else cast(str, after[0])
        rows = await self._reader.label_counts(workspace.id, after=name, limit=asked.limit + 1)
        page = rows[: asked.limit]
        following = cursors.written(of, [page[-1][0]]) if len(rows) > len(page) else None
        return Reply(LabelPage(labels=[LabelCount(label=label, issues=n) for label, n in page], cursor=following))

    async def put(self, call: Call[OfLabel, Query, Nothing]) -> Reply:
        """It has it from now on."""
        return await self._write(call, Changes(add_labels=(call.place.label,)))

    async def remove(self, call: Call[OfLabel, Query, Nothing]) -> Reply:
        """It has it no longer."""
        return await self._write(call, Changes(remove_labels=(call.place.label,)))

    async def _write(self, call: Call[OfLabel, Query, Nothing], edit: Changes) -> Reply:
        written = await write(self._records, call, call.place.issue, edit)
        return Reply(Written(id=written.issue_id, seq=written.seq), headers=tags_of(written))
