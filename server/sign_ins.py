"""Signing in: a provider's token for tokens of ours, a refresh token for the next ones, and signing out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from server import auth
from server.audit import Note, Noting, unheard
from server.auth import Credentials, IdentityUnavailable, Keys, NotAllowed, Token, TokenRefused, refresh
from server.clock import Clock
from server.doorman import Doorman
from server.permissions import Identity, Role
from storage.errors import StoreError
from storage.logins import Login, LoginRefused, Logins
from storage.store import Store, Workspace


@dataclass(frozen=True, slots=True)
class SignInLimits:
    """How long an access token is good, and how long a login that nobody renews."""

    access: timedelta = timedelta(minutes=10)
    login: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SignInServices:
    """What it stands on. `note` hears of who signs in and out, and of refresh tokens that are no good."""

    doorman: Doorman
    keys: Keys
    store: Store
    logins: Logins
    clock: Clock
    note: Noting = unheard


@dataclass(frozen=True, slots=True)
class Granted:
    """What somebody gets who has signed in."""

    identity: Identity
    access_token: str
    access_expires_at: datetime
    refresh_token: str
    refresh_expires_at: datetime


class SignIns:
    """Every method raises `TokenRefused`, `NotAllowed` and `IdentityUnavailable`."""

    def __init__(self, services: SignInServices, limits: SignInLimits) -> None:
        self._services = services
        self._limits = limits

    async def exchange(self, credentials: Credentials, slug: str) -> Granted:
        """A provider's token for ours. The role is what the workspace gives its user, whenever it is asked for."""
        token = await self._services.doorman.read(credentials.token)
        if token.workspace is not None:
            raise TokenRefused("this is a token of ours: it cannot be exchanged")
        identity = await self._services.doorman.verify(credentials, slug)
        workspace = await self._workspace(slug)
        now = self._services.clock.now()
        try:
            login = await self._services.logins.begin(
                workspace.id, identity.user_id, None, self._limits.login, now, device_id=identity.device_id
            )
        except StoreError as error:
            raise IdentityUnavailable(str(error)) from error
        granted = await self._grant(slug, login, now)
        self._services.note(Note.of(slug, "signIn", "http", granted.identity, credentials, detail={"login": login.id}))
        return granted

    async def renew(self, refresh_token: str, came: Credentials) -> Granted:
        """The next tokens of a login. A refresh token is good once; used again, it ends the login."""
        asked, now = refresh.read(refresh_token), self._services.clock.now()
        workspace = await self._workspace(asked.workspace)
        try:
            login = await self._services.logins.turn(
                workspace.id, asked.login_id, asked.secret, self._limits.login, now
            )
        except LoginRefused as refused:
            raise self._refused("refreshToken", asked, came, refused) from None
        except StoreError as error:
            raise IdentityUnavailable(str(error)) from error
        return await self._grant(asked.workspace, login, now)

    async def sign_out(self, refresh_token: str, came: Credentials) -> None:
        """End a login, if its refresh token is good."""
        asked, now = refresh.read(refresh_token), self._services.clock.now()
        workspace = await self._workspace(asked.workspace)
        try:
            login = await self._services.logins.turn(
                workspace.id, asked.login_id, asked.secret, self._limits.login, now
            )
            await self._services.logins.end(workspace.id, asked.login_id, "signed out", now)
        except LoginRefused as refused:
            raise self._refused("signOut", asked, came, refused) from None
        except StoreError as error:
            raise IdentityUnavailable(str(error)) from error
        self._services.note(
            Note.of(asked.workspace, "signOut", "http", login.user_id, came, detail={"login": login.id})
        )

    def _refused(self, action: str, asked: refresh.RefreshToken, came: Credentials, why: LoginRefused) -> TokenRefused:
        detail = {"login": asked.login_id, "reason": str(why)}
        self._services.note(Note.of(asked.workspace, action, "http", came=came, is_refused=True, detail=detail))
        return TokenRefused(str(why))

    async def _grant(self, slug: str, login: Login, now: datetime) -> Granted:
        role = None if login.role is None else Role(login.role)
        token = Token(
            user_id=login.user_id,
            expires_at=now + self._limits.access,
            issued_at=now,
            workspace=slug,
            role=role,
            device_id=login.device_id,
            acting_for=login.acting_for,
            login_id=str(login.id),
        )
        identity = await self._services.doorman.identity_of(token, slug, login.device_id)
        access = auth.sign(self._services.keys, token)
        return Granted(identity, access, token.expires_at, refresh.written(slug, login), login.expires_at)

    async def _workspace(self, slug: str) -> Workspace:
        try:
            found = await self._services.store.workspace(slug)
        except StoreError as error:
            raise IdentityUnavailable(str(error)) from error
        if found is None:
            raise NotAllowed("unknown workspace")
        return found
