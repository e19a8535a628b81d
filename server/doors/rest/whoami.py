"""`GET /v1/me` and `GET /v1/workspaces`: whom a token names, before a workspace is named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final, TypeAlias

from pydantic import BaseModel

from server.auth import Credentials, NotAllowed, TokenRefused
from server.doors.credentials import presented_by
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import Place
from server.doors.rest.problems import FORBIDDEN, UNAUTHORIZED, Problem
from server.permissions import Identity, Role

# Whom credentials name in each workspace where they count. Raises `TokenRefused`, `NotAllowed`, `IdentityUnavailable`.
Everywhere: TypeAlias = Callable[[Credentials], Awaitable[Sequence[Identity]]]


class Standing(BaseModel):
    """A workspace where the token counts, and what it allows there."""

    workspace: str
    role: Role


class Standings(BaseModel):
    """In the order in which workspaces were made."""

    workspaces: list[Standing]


class You(BaseModel):
    """Whom the token names. `acting_for`: the user an agent works for."""

    user_id: str
    acting_for: str | None
    device_id: str | None
    expires_at: datetime | None
    workspaces: list[Standing]


def _about(path: str, name: str, summary: str, answer: Answer) -> Operation[Place, Query, Nothing]:
    return Operation(
        method="GET",
        path=path,
        id=name,
        tag="workspaces",
        summary=summary,
        description="A token of ours is for one workspace; a provider's counts wherever its user is a member.",
        place=Place,
        query=Query,
        body=Nothing,
        needs=None,
        reads_token=True,
        answers={HTTPStatus.OK: answer},
        problems=(UNAUTHORIZED, FORBIDDEN),
    )


ME: Final = _about("/v1/me", "whoAmI", "Who you are, and where", Answer("You.", You))
WORKSPACES: Final = _about(
    "/v1/workspaces", "listWorkspaces", "Workspaces where the token counts", Answer("Them.", Standings)
)


class WhoAmI:
    """What answers them."""

    def __init__(self, everywhere: Everywhere) -> None:
        self._everywhere = everywhere

    def operations(self) -> list[Served]:
        """What is served here."""
        return [ME.by(self.me), WORKSPACES.by(self.workspaces)]

    async def me(self, call: Call[Place, Query, Nothing]) -> Reply:
        """The same user everywhere."""
        found = await self._identities(call)
        you = found[0]
        shown = You(
            user_id=you.user_id,
            acting_for=you.acting_for,
            device_id=you.device_id,
            expires_at=you.expires_at,
            workspaces=_standings(found),
        )
        return Reply(shown)

    async def workspaces(self, call: Call[Place, Query, Nothing]) -> Reply:
        """All of them."""
        return Reply(Standings(workspaces=_standings(await self._identities(call))))

    async def _identities(self, call: Call[Place, Query, Nothing]) -> Sequence[Identity]:
        try:
            found = await self._everywhere(presented_by(call.request))
        except TokenRefused as refused:
            raise Problem(UNAUTHORIZED, str(refused), headers={"WWW-Authenticate": "Bearer"}) from None
        except NotAllowed as refused:
            raise Problem(FORBIDDEN, str(refused)) from None
        if not found:
            raise Problem(FORBIDDEN, "not a member of any workspace here")
        return found


def _standings(found: Sequence[Identity]) -> list[Standing]:
    return [Standing(workspace=each.workspace, role=each.role) for each in found]
