"""`GET …/activity`: what happened in a workspace, over all its issues."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from server.doors.rest.history import MAX_ACTOR_CHARS
from server.doors.rest.history_models import MAX_CURSOR, ActivityEntry, ActivityPage, Kind, kinds_of, shown
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.past import Moment, Past, answered, before, following
from server.doors.rest.paths import InWorkspace
from server.permissions import may_read
from storage.activity import ActivityQuery, Happening
from storage.log_reader import NEWEST

MAX_ENTRIES: Final = 100  # each is read out of an engine; `max-page` may say less


class ActivityParameters(Query):
    """The query of an activity feed. Filters are combined with and."""

    limit: Annotated[int, Field(ge=1, le=MAX_ENTRIES)] = 30
    cursor: Annotated[str, Field(max_length=MAX_CURSOR)] | None = None
    actor: Annotated[str, Field(min_length=1, max_length=MAX_ACTOR_CHARS)] | None = None
    issue: UUID | None = None
    kind: Kind | None = Field(None, description="Only entries with a change of this kind.")
    since: Moment | None = Field(None, description="Only what came after this seq, or at this time or later.")


ACTIVITY: Final = Operation(
    method="GET",
    path="/v1/workspaces/{workspace}/activity",
    id="readActivity",
    tag="history",
    summary="What happened in a workspace",
    description="Newest first. A page looks at a bounded piece of the log, so a filter may leave it short or empty; "
    "follow `cursor` until it is null. An entry is divided where a page ends.",
    place=InWorkspace,
    query=ActivityParameters,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The page.", ActivityPage)},
    costs=True,
)


class ActivityFeed:
    """Of a workspace."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def operations(self) -> list[Served]:
        """What is served here."""
        return [ACTIVITY.by(self.page)]

    async def page(self, call: Call[InWorkspace, ActivityParameters, Nothing]) -> Reply:
        """A page, and the cursor of the next one."""
        asked = call.query
        of = f"activity {call.workspace.id} {asked.actor} {asked.issue} {asked.kind} {asked.since}"
        start = before(asked.cursor, of)
        query = ActivityQuery(
            limit=asked.limit,
            before=NEWEST if start is None else start,
            after=0 if asked.since is None else await self._past.seq_before(call.workspace, asked.since),
            issue_id=asked.issue,
            actor_id=asked.actor,
        )
        with answered():
            page = await self._past.activity.page(call.workspace.id, query)
        entries = [entry for entry in map(_shown, page.happenings) if asked.kind in (None, *entry.kinds)]
        return Reply(ActivityPage(entries=entries, cursor=following(page.before, of)))


def _shown(happening: Happening) -> ActivityEntry:
    head, entry = happening.head, happening.entry
    return ActivityEntry(
        issue=happening.issue_id,
        seq=head.seq,
        actor=head.actor_id,
        device=head.device_id,
        at=head.created_at,
        is_readable=entry is not None,
        kinds=_kinds(happening),
        changes=[] if entry is None else shown(entry.changes),
    )


def _kinds(happening: Happening) -> list[Kind]:
    if happening.head.is_tombstone:
        return ["purged"]
    return [] if happening.entry is None else kinds_of(happening.entry)
