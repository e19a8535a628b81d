"""`…/conflicts`: what merging lost of what somebody wrote, and how to have it back; `…/conflict-policy`."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from server.decisions import Decided, Decisions
from server.doors.rest.conflict_models import (
    Conflict,
    ConflictPage,
    ConflictParameters,
    OfConflict,
    Policy,
    Resolve,
    ShownPolicy,
    written_cursor,
)
from server.doors.rest.headers import DEVICE, IDEMPOTENCY_KEY
from server.doors.rest.issues_write import problem_of
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import (
    FULL,
    INVALID,
    PURGED,
    RESOLVED,
    UNKNOWN_CONFLICT,
    UNWRITABLE,
    FieldError,
    Problem,
)
from server.permissions import may_administer, may_edit, may_read
from server.record_errors import NotThere, RecordError
from storage.conflicts import Ledger, Strategy

_WORKSPACE: Final = "/v1/workspaces/{workspace}"
_CONFLICT: Final = _WORKSPACE + "/conflicts/{conflict}"

LIST: Final = Operation(
    method="GET",
    path=_WORKSPACE + "/conflicts",
    id="listConflicts",
    tag="conflicts",
    summary="Values that two people wrote at once, the oldest first",
    description="docs/conflicts.md says what counts. Follow `cursor` for the next page, with the same filters.",
    place=InWorkspace,
    query=ConflictParameters,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The page.", ConflictPage)},
)
READ: Final = Operation(
    method="GET",
    path=_CONFLICT,
    id="readConflict",
    tag="conflicts",
    summary="One conflict, open or resolved",
    place=OfConflict,
    query=Query,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The conflict.", Conflict)},
)
RESOLVE: Final = Operation(
    method="POST",
    path=_CONFLICT + "/resolve",
    id="resolveConflict",
    tag="conflicts",
    summary="Keep one of the two values, or another one",
    description="It is an ordinary edit of the issue. What the system decided a person may decide otherwise; of two "
    "people the first one counts.",
    place=OfConflict,
    query=Query,
    body=Resolve,
    needs=may_edit,
    edits=1,
    answers={HTTPStatus.OK: Answer("It is committed.", Conflict)},
    problems=(RESOLVED, PURGED, UNWRITABLE, FULL),
    headers=(DEVICE, IDEMPOTENCY_KEY),
)
READ_POLICY: Final = Operation(
    method="GET",
    path=_WORKSPACE + "/conflict-policy",
    id="readConflictPolicy",
    tag="conflicts",
    summary="How conflicts are decided, by field",
    place=InWorkspace,
    query=Query,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The policy.", ShownPolicy)},
)
CHANGE_POLICY: Final = Operation(
    method="PUT",
    path=_WORKSPACE + "/conflict-policy",
    id="changeConflictPolicy",
    tag="conflicts",
    summary="Decide conflicts otherwise from now on",
    place=InWorkspace,
    query=Query,
    body=Policy,
    needs=may_administer,
    audited=(),
    answers={HTTPStatus.OK: Answer("It holds from the next conflict on.", ShownPolicy)},
    headers=(IDEMPOTENCY_KEY,),
)


@dataclass(frozen=True, slots=True)
class ConflictServices:
    """What these operations stand on."""

    ledger: Ledger
    decisions: Decisions


class Conflicts:
    """What answers them."""

    def __init__(self, services: ConflictServices) -> None:
        self._ledger = services.ledger
        self._decisions = services.decisions

    def operations(self) -> list[Served]:
        """What is served here."""
        return [
            LIST.by(self.list),
            READ.by(self.one),
            RESOLVE.by(self.resolve),
            READ_POLICY.by(self.policy),
            CHANGE_POLICY.by(self.change_policy),
        ]

    async def list(self, call: Call[InWorkspace, ConflictParameters, Nothing]) -> Reply:
        """A page, and the cursor of the next one."""
        try:
            query = call.query.query()
        except ValueError as error:
            raise Problem(INVALID, "not a cursor of this list", errors=[FieldError("cursor", str(error))]) from None
        found = await self._ledger.page(call.workspace.id, query)
        page = found[: call.query.limit]
        cursor = written_cursor(page[-1]) if len(found) > len(page) else None
        return Reply(ConflictPage(conflicts=[Conflict.of(row) for row in page], cursor=cursor))

    async def one(self, call: Call[OfConflict, Query, Nothing]) -> Reply:
        """With both values."""
        row = await self._ledger.one(call.workspace.id, call.place.conflict)
        if row is None:
            raise Problem(UNKNOWN_CONFLICT)
        return Reply(Conflict.of(row))

    async def resolve(self, call: Call[OfConflict, Query, Resolve]) -> Reply:
        """The conflict as it is then; 409 with it when somebody was first."""
        try:
            row = await self._decisions.resolve(
                call.workspace, call.identity, call.place.conflict, call.body.decision(), device=call.device
            )
        except Decided as decided:
            conflict = Conflict.of(decided.conflict).model_dump(mode="json")
            raise Problem(RESOLVED, more={"conflict": conflict}, issue_id=decided.conflict.issue_id) from None
        except NotThere:
            raise Problem(UNKNOWN_CONFLICT) from None
        except RecordError as error:
            raise problem_of(error) from None
        return Reply(Conflict.of(row), issue_id=row.issue_id)

    async def policy(self, call: Call[InWorkspace, Query, Nothing]) -> Reply:
        """What the workspace says, and what holds beside."""
        return Reply(ShownPolicy.of(await self._ledger.policy(call.workspace.id)))

    async def change_policy(self, call: Call[InWorkspace, Query, Policy]) -> Reply:
        """It is replaced as a whole."""
        fields: dict[str, Strategy] = dict(call.body.fields.items())
        await self._ledger.set_policy(call.workspace.id, fields)
        return Reply(ShownPolicy.of(fields))
