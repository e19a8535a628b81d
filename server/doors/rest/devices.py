"""`…/devices`, `…/sessions` and `…/tokens`: with what people come, who is here, and ending it. Everybody sees and ends
their own, admins those of others."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from server.clock import Clock
from server.doors.rest.headers import IDEMPOTENCY_KEY
from server.doors.rest.members import Name
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import FORBIDDEN, UNKNOWN_DEVICE, UNKNOWN_SESSION, UNKNOWN_TOKEN, Problem, ProblemType
from server.permissions import Identity, Role, may_administer, may_read
from storage.logins import Logins
from storage.people import People
from storage.visitors import Visitors

_ROOT: Final = "/v1/workspaces/{workspace}"
_MOST: Final = 1_000  # newest first, without pages: beyond it there is nothing a person looks through


class OfDevice(InWorkspace):
    """`…/devices/{user}/{device}`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"user": UNKNOWN_DEVICE, "device": UNKNOWN_DEVICE}
    user: Name
    device: Name


class OfSession(InWorkspace):
    """`…/sessions/{session}`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"session": UNKNOWN_SESSION}
    session: UUID


class OfToken(InWorkspace):
    """`…/tokens/{issued}`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"issued": UNKNOWN_TOKEN}
    issued: Name


class OwnedQuery(Query):
    """Whose; without it one's own, for admins everybody's. At most a thousand are listed."""

    user: Name | None = None


class Device(BaseModel):
    """What a client said of itself, from its first use on."""

    user_id: str
    id: str
    platform: str | None
    user_agent: str | None
    public_key: str | None
    address: str
    first_seen_at: datetime
    last_seen_at: datetime
    last_sync_at: datetime | None
    revoked_at: datetime | None


class Devices(BaseModel):
    """The newest of each user first."""

    devices: list[Device]


class Session(BaseModel):
    """A user on a socket, of whatever node."""

    id: UUID
    user_id: str
    role: Role
    acting_for: str | None
    device_id: str | None
    dialect: str
    address: str
    user_agent: str | None
    began_at: datetime


class Sessions(BaseModel):
    """Who is connected, a second ago."""

    sessions: list[Session]


class ScriptToken(BaseModel):
    """A token that was printed for a script. What it says is nowhere, only its id."""

    id: str
    user_id: str
    role: Role
    acting_for: str | None
    device_id: str | None
    created_at: datetime
    used_at: datetime | None
    expires_at: datetime
    revoked_at: datetime | None


class ScriptTokens(BaseModel):
    """Those that have not expired."""

    tokens: list[ScriptToken]


def _list(name: str, tag: str, summary: str, model: type[BaseModel]) -> Operation[InWorkspace, OwnedQuery, Nothing]:
    return Operation(
        method="GET",
        path=f"{_ROOT}/{tag}",
        id=name,
        tag=tag,
        summary=summary,
        place=InWorkspace,
        query=OwnedQuery,
        body=Nothing,
        needs=may_read,
        answers={HTTPStatus.OK: Answer("All of them.", model)},
    )


LIST_DEVICES: Final = _list("listDevices", "devices", "Devices that were used here", Devices)
LIST_SESSIONS: Final = _list("listSessions", "sessions", "Who is connected", Sessions)
LIST_TOKENS: Final = _list("listTokens", "tokens", "Tokens of scripts", ScriptTokens)

REVOKE_DEVICE: Final = Operation(
    method="DELETE",
    path=f"{_ROOT}/devices/{{user}}/{{device}}",
    id="revokeDevice",
    tag="devices",
    summary="Let a device in no more",
    description="With it goes the login or token it came with; its sockets close within seconds.",
    place=OfDevice,
    query=Query,
    body=Nothing,
    needs=may_read,
    audited=(),
    answers={HTTPStatus.NO_CONTENT: Answer("It is revoked.")},
    problems=(UNKNOWN_DEVICE,),
    headers=(IDEMPOTENCY_KEY,),
)
END_SESSION: Final = Operation(
    method="DELETE",
    path=f"{_ROOT}/sessions/{{session}}",
    id="endSession",
    tag="sessions",
    summary="End a session",
    description="With it goes the login or token it came with; its socket closes within seconds.",
    place=OfSession,
    query=Query,
    body=Nothing,
    needs=may_read,
    audited=(),
    answers={HTTPStatus.NO_CONTENT: Answer("It is ended.")},
    problems=(UNKNOWN_SESSION,),
    headers=(IDEMPOTENCY_KEY,),
)
REVOKE_TOKEN: Final = Operation(
    method="DELETE",
    path=f"{_ROOT}/tokens/{{issued}}",
    id="revokeToken",
    tag="tokens",
    summary="Revoke a token",
    description="By its id; its sockets close within seconds.",
    place=OfToken,
    query=Query,
    body=Nothing,
    needs=may_read,
    audited=(),
    answers={HTTPStatus.NO_CONTENT: Answer("It is revoked.")},
    problems=(UNKNOWN_TOKEN,),
    headers=(IDEMPOTENCY_KEY,),
)


