"""Tokens: who somebody is, signed by this deployment (JWT, HS256). Key and time are arguments, so all of it is pure
except for the one function that keeps the key in a file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jwt

from server.config import Settings
from server.permissions import Identity, Role

ALGORITHM: Final = "HS256"
ISSUER: Final = "syncline"
KEY_FILE: Final = "token.key"
MIN_KEY_BYTES: Final = 32  # RFC 7518 §3.2: as long as the hash
MAX_NAME_LENGTH: Final = 200


class TokenRefused(Exception):
    """The token proves nothing. The message is safe to show and to log."""


class TokenExpired(TokenRefused):
    """It was good once: ask for a new one."""


class NotAllowed(Exception):
    """The token is good, but opens nothing here. The message is safe to show and to log."""


class IdentityUnavailable(Exception):
    """Nobody can say now whether the token is good: try again. Never a reason to turn somebody away for good."""


# Whom a token names in a workspace, given by its slug; None: in the token's own. Raises all of the above.
Verify = Callable[[str, str | None], Awaitable[Identity]]


def issue(key: str, identity: Identity, now: datetime) -> str:
    """A signed token for `identity`, which must have an `expires_at`. Raises ValueError for names no token may hold."""
    assert identity.expires_at is not None
    for name in (identity.user_id, identity.workspace):
        if not _is_name(name):
            raise ValueError(f"not a name for a user or a workspace: {name!r}")
    claims = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": identity.user_id,
        "ws": identity.workspace,
        "role": identity.role.value,
        "iat": int(now.timestamp()),
        "exp": int(identity.expires_at.timestamp()),
    }
    optional = {"device": identity.device_id, "for": identity.acting_for, "jti": identity.token_id}
    claims.update({claim: value for claim, value in optional.items() if value is not None})
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def verify(token: str, key: str, now: datetime) -> Identity:
    """Whom the token names. Raises `TokenExpired` or `TokenRefused`."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=ISSUER,
            issuer=ISSUER,
            # Times are checked below, against `now` and not against PyJWT's own clock.
            options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.InvalidTokenError as error:
        raise TokenRefused(f"invalid token ({type(error).__name__})") from None
    identity = _identity(claims)
    if identity.expires_at is not None and identity.expires_at <= now:
        raise TokenExpired("token expired")
    return identity


def for_workspace(identity: Identity, slug: str | None) -> Identity:
    """The identity itself. Raises `NotAllowed` when its token is for another workspace."""
    if slug is not None and identity.workspace != slug:
        raise NotAllowed("the token is for another workspace")
    return identity


def _identity(claims: dict[str, Any]) -> Identity:
    return Identity(
        user_id=_name(claims, "sub"),
        workspace=_name(claims, "ws"),
        role=_role(claims.get("role")),
        device_id=_name_if_any(claims, "device"),
        expires_at=_time(claims["exp"]),
        acting_for=_name_if_any(claims, "for"),
        token_id=_name_if_any(claims, "jti"),
    )


def _name_if_any(claims: dict[str, Any], claim: str) -> str | None:
    return None if claims.get(claim) is None else _name(claims, claim)


def _name(claims: dict[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not _is_name(value):
        raise TokenRefused(f"claim {claim} is not a name")
    return value


def _is_name(value: str) -> bool:
    return value.isprintable() and 0 < len(value) <= MAX_NAME_LENGTH


def _role(value: object) -> Role:
    try:
        return Role(str(value))
    except ValueError:
        raise TokenRefused("claim role is unknown") from None


def _time(value: object) -> datetime:
    try:
        assert isinstance(value, int | float)
        return datetime.fromtimestamp(value, UTC)
    except (AssertionError, ValueError, OverflowError, OSError):
        raise TokenRefused("claim exp is not a time") from None


def key_of(settings: Settings) -> str:
    """The signing key: the one given, else the data directory's. Raises ValueError as `load_or_create_key` does."""
    if settings.token_key is not None:
        return settings.token_key.get_secret_value()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return load_or_create_key(settings.data_dir)


def load_or_create_key(directory: Path) -> str:
    """The signing key of a data directory, made on first use with mode 0600. Two processes that race get one key.

    Raises ValueError when the file holds less than a key.
    """
    path = directory / KEY_FILE
    if not path.exists():
        _create(path)
    key = path.read_text(encoding="ascii").strip()
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"{path} does not hold a key; delete it to have a new one made (old tokens stop working)")
    return key


def _create(path: Path) -> None:
    """Write beside it and link: the name appears whole or not at all, and the first of two wins."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(MIN_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
