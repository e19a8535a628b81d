"""`POST` and `PATCH …/issues/bulk`: many issues in one request, each with a result of its own.

Issues are written side by side, and what is made of them is committed together; edits of one issue are made in their
order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from pydantic import BaseModel, Field

from crdt.edits import Begin
from crdt.shape import Changes
from server.doors.rest.headers import DEVICE, IDEMPOTENCY_KEY
from server.doors.rest.issues_read import ISSUES
from server.doors.rest.issues_write import problem_of
from server.doors.rest.models import IssueCreate, IssuePatch, Seq
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import INVALID, FieldError, Problem, ProblemDocument, too_many_edits
from server.muster import Entry, Muster
from server.permissions import may_edit
from server.record_errors import Forbidden, Invalid, RecordError
from server.records import OnlyAt, Records, Written

BULK: Final = ISSUES + "/bulk"
MAX_ITEMS: Final = 1_000  # a setting may say less; more would be in one process at a time than it can hold
_PASSING: Final = (HTTPStatus.TOO_MANY_REQUESTS,)  # asked again, it may be answered otherwise; 5xx too

Told: TypeAlias = Written | RecordError | Problem | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item. `version`: at which alone it is made."""

    issue: UUID
    edit: Begin | Changes
    version: int | None = None

    @property
    def only_at(self) -> OnlyAt | None:
        """As `Records` ask it."""
        return None if self.version is None else self.version.__eq__


class BulkCreate(Nothing):
    """New issues. With ids, sending them again changes nothing."""

    issues: Annotated[list[IssueCreate], Field(min_length=1, max_length=MAX_ITEMS)]


class IssueBulkPatch(IssuePatch):
    """Changes of the issue that it names."""

    id: UUID
    if_version: Seq | None = Field(
        None, description="The `version` of the issue before this request; at another one the item is 412."
    )


class BulkPatch(Nothing):
    """Changes, those of one issue in their order."""

    issues: Annotated[list[IssueBulkPatch], Field(min_length=1, max_length=MAX_ITEMS)]


class BulkResult(BaseModel):
    """What became of one item. `status` is what a request for it alone would be answered; `seq` where it is committed,
    `problem` where it is not · `version`: of the issue then, where an item of it had an `if_version`."""

    status: int
    id: UUID
    seq: int | None = None
    version: int | None = None
    problem: ProblemDocument | None = None


class BulkResults(BaseModel):
    """One an item, in their order."""

    results: list[BulkResult]


_ANSWERS: Final = {HTTPStatus.OK: Answer("What became of each item.", BulkResults)}

CREATE: Final = Operation(
    method="POST",
    path=BULK,
    id="createIssues",
    tag="issues",
    summary="Many new issues",
    description="Where an item is `invalid`, nothing is written; `errors` names them all.",
    place=InWorkspace,
    query=Query,
    body=BulkCreate,
    needs=may_edit,
    answers=_ANSWERS,
    headers=(DEVICE, IDEMPOTENCY_KEY),
)
PATCH: Final = Operation(
    method="PATCH",
    path=BULK,
    id="patchIssues",
    tag="issues",
    summary="Change many issues",
    description="Where an item is `invalid`, nothing is written; `errors` names them all. Items of one issue are one "
    "edit, at one version; those whose `if_version` is another one are left out of it.",
    place=InWorkspace,
    query=Query,
    body=BulkPatch,
    needs=may_edit,
    answers=_ANSWERS,
    headers=(DEVICE, IDEMPOTENCY_KEY),
)


