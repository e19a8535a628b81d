"""`GET …/{workspace}` and `…/me`: where a token leads, and whom it names there."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.permissions import Role, may_read

WORKSPACE: Final = "/v1/workspaces/{workspace}"


class WorkspaceShown(BaseModel):
    """A workspace. `head`: the newest seq · `floor`: the highest trimmed one · `epoch`: another one after the log was
    put back from a backup."""

    slug: str
    name: str
    head: int
    floor: int
    epoch: UUID


class Me(BaseModel):
    """Whom the token names. `role` is what counts, the lesser of the token's and the membership's; `acting_for`: the
    user an agent works for."""

    user_id: str
    role: Role
    acting_for: str | None
    device_id: str | None
    expires_at: datetime | None


READ: Final = Operation(
    method="GET",
    path=WORKSPACE,
    id="readWorkspace",
    tag="workspaces",
    summary="The workspace, and how far it is",
    place=InWorkspace,
    query=Query,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("The workspace.", WorkspaceShown)},
)
ME: Final = Operation(
    method="GET",
    path=WORKSPACE + "/me",
    id="readMe",
    tag="workspaces",
    summary="Who you are here, and what you may",
    place=InWorkspace,
    query=Query,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("You.", Me)},
)


async def read_workspace(call: Call[InWorkspace, Query, Nothing]) -> Reply:
    """As it is at this moment."""
    found = call.workspace
    shown = WorkspaceShown(slug=found.slug, name=found.name, head=found.head, floor=found.floor, epoch=found.epoch)
    return Reply(shown)


async def read_me(call: Call[InWorkspace, Query, Nothing]) -> Reply:
    """The caller."""
    you = call.identity
    me = Me(
        user_id=you.user_id,
        role=you.role,
        acting_for=you.acting_for,
        device_id=call.device,
        expires_at=you.expires_at,
    )
    return Reply(me)


def operations() -> list[Served]:
    """What is served here. It needs nothing but the request."""
    return [READ.by(read_workspace), ME.by(read_me)]
