"""`…/members`: who belongs to a workspace, what they may, and taking them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from server.auth.credentials import MAX_NAME_LENGTH
from server.clock import Clock
from server.doors.rest.headers import IDEMPOTENCY_KEY
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import FORBIDDEN, LAST_OWNER, UNKNOWN_USER, Problem
from server.permissions import Identity, Role, may_grant, may_manage_members, may_read
from storage.people import LastOwner, People
from storage.people import Member as MemberRow

MEMBERS: Final = "/v1/workspaces/{workspace}/members"
MEMBER: Final = MEMBERS + "/{user}"
MAX_PAGE: Final = 1_000  # rows of a few hundred bytes; `max-page` may say less

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH, pattern=r"^[^\x00-\x1f\x7f]+$")]


class OfUser(InWorkspace):
    """`…/members/{user}`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"user": UNKNOWN_USER}
    user: Name


class MembersQuery(Query):
    """A page, in the order of user ids; `after` is the last id of the page before."""

    after: str = ""
    limit: int = Field(100, ge=1, le=MAX_PAGE)


class Membership(BaseModel):
    """A user of the workspace. `role` is null for those whose tokens alone say what they may."""

    user_id: str
    role: Role | None
    name: str | None
    email: str | None
    created_at: datetime
    last_sync_at: datetime | None
    device_id: str | None
    is_removed: bool


class Memberships(BaseModel):
    """`next`: `after` of the next page, null at the end."""

    members: list[Membership]
    next: str | None


