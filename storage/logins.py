"""What was issued and can be taken back: logins, which are families of refresh tokens, and tokens for scripts."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from storage.database import Database
from storage.people import changing
from storage.tables import logins, tokens


@dataclass(frozen=True, slots=True)
class Login:
    """Who signed in, and what may be issued to them until `expires_at`. `role`: None where the workspace says ·
    `secret`: of the one good refresh token."""

    workspace_id: int
    id: UUID
    user_id: str
    role: str | None
    acting_for: str | None
    device_id: str | None
    expires_at: datetime
    secret: str


@dataclass(frozen=True, slots=True)
class ScriptToken:
    """A token that belongs to no login. `used_at`: last, None if never."""

    id: str
    user_id: str
    role: str
    acting_for: str | None
    device_id: str | None
    created_at: datetime
    used_at: datetime | None
    expires_at: datetime
    revoked_at: datetime | None


class LoginRefused(Exception):
    """The refresh token is not good. The message is safe to show."""


class Logins:
    """Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        workspace_id: int,
        user_id: str,
        role: str | None,
        lasting: timedelta,
        now: datetime,
        *,
        acting_for: str | None = None,
        device_id: str | None = None,
    ) -> Login:
        """Somebody has signed in."""
        secret = secrets.token_urlsafe(32)
        login = Login(workspace_id, uuid4(), user_id, role, acting_for, device_id, now + lasting, secret)
        of_user = (login.id, user_id, role, acting_for, device_id)
        async with self._database.session("begin a login", workspace_id) as connection:
            await connection.execute(logins.FORGET, workspace_id, now)
            await connection.execute(logins.BEGIN, workspace_id, *of_user, _hash(secret), now, login.expires_at)
        return login

    async def turn(self, workspace_id: int, login_id: UUID, secret: str, lasting: timedelta, now: datetime) -> Login:
        """A refresh token for the next one, which is good for so long. Raises `LoginRefused`; when it was used before,
        the login ends: either its owner or a thief has the other copy."""
        fresh = secrets.token_urlsafe(32)
        async with changing(self._database, "renew a login", workspace_id) as (connection, told):
            row = await connection.fetchrow(logins.TAKE, workspace_id, login_id)
            if row is None or row["ended_at"] is not None or row["expires_at"] <= now:
                raise LoginRefused("the login is over")
            is_newest = hmac.compare_digest(row["secret"], _hash(secret))
            if is_newest:
                await connection.execute(logins.TURN, workspace_id, login_id, _hash(fresh), now, now + lasting)
            else:
                await connection.execute(logins.END, workspace_id, login_id, now, "an old refresh token was used")
                told.append(row["user_id"])
        if not is_newest:  # not before the end of the login is committed
            raise LoginRefused("the refresh token was used before: the login is over")
        of_user = (row["user_id"], row["role"], row["acting_for"], row["device_id"])
        return Login(workspace_id, login_id, *of_user, now + lasting, fresh)

    async def end(self, workspace_id: int, login_id: UUID, reason: str, now: datetime) -> bool:
        """Sign out. False: there is no such login, or no more."""
        async with changing(self._database, "end a login", workspace_id) as (connection, told):
            user_id = await connection.fetchval(logins.END, workspace_id, login_id, now, reason)
            told.extend([] if user_id is None else [user_id])
        return user_id is not None

    async def record_token(self, workspace_id: int, token: ScriptToken) -> None:
        """It was issued."""
        of_user = (token.user_id, token.role, token.acting_for, token.device_id)
        async with self._database.session("record a token", workspace_id) as connection:
            await connection.execute(
                tokens.RECORD, workspace_id, token.id, *of_user, token.expires_at, token.created_at
            )

    async def tokens(self, workspace_id: int, user_id: str | None, now: datetime) -> list[ScriptToken]:
        """Those that have not expired; of one user, or all."""
        async with self._database.session("list tokens", workspace_id) as connection:
            if user_id is None:
                rows = await connection.fetch(tokens.OF_ALL, workspace_id, now)
            else:
                rows = await connection.fetch(tokens.OF_USER, workspace_id, now, user_id)
        return [ScriptToken(*row) for row in rows]

    async def owner_of_token(self, workspace_id: int, token_id: str) -> str | None:
        """Whose token it is."""
        async with self._database.session("look up a token", workspace_id) as connection:
            owner: str | None = await connection.fetchval(tokens.OWNER, workspace_id, token_id)
        return owner

    async def revoke_token(self, workspace_id: int, token_id: str, now: datetime) -> bool:
        """It is good no more. False: it is not known."""
        async with changing(self._database, "revoke a token", workspace_id) as (connection, told):
            user_id = await connection.fetchval(tokens.REVOKE, workspace_id, token_id, now)
            told.extend([] if user_id is None else [user_id])
        return user_id is not None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