class IssuesBulk:
    """What answers them."""

    def __init__(self, records: Records, most: int, at_once: int) -> None:
        self._records = records
        self._most = most
        self._at_once = at_once

    def operations(self) -> list[Served]:
        """What is served here."""
        stated = f"At most {self._most} items."
        return [
            replace(CREATE, description=f"{stated} {CREATE.description}").by(self.create),
            replace(PATCH, description=f"{stated} {PATCH.description}").by(self.patch),
        ]

    async def create(self, call: Call[InWorkspace, Query, BulkCreate]) -> Reply:
        """201 for each that is new."""
        issues = enumerate(call.body.issues)
        return await self._write(call, [Wanted(item.id or call.new_id(at), item.edit()) for at, item in issues])

    async def patch(self, call: Call[InWorkspace, Query, BulkPatch]) -> Reply:
        """Those of one issue are committed together, whatever is wrong with others."""
        return await self._write(call, [Wanted(item.id, item.edit(), item.if_version) for item in call.body.issues])

    async def _write(self, call: Call[Any, Any, Any], wanted: Sequence[Wanted]) -> Reply:
        if len(wanted) > self._most:
            raise Problem(INVALID, errors=[FieldError("issues", f"are more than {self._most}")])
        told: list[Told] = [_refusal(each.edit) for each in wanted]
        of_issue: dict[UUID, list[int]] = {}
        for at, each in enumerate(wanted):
            if told[at] is None:
                of_issue.setdefault(each.issue, []).append(at)
        await self._put_off(call, of_issue, told)
        muster = Muster(len(of_issue), self._at_once)

        async def write(issue: UUID, items: list[int]) -> None:
            entry = await muster.enter()
            try:
                results = await self._one(call, issue, [wanted[at] for at in items], entry)
            finally:
                entry.leave()
            for at, result in zip(items, results, strict=True):
                told[at] = result

        async with asyncio.TaskGroup() as tasks:
            for issue, items in of_issue.items():
                tasks.create_task(write(issue, items))
        results = [_result(each.issue, one, call.request_id) for each, one in zip(wanted, told, strict=True)]
        is_final = not any(result.status in _PASSING or result.status >= 500 for result in results)
        forbidden = next((str(one) for one in told if isinstance(one, Forbidden)), None)
        return Reply(BulkResults(results=results), is_partial=True, is_final=is_final, forbidden=forbidden)

    async def _put_off(self, call: Call[Any, Any, Any], of_issue: dict[UUID, list[int]], told: list[Told]) -> None:
        """Take out the issues that may not be written now, and tell so of their items. What was made before, under the
        same key, costs nothing. Raises `Problem` when nothing is left."""
        new = [issue for issue in of_issue if call.once is None or issue not in call.once.made]
        granted = await call.grant([len(of_issue[issue]) for issue in new])
        for issue in new[granted.parts :]:
            for at in of_issue.pop(issue):
                told[at] = too_many_edits(granted.retry_after)
        if new and not of_issue:
            raise too_many_edits(granted.retry_after)

    async def _one(
        self, call: Call[Any, Any, Any], issue: UUID, wanted: Sequence[Wanted], entry: Entry
    ) -> Sequence[Written | RecordError]:
        try:
            return await self._records.change_issue(
                call.workspace,
                call.identity,
                issue,
                [each.edit for each in wanted],
                device=call.device,
                only_at=[each.only_at for each in wanted],
                once=call.once,
                when=entry.made,
            )
        except RecordError as error:
            return [error] * len(wanted)


def _refusal(edit: Begin | Changes) -> Invalid | None:
    """What is wrong with it that its model cannot say, so that it does not spoil others of its issue."""
    try:
        edit.check()
    except ValueError as error:
        return Invalid(str(error))
    return None


def _result(issue: UUID, told: Told, request_id: str) -> BulkResult:
    assert told is not None
    if isinstance(told, Written):
        status = HTTPStatus.CREATED if told.is_new else HTTPStatus.OK
        result = BulkResult(status=status, id=issue, seq=told.seq)
        return result if told.version is None else result.model_copy(update={"version": told.version})
    problem = told if isinstance(told, Problem) else problem_of(told)
    document = ProblemDocument.model_validate(problem.document(request_id))
    return BulkResult(status=problem.kind.status, id=issue, problem=document)