class MembershipChange(BaseModel):
    """The role, and who it is, for people; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    role: Role
    name: Name | None = None
    email: Name | None = None


LIST: Final = Operation(
    method="GET",
    path=MEMBERS,
    id="listMembers",
    tag="members",
    summary="Users of the workspace and their roles",
    place=InWorkspace,
    query=MembersQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("A page of them.", Memberships)},
)
PUT: Final = Operation(
    method="PUT",
    path=MEMBER,
    id="putMember",
    tag="members",
    summary="Give somebody a role",
    description="It counts at once, for open sockets too. Nobody gives or takes a role above their own.",
    place=OfUser,
    query=Query,
    body=MembershipChange,
    needs=may_manage_members,
    audited=("role",),
    answers={HTTPStatus.OK: Answer("As it is now.", Membership)},
    problems=(LAST_OWNER,),
    headers=(IDEMPOTENCY_KEY,),
)
REMOVE: Final = Operation(
    method="DELETE",
    path=MEMBER,
    id="removeMember",
    tag="members",
    summary="Take somebody out",
    description="Their tokens and logins are worth nothing from now on, their sockets close within seconds.",
    place=OfUser,
    query=Query,
    body=Nothing,
    needs=may_manage_members,
    audited=(),
    answers={HTTPStatus.NO_CONTENT: Answer("They are out.")},
    problems=(LAST_OWNER, UNKNOWN_USER),
    headers=(IDEMPOTENCY_KEY,),
)
SIGN_OUT: Final = Operation(
    method="POST",
    path=MEMBER + "/sign-out",
    id="signOutMember",
    tag="members",
    summary="Sign somebody out everywhere",
    description="They stay a member and have to sign in again. Everybody may do so for themselves.",
    place=OfUser,
    query=Query,
    body=Nothing,
    needs=may_read,
    audited=(),
    answers={HTTPStatus.NO_CONTENT: Answer("They are signed out.")},
    problems=(UNKNOWN_USER,),
    headers=(IDEMPOTENCY_KEY,),
)


class User(BaseModel):
    """Somebody an issue may be assigned to: what people see of each other."""

    id: str
    name: str | None
    role: Role | None


class Users(BaseModel):
    """`next`: `after` of the next page, null at the end."""

    users: list[User]
    next: str | None


USERS: Final = Operation(
    method="GET",
    path="/v1/workspaces/{workspace}/users",
    id="listUsers",
    tag="members",
    summary="People an issue may be assigned to",
    description="Those of `members` who belong here, without addresses and devices. `role` is null for those "
    "whose tokens alone say what they may.",
    place=InWorkspace,
    query=MembersQuery,
    body=Nothing,
    needs=may_read,
    answers={HTTPStatus.OK: Answer("A page of them.", Users)},
)


class MemberOperations:
    """What answers them."""

    def __init__(self, people: People, clock: Clock) -> None:
        self._people = people
        self._clock = clock

    def operations(self) -> list[Served]:
        """What is served here."""
        return [
            LIST.by(self.list),
            USERS.by(self.users),
            PUT.by(self.put),
            REMOVE.by(self.remove),
            SIGN_OUT.by(self.sign_out),
        ]

    async def list(self, call: Call[InWorkspace, MembersQuery, Nothing]) -> Reply:
        """A page."""
        rows = await self._people.members(call.workspace.id, call.query.after, call.query.limit + 1)
        page = rows[: call.query.limit]
        following = page[-1].id if len(rows) > len(page) else None
        return Reply(Memberships(members=[_shown(row) for row in page], next=following))

    async def users(self, call: Call[InWorkspace, MembersQuery, Nothing]) -> Reply:
        """A page; shorter than asked for where somebody on it was taken out."""
        rows = await self._people.members(call.workspace.id, call.query.after, call.query.limit + 1)
        page = rows[: call.query.limit]
        following = page[-1].id if len(rows) > len(page) else None
        users = [User(id=row.id, name=row.name, role=_role(row)) for row in page if not row.is_removed]
        return Reply(Users(users=users, next=following))

    async def put(self, call: Call[OfUser, Query, MembershipChange]) -> Reply:
        """A new member, or another role for one."""
        wanted, user = call.body, call.place.user
        before = await self._people.member(call.workspace.id, user)
        _check_rank(call.identity, wanted.role, before)
        with _last_owner_stays():
            await self._people.set_role(call.workspace.id, user, wanted.role.value)
        await self._people.introduce(call.workspace.id, user, wanted.name, wanted.email)
        after = await self._people.member(call.workspace.id, user)
        assert after is not None
        return Reply(_shown(after))

    async def remove(self, call: Call[OfUser, Query, Nothing]) -> Reply:
        """Out."""
        _check_rank(call.identity, Role.VIEWER, await self._known(call))
        with _last_owner_stays():
            await self._people.remove(call.workspace.id, call.place.user, self._clock.now())
        return Reply(status=HTTPStatus.NO_CONTENT)

    async def sign_out(self, call: Call[OfUser, Query, Nothing]) -> Reply:
        """Of everything, everywhere."""
        if call.place.user != call.identity.user_id:
            if not may_manage_members(call.identity):
                raise Problem(FORBIDDEN, f"the role {call.identity.role} does not allow it for others")
            _check_rank(call.identity, Role.VIEWER, await self._known(call))
        await self._people.sign_out(call.workspace.id, call.place.user, self._clock.now())
        return Reply(status=HTTPStatus.NO_CONTENT)

    async def _known(self, call: Call[OfUser, Query, Nothing]) -> MemberRow:
        found = await self._people.member(call.workspace.id, call.place.user)
        if found is None:
            raise Problem(UNKNOWN_USER)
        return found


def _check_rank(caller: Identity, role: Role, before: MemberRow | None) -> None:
    held = Role.VIEWER if before is None or before.role is None else Role(before.role)
    if not may_grant(caller, role) or not may_grant(caller, held):
        raise Problem(FORBIDDEN, "only an owner says who is an owner")


@contextmanager
def _last_owner_stays() -> Iterator[None]:
    try:
        yield
    except LastOwner as refused:
        raise Problem(LAST_OWNER, str(refused)) from None


def _role(row: MemberRow) -> Role | None:
    return None if row.role is None else Role(row.role)


def _shown(row: MemberRow) -> Membership:
    return Membership(
        user_id=row.id,
        role=_role(row),
        name=row.name,
        email=row.email,
        created_at=row.created_at,
        last_sync_at=row.last_sync_at,
        device_id=row.device_id,
        is_removed=row.is_removed,
    )
