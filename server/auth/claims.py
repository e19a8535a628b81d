"""What a token of this deployment says, and how it is issued and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from server.auth import tokens
from server.auth.credentials import is_name
from server.auth.keys import Keys
from server.auth.refusals import TokenRefused
from server.auth.tokens import Expected
from server.permissions import Identity, Role

ISSUER: Final = "syncline"
_NEVER: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Token:
    """What a good token says, whoever issued it. A provider's names no `workspace`. `role`: None where it is for the
    workspace to say · `name`, `email`: of the user, where the token tells.
    """

    user_id: str
    expires_at: datetime
    issued_at: datetime = _NEVER
    workspace: str | None = None
    role: Role | None = None
    device_id: str | None = None
    acting_for: str | None = None
    token_id: str | None = None
    login_id: str | None = None
    name: str | None = None
    email: str | None = None


def issue(keys: Keys, identity: Identity, now: datetime) -> str:
    """A signed token for `identity`, which must have an `expires_at`. Raises ValueError for names no token may hold."""
    assert identity.expires_at is not None
    return sign(
        keys,
        Token(
            user_id=identity.user_id,
            expires_at=identity.expires_at,
            issued_at=now,
            workspace=identity.workspace,
            role=identity.role,
            device_id=identity.device_id,
            acting_for=identity.acting_for,
            token_id=identity.token_id,
            login_id=identity.login_id,
        ),
    )


def sign(keys: Keys, token: Token) -> str:
    """What `token` says, signed; it names a workspace. Raises ValueError for names no token may hold."""
    for name in (token.user_id, token.workspace, token.device_id or "-", token.acting_for or "-"):
        if name is None or not is_name(name):
            raise ValueError(f"not a name for a user, a workspace or a device: {name!r}")
    claims = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": token.user_id,
        "ws": token.workspace,
        "role": None if token.role is None else token.role.value,
        # To the millisecond: what is revoked is what was issued before.
        "iat": round(token.issued_at.timestamp(), 3),
        "exp": int(token.expires_at.timestamp()),
        "device": token.device_id,
        "for": token.acting_for,
        "jti": token.token_id,
        "sid": token.login_id,
    }
    return tokens.sign({claim: value for claim, value in claims.items() if value is not None}, keys.signing())


def read(token: str, keys: Keys, now: datetime, skew: timedelta = timedelta(0)) -> Token:
    """What a token of ours says. Raises `TokenExpired` or `TokenRefused`."""
    _, key_id = tokens.said_by(token)
    key = keys.find(key_id)
    if key is None:
        raise TokenRefused("invalid token: its key is unknown")
    expected = Expected(ISSUER, (ISSUER,), skew)
    claims = tokens.read(token, key, expected, now)
    return Token(
        user_id=name_of(claims, "sub"),
        expires_at=tokens.ends(claims, expected),
        issued_at=tokens.moment(claims, "iat") if "iat" in claims else _NEVER,
        workspace=name_of(claims, "ws"),
        role=None if claims.get("role") is None else _role(claims["role"]),
        device_id=_name_if_any(claims, "device"),
        acting_for=_name_if_any(claims, "for"),
        token_id=_name_if_any(claims, "jti"),
        login_id=_name_if_any(claims, "sid"),
    )


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """A claim that names somebody or something. Raises `TokenRefused`."""
    value = claims.get(claim)
    if not isinstance(value, str) or not is_name(value):
        raise TokenRefused(f"claim {claim} is not a name")
    return value


def _name_if_any(claims: Mapping[str, Any], claim: str) -> str | None:
    return None if claims.get(claim) is None else name_of(claims, claim)


def _role(value: object) -> Role:
    try:
        return Role(str(value))
    except ValueError:
        raise TokenRefused("claim role is unknown") from None
