"""`GET …/issues/{id}/history`, `/diff`, `/blame` and `POST …/revert`: what happened to an issue, and taking it back."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from crdt.jobs_reverts import MakeRevert, Reverted
from crdt.reverts import Whose
from server.doors.rest.headers import DEVICE, IDEMPOTENCY_KEY, IF_MATCH
from server.doors.rest.history_models import (
    MAX_CURSOR,
    BlamePage,
    Difference,
    HistoryEntry,
    HistoryPage,
    RevertResult,
    left_alone,
    shown,
)
from server.doors.rest.issues_read import ISSUE
from server.doors.rest.issues_write import condition_of, problem_of
from server.doors.rest.models import MAX_PAGE
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.past import Moment, Past, answered, before, following
from server.doors.rest.paths import OfIssue
from server.doors.rest.problems import (
    FULL,
    INVALID,
    PRECONDITION,
    TRIMMED,
    UNKNOWN_ISSUE,
    UNREADABLE,
    UNWRITABLE,
    FieldError,
    Problem,
)
from server.permissions import may_edit, may_read
from server.record_errors import RecordError
from server.records import Issue, Records, Terms
from storage.engine import IssueKey
from storage.log_reader import NEWEST, Walk

MAX_ACTOR_CHARS: Final = 500  # of the format: a user's id, and whom it acts for


class HistoryQuery(Query):
    """The query of a history."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=MAX_CURSOR)] | None = None


class DiffQuery(Query):
    """Two moments, in any order."""

    from_: Moment = Field(alias="from")
    to: Moment


class BlameQuery(Query):
    """Which text."""

    field: Literal["title", "description"] = "description"


def _given(*names: str) -> dict[str, Any]:
    return {"required": list(names), "properties": {name: {"type": "string"} for name in names}}


def _not_given(*names: str) -> dict[str, Any]:
    return {"properties": {name: {"type": "null"} for name in names}}


_TO: Final = {"allOf": [_given("to"), _not_given("since", "actor", "device")]}
_SINCE: Final = {"allOf": [_given("since"), _not_given("to"), {"anyOf": [_given("actor"), _given("device")]}]}
_IS_ONE_OF_TWO: Final[dict[str, Any]] = {"oneOf": [_TO, _SINCE]}


class RevertRequest(Nothing):
    """`to`: everything as it was at that moment. Or `since`: what `actor` (or a `device` of anybody, or of the actor)
    did since that moment, beside which the work of all others stays."""

    model_config = ConfigDict(json_schema_extra=_IS_ONE_OF_TWO)

    to: Moment | None = None
    since: Moment | None = None
    actor: Annotated[str, Field(min_length=1, max_length=MAX_ACTOR_CHARS)] | None = None
    device: Annotated[str, Field(min_length=1, max_length=DEVICE.max_chars)] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        is_whose = self.actor is not None or self.device is not None
        if (self.to is None) == (self.since is None) or is_whose != (self.since is not None):
            raise ValueError("give `to`, or `since` with `actor` or `device`")
        return self

    @property
    def whose(self) -> Whose | None:
        """Whose work it is; None: everybody's."""
        return None if self.since is None else Whose(self.actor, self.device)


HISTORY: Final = Operation(
    method="GET",
    path=ISSUE + "/history",
    id="readHistory",
    tag="history",
    summary="What changed, by whom and when",
    description="Newest first. Edits of one actor on one device that follow each other closely are one entry.",
    place=OfIssue,
    query=HistoryQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The page.", HistoryPage)},
    problems=(UNREADABLE,),
    costs=True,
)
DIFF: Final = Operation(
    method="GET",
    path=ISSUE + "/diff",
    id="diffIssue",
    tag="history",
    summary="What differs between two moments",
    place=OfIssue,
    query=DiffQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The difference.", Difference)},
    problems=(TRIMMED, UNREADABLE),
    costs=True,
)
BLAME: Final = Operation(
    method="GET",
    path=ISSUE + "/blame",
    id="blameText",
    tag="history",
    summary="Who wrote which characters",
    place=OfIssue,
    query=BlameQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The text in runs.", BlamePage)},
    problems=(UNREADABLE,),
    costs=True,
)
REVERT: Final = Operation(
    method="POST",
    path=ISSUE + "/revert",
    id="revertIssue",
    tag="history",
    summary="Take changes back",
    description="An ordinary edit: it merges with what others type meanwhile, and can be taken back itself.",
    place=OfIssue,
    query=Query,
    body=RevertRequest,
    needs=may_edit,
    edits=1,
    audited=(),
    answers={HTTPStatus.OK: Answer("It is committed.", RevertResult)},
    problems=(PRECONDITION, TRIMMED, UNREADABLE, UNWRITABLE, FULL),
    headers=(DEVICE, IF_MATCH, IDEMPOTENCY_KEY),
)