class DeviceOperations:
    """What answers them."""

    def __init__(self, people: People, logins: Logins, visitors: Visitors, clock: Clock) -> None:
        self._people = people
        self._logins = logins
        self._visitors = visitors
        self._clock = clock

    def operations(self) -> list[Served]:
        """What is served here."""
        return [
            LIST_DEVICES.by(self.devices),
            LIST_SESSIONS.by(self.sessions),
            LIST_TOKENS.by(self.tokens),
            REVOKE_DEVICE.by(self.revoke_device),
            END_SESSION.by(self.end_session),
            REVOKE_TOKEN.by(self.revoke_token),
        ]

    async def devices(self, call: Call[InWorkspace, OwnedQuery, Nothing]) -> Reply:
        """Of one user or all."""
        rows = await self._visitors.devices(call.workspace.id, _whose(call), _MOST)
        return Reply(Devices(devices=[Device.model_validate(row, from_attributes=True) for row in rows]))

    async def sessions(self, call: Call[InWorkspace, OwnedQuery, Nothing]) -> Reply:
        """Of one user or all."""
        rows = await self._visitors.visits(call.workspace.id, _whose(call), _MOST)
        return Reply(Sessions(sessions=[Session.model_validate(row, from_attributes=True) for row in rows]))

    async def tokens(self, call: Call[InWorkspace, OwnedQuery, Nothing]) -> Reply:
        """Of one user or all."""
        rows = (await self._logins.tokens(call.workspace.id, _whose(call), self._clock.now()))[:_MOST]
        return Reply(ScriptTokens(tokens=[ScriptToken.model_validate(row, from_attributes=True) for row in rows]))

    async def revoke_device(self, call: Call[OfDevice, Query, Nothing]) -> Reply:
        """One's own, or anybody's for an admin."""
        user, device = call.place.user, call.place.device
        _check_owner(call.identity, user, UNKNOWN_DEVICE)
        if not await self._people.revoke_device(call.workspace.id, user, device, self._clock.now()):
            raise Problem(UNKNOWN_DEVICE)
        return Reply(status=HTTPStatus.NO_CONTENT)

    async def end_session(self, call: Call[OfSession, Query, Nothing]) -> Reply:
        """One's own, or anybody's for an admin."""
        owner = await self._visitors.owner_of(call.workspace.id, call.place.session)
        _check_owner(call.identity, owner, UNKNOWN_SESSION)
        if not await self._visitors.end_visit(call.workspace.id, call.place.session, self._clock.now()):
            raise Problem(UNKNOWN_SESSION)
        return Reply(status=HTTPStatus.NO_CONTENT)

    async def revoke_token(self, call: Call[OfToken, Query, Nothing]) -> Reply:
        """One's own, or anybody's for an admin."""
        owner = await self._logins.owner_of_token(call.workspace.id, call.place.issued)
        _check_owner(call.identity, owner, UNKNOWN_TOKEN)
        if not await self._logins.revoke_token(call.workspace.id, call.place.issued, self._clock.now()):
            raise Problem(UNKNOWN_TOKEN)
        return Reply(status=HTTPStatus.NO_CONTENT)


def _whose(call: Call[InWorkspace, OwnedQuery, Nothing]) -> str | None:
    """None: everybody's."""
    asked, caller = call.query.user, call.identity
    if may_administer(caller):
        return asked
    if asked not in (None, caller.user_id):
        raise Problem(FORBIDDEN, f"the role {caller.role} does not allow it for others")
    return caller.user_id


def _check_owner(caller: Identity, owner: str | None, unknown: ProblemType) -> None:
    """What is somebody else's is not there, for who is no admin."""
    if owner is None or (owner != caller.user_id and not may_administer(caller)):
        raise Problem(unknown)
