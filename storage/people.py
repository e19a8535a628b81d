"""The users of a workspace and how they stand in it: their role, and what of theirs was revoked.

Whatever changes somebody's standing is told to every node in the transaction that changes it; see `changes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from storage.database import Database
from storage.isolation import Connection
from storage.tables import devices, logins, memberships, tokens


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose standing is asked for, and what they came with. `login_id` is a UUID's text, or nothing that was ours."""

    user_id: str
    acting_for: str | None = None
    device_id: str | None = None
    token_id: str | None = None
    login_id: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """`role`: None where the token's counts · `signed_out_at`: what was issued before it is worth nothing."""

    role: str | None
    removed_at: datetime | None
    signed_out_at: datetime | None
    is_device_revoked: bool
    is_token_revoked: bool
    is_login_over: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A user of a workspace. `role`: None for one who was never given any · `device_id`: what they synced with last."""

    id: str
    name: str | None
    email: str | None
    role: str | None
    created_at: datetime
    last_sync_at: datetime | None
    device_id: str | None
    is_removed: bool


@dataclass(frozen=True, slots=True)
class StandingChange:
    """Somebody's standing is another one; with a `visit_id`, that visit is over."""

    id: int
    user_id: str
    visit_id: UUID | None


class LastOwner(Exception):
    """Nobody would be left to say who is an owner."""


class People:
    """Reads and changes users and memberships. Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, workspace_id: int, bearer: Bearer) -> Standing:
        """How somebody stands who comes with that."""
        principal = bearer.acting_for or bearer.user_id
        everybody = [bearer.user_id, principal]
        login_id, is_foreign = _uuid(bearer.login_id)
        of_bearer = (bearer.user_id, bearer.device_id, bearer.token_id, login_id)
        async with self._database.session("look up a user's standing", workspace_id) as connection:
            row = await connection.fetchrow(memberships.STANDING, workspace_id, everybody, principal, *of_bearer)
        assert row is not None
        return Standing(**{**row, "is_login_over": row["is_login_over"] or is_foreign})

    async def introduce(self, workspace_id: int, user_id: str, name: str | None, email: str | None) -> None:
        """There is such a user, called that; what is None stays as it is."""
        async with self._database.session("write a user", workspace_id) as connection:
            await connection.execute(memberships.INTRODUCE, workspace_id, user_id, name, email)

    async def members(self, workspace_id: int, after: str, limit: int) -> list[Member]:
        """Users in the order of their ids, those who were removed among them."""
        async with self._database.session("list users", workspace_id) as connection:
            rows = await connection.fetch(memberships.PAGE, workspace_id, after, limit)
        return [Member(*row) for row in rows]

    async def member(self, workspace_id: int, user_id: str) -> Member | None:
        """One user."""
        async with self._database.session("look up a user", workspace_id) as connection:
            row = await connection.fetchrow(memberships.ONE, workspace_id, user_id)
        return None if row is None else Member(*row)

    async def set_role(self, workspace_id: int, user_id: str, role: str) -> None:
        """Make them a member, or another kind of one. Raises `LastOwner`."""
        async with self._changing("set a role", workspace_id, user_id) as connection:
            if role != "owner":
                await _leave_an_owner(connection, workspace_id, user_id)
            await connection.execute(memberships.INTRODUCE, workspace_id, user_id, None, None)
            await connection.execute(memberships.SET_ROLE, workspace_id, user_id, role)

    async def remove(self, workspace_id: int, user_id: str, now: datetime) -> None:
        """They belong here no more: what they have was issued in vain. Raises `LastOwner`."""
        async with self._changing("remove a member", workspace_id, user_id) as connection:
            await _leave_an_owner(connection, workspace_id, user_id)
            await connection.execute(memberships.REMOVE, workspace_id, user_id, now)
            await connection.execute(logins.END_OF_USER, workspace_id, user_id, now, "removed")

    async def sign_out(self, workspace_id: int, user_id: str, now: datetime) -> None:
        """They stay what they are, and have to come with something new."""
        async with self._changing("sign a user out", workspace_id, user_id) as connection:
            await connection.execute(memberships.SIGN_OUT, workspace_id, user_id, now)
            await connection.execute(logins.END_OF_USER, workspace_id, user_id, now, "signed out")

    async def revoke_device(self, workspace_id: int, user_id: str, device_id: str, now: datetime) -> bool:
        """The device, and what it came with last. False: there is none."""
        device = (workspace_id, user_id, device_id)
        async with self._changing("revoke a device", workspace_id, user_id) as connection:
            row = await connection.fetchrow(devices.REVOKE, *device, now)
            if row is None:
                return False
            await connection.execute(logins.END_OF_DEVICE, workspace_id, user_id, now, "device revoked", device_id)
            if row["login_id"] is not None:
                await connection.execute(logins.END, workspace_id, row["login_id"], now, "device revoked")
            if row["token_id"] is not None:
                await connection.execute(tokens.REVOKE, workspace_id, row["token_id"], now)
        return True

    async def allow_device(self, workspace_id: int, user_id: str, device_id: str) -> bool:
        """It may come again, with something new. False: no such device was revoked."""
        async with self._changing("allow a device", workspace_id, user_id) as connection:
            return bool(await connection.fetchval(devices.ALLOW, workspace_id, user_id, device_id))

    async def changes(self, after: int, limit: int) -> list[StandingChange]:
        """Of all workspaces, in order, none ever before one that was read."""
        async with self._database.directory("read whose standing changed") as connection:
            return [StandingChange(*row) for row in await connection.fetch(memberships.CHANGES, after, limit)]

    async def last_change(self) -> int:
        """Where to read on from; forgets what every node has read long ago."""
        async with self._database.directory("read whose standing changed") as connection:
            await connection.execute(memberships.FORGET_CHANGES)
            last: int = await connection.fetchval(memberships.LAST_CHANGE)
        return last

    @asynccontextmanager
    async def _changing(self, doing: str, workspace_id: int, user_id: str) -> AsyncIterator[Connection]:
        async with changing(self._database, doing, workspace_id) as (connection, told):
            told.append(user_id)
            yield connection


@asynccontextmanager
async def changing(
    database: Database, doing: str, workspace_id: int, visit_id: UUID | None = None
) -> AsyncIterator[tuple[Connection, list[str]]]:
    """A transaction that changes the standing of the users it puts on the list."""
    told: list[str] = []
    async with database.session(doing, workspace_id) as connection, connection.transaction():
        yield connection, told
        await connection.execute(memberships.LOCK_CHANGES)
        for user_id in told:
            await connection.execute(memberships.CHANGED, workspace_id, user_id, visit_id)


async def _leave_an_owner(connection: Connection, workspace_id: int, user_id: str) -> None:
    row = await connection.fetchrow(memberships.ONE, workspace_id, user_id)
    is_owner = row is not None and row["role"] == "owner" and not row["is_removed"]
    if is_owner and not await connection.fetchval(memberships.OWNERS, workspace_id, user_id):
        raise LastOwner(f"{user_id} is the only owner; make somebody else one first")


def _uuid(text: str | None) -> tuple[UUID | None, bool]:
    """The UUID, and whether there is a text that is none."""
    try:
        return (None, False) if text is None else (UUID(text), False)
    except ValueError:
        return None, True