class IssueHistory:
    """What is told of one issue's past."""

    def __init__(self, past: Past, records: Records) -> None:
        self._past = past
        self._records = records

    def operations(self) -> list[Served]:
        """What is served here."""
        return [HISTORY.by(self.page), DIFF.by(self.diff), BLAME.by(self.blame), REVERT.by(self.revert)]

    async def page(self, call: Call[OfIssue, HistoryQuery, Nothing]) -> Reply:
        """A page, and the cursor of the next one."""
        key = _key(call)
        of = f"history {key}"
        start = before(call.query.cursor, of)
        with answered():
            page = await self._past.timeline.page(key, call.query.limit, NEWEST if start is None else start)
        if page is None:
            raise Problem(UNKNOWN_ISSUE)
        entries = [HistoryEntry.of(entry) for entry in page.entries]
        return Reply(HistoryPage(entries=entries, cursor=following(page.before, of), floor=page.floor))

    async def diff(self, call: Call[OfIssue, DiffQuery, Nothing]) -> Reply:
        """Where the issue did not exist yet, all of it is new."""
        key = _key(call)
        await self._expect(key)
        earlier = await self._past.seq_of(key, call.query.from_)
        later = await self._past.seq_of(key, call.query.to)
        with answered():
            changes = await self._past.timeline.difference(key, earlier, later)
        return Reply(Difference(from_seq=earlier, to_seq=later, changes=shown(changes)))

    async def blame(self, call: Call[OfIssue, BlameQuery, Nothing]) -> Reply:
        """The text as it is now."""
        with answered():
            blamed = await self._past.timeline.blame(_key(call), call.query.field)
        if blamed is None:
            raise Problem(UNKNOWN_ISSUE)
        return Reply(BlamePage.of(call.query.field, blamed))

    async def revert(self, call: Call[OfIssue, Query, RevertRequest]) -> Reply:
        """What others have changed since is left alone, and named."""
        key = _key(call)
        made = None if call.once is None else call.once.made.get(key.issue_id)
        if made is not None:  # who did it did not get to say what
            return Reply(RevertResult(id=key.issue_id, seq=made.seq, changes=[], left_alone=[]))
        reverted, seq = await self._revert(call, key, await self._since(key, call.body))
        if not reverted.is_plain:
            raise Problem(UNWRITABLE, "an embedded object stands where text should be written")
        changes, left = shown(reverted.changes), left_alone(reverted.left)
        return Reply(RevertResult(id=key.issue_id, seq=seq, changes=changes, left_alone=left))

    async def _revert(
        self, call: Call[OfIssue, Query, RevertRequest], key: IssueKey, since: int
    ) -> tuple[Reverted, int]:
        whose = call.body.whose
        with answered():
            timeline = self._past.timeline
            if whose is None:
                walk = Walk(await timeline.state(key, since), ())
            else:
                walk = await timeline.turns(key, since)

        def job(issue: Issue) -> MakeRevert:
            seen = walk.seen.updates
            return MakeRevert(issue.updates, issue.client_id, issue.author, seen, walk.entries, whose)

        once = call.once
        mark = None if once is None else lambda reverted: once.mark(())
        terms: Terms[Reverted] = Terms(only_at=condition_of(call), mark=mark)
        try:
            return await self._records.make(
                call.workspace, call.identity, key.issue_id, job, device=call.device, terms=terms
            )
        except RecordError as error:
            raise problem_of(error) from None

    async def _since(self, key: IssueKey, body: RevertRequest) -> int:
        """The seq before what is taken back. That an issue began is not taken back."""
        first = await self._expect(key)
        moment = body.to if body.since is None else body.since
        assert moment is not None
        seq = await self._past.seq_of(key, moment)
        if seq >= first:
            return seq
        if await self._past.timeline.floor(key):
            raise Problem(TRIMMED, f"the history of this issue starts at seq {first}")
        if body.since is None:
            wrong = FieldError("to", f"the issue began later, in seq {first}: delete it instead")
            raise Problem(INVALID, errors=[wrong])
        return first

    async def _expect(self, key: IssueKey) -> int:
        """Where the issue began."""
        first = await self._past.timeline.first_seq(key)
        if not first:
            raise Problem(UNKNOWN_ISSUE)
        return first


def _key(call: Call[OfIssue, Any, Any]) -> IssueKey:
    return IssueKey(call.workspace.id, call.place.issue)
