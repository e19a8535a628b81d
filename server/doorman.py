"""Whom credentials name, and what they may here: their token, and how the database says they stand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from server import auth
from server.audit import Note, Noting, unheard
from server.auth import Credentials, IdentityUnavailable, Keys, NotAllowed, Token, TokenRefused, Verify
from server.auth.provider import Provider
from server.clock import Clock
from server.permissions import Identity, Role, lesser
from server.shared_reads import SharedReads
from storage.errors import StoreError
from storage.people import Bearer, People, Standing
from storage.store import Store

log = structlog.get_logger()

_MAX_KNOWN: Final = 10_000  # of what Postgres says again when it is asked


@dataclass(frozen=True, slots=True)
class DoormanServices:
    """What a doorman asks. `provider`: None where only our own tokens count."""

    keys: Keys
    provider: Provider | None
    store: Store
    people: People
    clock: Clock


class Doorman:
    """`verify` is an `auth.Verify`. `default_role`: of a provider's users who were given none; None keeps them out.
    `note` hears of who is refused."""

    def __init__(
        self, services: DoormanServices, skew: timedelta, default_role: Role | None = None, note: Noting = unheard
    ) -> None:
        self._services = services
        self._skew = skew
        self._default_role = default_role
        self._note = note
        self._standings = SharedReads(self._standing)
        self._workspaces: dict[str, int] = {}  # as many as the store has; none is ever removed or renamed
        self._introduced: dict[tuple[int, str], tuple[str | None, str | None]] = {}

    async def verify(self, credentials: Credentials, workspace: str | None) -> Identity:
        """Raises `TokenRefused`, `NotAllowed` and `IdentityUnavailable`."""
        token = None
        try:
            token = await self.read(credentials.token)
            return await self.identity_of(token, _workspace_of(token, workspace), credentials.device_id)
        except (TokenRefused, NotAllowed) as refused:
            self._refused(credentials, workspace, token, str(refused))
            raise

    async def identity_of(self, token: Token, slug: str, device_id: str | None, *, introduce: bool = True) -> Identity:
        """Whom a good token names in that workspace, with that device unless it names its own. Raises as `verify`."""
        device_id = token.device_id or device_id
        try:
            role = await self._role(token, slug, device_id, introduce=introduce)
        except StoreError as error:
            raise IdentityUnavailable(str(error)) from error
        return Identity(
            user_id=token.user_id,
            workspace=slug,
            role=role,
            device_id=device_id,
            expires_at=token.expires_at,
            acting_for=token.acting_for,
            token_id=token.token_id,
            login_id=token.login_id,
        )

    async def everywhere(self, credentials: Credentials) -> list[Identity]:
        """Whom credentials name in each workspace where they count: the token's own, or for those of a provider a
        query a workspace. Raises `TokenRefused` and `IdentityUnavailable`."""
        token = await self.read(credentials.token)
        try:
            if token.workspace is not None:
                return [await self.identity_of(token, token.workspace, credentials.device_id)]
            slugs = [workspace.slug for workspace in await self._services.store.workspaces()]
        except StoreError as error:
            raise IdentityUnavailable(str(error)) from error
        found = []
        for slug in slugs:
            with suppress(NotAllowed, TokenRefused):  # there; it may count elsewhere
                found.append(await self.identity_of(token, slug, credentials.device_id, introduce=False))
        return found

    async def read(self, token: str) -> Token:
        """What a token says, whoever of those who count issued it. Raises `TokenRefused` and `IdentityUnavailable`."""
        provider, now = self._services.provider, self._services.clock.now()
        if provider is not None and provider.issued(token):
            return await provider.read(token, now, self._skew)
        try:
            return auth.read(token, self._services.keys, now, self._skew)
        except ValueError as error:
            raise IdentityUnavailable(str(error)) from error

    def forget_keys(self) -> bool:
        """Drop the keys that were taken away, if any was."""
        try:
            return self._services.keys.refresh()
        except ValueError as error:
            log.error("the token keys cannot be read", reason=str(error))
            return False

    def _refused(self, credentials: Credentials, workspace: str | None, token: Token | None, reason: str) -> None:
        """In the workspace that was asked for, whose people want to know. Nobody knows whose a token is that is bad."""
        slug = workspace or (token.workspace if token else None)
        if slug is not None:
            who = token.user_id if token else None
            detail = {"reason": reason}
            self._note(Note.of(slug, "authenticate", "token", who, credentials, is_refused=True, detail=detail))

    async def _role(self, token: Token, slug: str, device_id: str | None, *, introduce: bool) -> Role:
        workspace_id = await self._workspace_id(slug)
        if workspace_id is None:  # nobody has a role there, and the door says so
            return token.role or Role.VIEWER
        bearer = Bearer(token.user_id, token.acting_for, device_id, token.token_id, token.login_id)
        standing = await self._standings((workspace_id, bearer))
        role = role_of(token, standing, self._default_role)
        if token.workspace is None and introduce:
            await self._introduce(workspace_id, token)
        return role

    async def _standing(self, whose: tuple[int, Bearer]) -> Standing:
        return await self._services.people.standing(*whose)

    async def _workspace_id(self, slug: str) -> int | None:
        if slug not in self._workspaces:
            found = await self._services.store.workspace(slug)
            if found is None:
                return None
            self._workspaces[slug] = found.id
        return self._workspaces[slug]

    async def _introduce(self, workspace_id: int, token: Token) -> None:
        """What the provider says of its user is written down when it is something else than before."""
        key, said = (workspace_id, token.user_id), (token.name, token.email)
        if self._introduced.get(key) != said:
            if len(self._introduced) >= _MAX_KNOWN:
                self._introduced.clear()
            await self._services.people.introduce(workspace_id, token.user_id, token.name, token.email)
            self._introduced[key] = said


def role_of(token: Token, standing: Standing, default_role: Role | None) -> Role:
    """What somebody with a good token is in a workspace, never more than the token says. Raises `TokenRefused` for what
    was revoked, `NotAllowed` for who is no member."""
    if standing.is_device_revoked:  # first: its tokens are revoked with it
        raise TokenRefused("the device was revoked")
    if standing.is_token_revoked:
        raise TokenRefused("the token was revoked")
    if standing.is_login_over:
        raise TokenRefused("the login is over")
    if standing.signed_out_at is not None and token.issued_at <= standing.signed_out_at:
        raise TokenRefused("the user was signed out")
    own = None if standing.role is None else Role(standing.role)
    if token.role is not None:
        return token.role if own is None else lesser(token.role, own)
    role = own if standing.removed_at is None and own is not None else default_role
    if role is None or standing.removed_at is not None:
        raise NotAllowed("not a member of this workspace")
    return role


def _workspace_of(token: Token, asked: str | None) -> str:
    slug = token.workspace or asked
    if slug is None:
        raise NotAllowed("the token is for no workspace: name one")
    if asked is not None and slug != asked:
        raise NotAllowed("the token is for another workspace")
    return slug


class Remembered:
    """A `Verify` for those who ask again with every request: what was answered counts for a moment. `saw` hears of
    everybody who is not remembered."""

    def __init__(
        self, verify: Verify, clock: Clock, saw: Callable[[Credentials, Identity], None], lasting: timedelta
    ) -> None:
        self._verify = verify
        self._clock = clock
        self._saw = saw
        self._lasting = lasting
        self._known: dict[tuple[str, str | None, str | None], tuple[datetime, Identity]] = {}

    async def verify(self, credentials: Credentials, workspace: str | None) -> Identity:
        """As the one it asks."""
        now = self._clock.now()
        key = (credentials.token, credentials.device_id, workspace)
        until, identity = self._known.get(key, (now, None))
        if identity is not None and now < until:
            return identity
        identity = await self._verify(credentials, workspace)
        self._saw(credentials, identity)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        until = now + self._lasting
        self._known[key] = (until if identity.expires_at is None else min(until, identity.expires_at), identity)
        return identity
