"""An OpenID provider: its keys, fetched when they are needed, and what its tokens say.

That the provider does not answer is no word about a token: keys that are known go on counting for a day, and of a token
whose key is not known nobody can say anything.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from time import monotonic
from typing import Any, Final

import structlog

from server.addresses import is_trusted
from server.auth import tokens
from server.auth.claims import Token, name_of
from server.auth.credentials import is_name
from server.auth.refusals import IdentityUnavailable, TokenRefused
from server.auth.tokens import Expected, Key
from server.config import Settings

log = structlog.get_logger()

CONFIGURATION: Final = "/.well-known/openid-configuration"
MAX_DOCUMENT_BYTES: Final = 1024 * 1024  # of the format: a hundred keys are a tenth of it
_PIECE_BYTES: Final = 64 * 1024

Fetch = Callable[[str], Awaitable[object]]


class ProviderAway(Exception):
    """The provider does not answer, or not as a provider does."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """`issuer` as the tokens have it · `user_claim`, `name_claim`, `email_claim`: where they say who it is.

    `refresh`: age at which keys are fetched again · `pause`: the least time between two fetches · `stale`: age until
    which keys count when they cannot be.
    """

    issuer: str
    audience: tuple[str, ...]
    user_claim: str = "sub"
    name_claim: str = "name"
    email_claim: str = "email"
    refresh: timedelta = timedelta(hours=1)
    pause: timedelta = timedelta(seconds=10)
    stale: timedelta = timedelta(days=1)


class Provider:
    """Reads the provider's tokens. `fetch` gets the JSON at a URL or raises `ProviderAway`."""

    def __init__(self, settings: ProviderSettings, fetch: Fetch) -> None:
        self._settings = settings
        self._fetch = fetch
        self._keys: dict[str, Key] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._is_away = False
        self._fetching = asyncio.Lock()

    def issued(self, token: str) -> bool:
        """Whether the token says it is from this provider. Raises `TokenRefused` for what is no token."""
        issuer, _ = tokens.said_by(token)
        return issuer == self._settings.issuer

    async def read(self, token: str, now: datetime, skew: timedelta) -> Token:
        """What the token says. Raises `TokenRefused`, or `IdentityUnavailable` when the key cannot be had."""
        _, key_id = tokens.said_by(token)
        if key_id is None:
            raise TokenRefused("the token names no key")
        expected = Expected(self._settings.issuer, self._settings.audience, skew)
        claims = tokens.read(token, await self._key(key_id, now), expected, now)
        return Token(
            user_id=self._user(claims),
            expires_at=tokens.ends(claims, expected),
            issued_at=tokens.moment(claims, "iat"),
            name=_text(claims.get(self._settings.name_claim)),
            email=_text(claims.get(self._settings.email_claim)) if _is_verified(claims) else None,
        )

    def _user(self, claims: Mapping[str, Any]) -> str:
        if self._settings.user_claim == self._settings.email_claim and not _is_verified(claims):
            raise TokenRefused("the email of the token is not verified")
        return name_of(claims, self._settings.user_claim)

    async def _key(self, key_id: str, now: datetime) -> Key:
        is_asking = key_id not in self._keys and self._fetching.locked()  # what comes may hold it
        if is_asking or not self._is_known(key_id, now):
            async with self._fetching:
                if not self._is_known(key_id, now):
                    await self._refresh(now)
        key = self._keys.get(key_id)
        if self._is_away and (key is None or self._age(now) > self._settings.stale):
            raise IdentityUnavailable("the OpenID provider does not answer")
        if key is None:
            raise TokenRefused("invalid token: its key is unknown")
        return key

    def _is_known(self, key_id: str, now: datetime) -> bool:
        """Whether there is nothing to ask, or it is too early to ask again."""
        if key_id in self._keys and self._age(now) < self._settings.refresh:
            return True
        return self._tried_at is not None and now - self._tried_at < self._settings.pause

    def _age(self, now: datetime) -> timedelta:
        return timedelta.max if self._fetched_at is None else now - self._fetched_at

    async def _refresh(self, now: datetime) -> None:
        self._tried_at = now
        try:
            self._keys = tokens.key_set(await self._fetch(await self._key_address()))
        except (ProviderAway, ValueError) as error:
            self._is_away = True
            log.warning("no keys from the OpenID provider", issuer=self._settings.issuer, reason=str(error))
        else:
            self._is_away = False
            self._fetched_at = now

    async def _key_address(self) -> str:
        document = await self._fetch(self._settings.issuer.rstrip("/") + CONFIGURATION)
        if not isinstance(document, dict) or document.get("issuer") != self._settings.issuer:
            raise ProviderAway("its configuration is for another issuer")
        address = document.get("jwks_uri")
        if not isinstance(address, str) or not is_trusted(address):
            raise ProviderAway("its keys are not at an https address")
        return address


def fetcher(seconds: float) -> Fetch:
    """Over the network, within a deadline and a bound, from the address that was named and no other."""
    # A thread of its own: a provider whose answer never ends holds up nobody but who asks it next.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="openid")

    async def fetch(address: str) -> object:
        try:
            async with asyncio.timeout(seconds):
                body = await asyncio.get_running_loop().run_in_executor(thread, _get, address, seconds)
                return json.loads(body)
        except (OSError, TimeoutError, ValueError, RecursionError, HTTPException) as error:
            raise ProviderAway(f"{address}: {type(error).__name__}") from None

    return fetch


def provider_of(settings: Settings) -> Provider | None:
    """The one the settings name."""
    if settings.oidc_issuer is None:
        return None
    provider = ProviderSettings(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        user_claim=settings.oidc_user_claim,
        name_claim=settings.oidc_name_claim,
        email_claim=settings.oidc_email_claim,
    )
    return Provider(provider, fetcher(settings.oidc_timeout_seconds))


def _get(address: str, seconds: float) -> bytes:
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 -- see `is_trusted`
    deadline, body = monotonic() + seconds, bytearray()
    with _OPENER.open(request, timeout=seconds) as answer:
        while piece := answer.read1(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_DOCUMENT_BYTES:
                raise ValueError("too long")
            if monotonic() > deadline:  # the socket's timeout is for each piece
                raise TimeoutError
    return bytes(body)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whoever redirects us could send us anywhere, behind our own walls too."""

    def redirect_request(self, *_: Any) -> None:
        """None: the redirect is an error."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


def _is_verified(claims: Mapping[str, Any]) -> bool:
    """Providers that do not say whether they have verified it have."""
    return claims.get("email_verified", True) is True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and is_name(value) else None
