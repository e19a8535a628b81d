"""Signed claims (JWT): the only file that knows the library. A key has one algorithm; a token is not asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from server.auth.refusals import TokenExpired, TokenRefused

MAX_TOKEN_CHARS: Final = 16_384  # of the format: it has to fit into a header
HS256: Final = "HS256"
EDDSA: Final = "EdDSA"
_PUBLIC_ALGORITHMS: Final = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("OKP", "Ed25519"): EDDSA,
}
_RSA_BITS: Final = range(2048, 8192 + 1)  # shorter ones prove nothing, longer ones take long to verify
MAX_KEYS: Final = 100  # of one provider, whom the operator trusts; each costs a look at every token
_WRONG: Final[Mapping[type[Exception], str]] = {
    jwt.InvalidSignatureError: "its signature does not fit",
    jwt.InvalidAlgorithmError: "its algorithm is not the key's",
    jwt.InvalidAudienceError: "it is for another audience",
    jwt.InvalidIssuerError: "it is another issuer's",
    jwt.DecodeError: "it is not a JWT",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `id`: the `kid` of its tokens, None when they have none · `public` verifies, `private` signs, where it
    is here · `good_until`: from then on nothing it signed counts."""

    id: str | None
    algorithm: str
    public: Any
    private: Any = None
    good_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say of itself, and how far clocks may differ."""

    issuer: str
    audience: tuple[str, ...]
    skew: timedelta = timedelta(0)


def sign(claims: Mapping[str, Any], key: Key) -> str:
    """A token, with the key's id in its header."""
    headers = None if key.id is None else {"kid": key.id}
    return jwt.encode(dict(claims), key.private, algorithm=key.algorithm, headers=headers)


def said_by(token: str) -> tuple[str | None, str | None]:
    """Issuer and key id, as the token itself says: nothing is proven by them. Raises `TokenRefused`."""
    if not token:
        raise TokenRefused("no token was sent")
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused("the token is too long")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise TokenRefused(_invalid(error)) from None
    return _text(claims.get("iss")), _text(header.get("kid"))


def _invalid(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"invalid token: it lacks {error.claim}"
    return f"invalid token: {_WRONG.get(type(error), 'it is not sound')}"


def read(token: str, key: Key, expected: Expected, now: datetime) -> dict[str, Any]:
    """The claims of a token that `key` signed and that is good now. Raises `TokenExpired` or `TokenRefused`."""
    if key.good_until is not None and key.good_until <= now:
        raise TokenRefused("the key of the token is retired")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            audience=expected.audience,
            issuer=expected.issuer,
            # Times are checked below, against `now` and not against PyJWT's own clock.
            options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise TokenRefused(_invalid(error)) from None
    for claim in ("nbf", "iat"):
        if claim in claims and moment(claims, claim) > now + expected.skew:
            raise TokenRefused(f"the token is not good yet ({claim})")
    if ends(claims, expected) <= now:
        raise TokenExpired("token expired")
    return claims


def ends(claims: Mapping[str, Any], expected: Expected) -> datetime:
    """From when on the token is good no more. Raises `TokenRefused`."""
    try:
        return moment(claims, "exp") + expected.skew
    except OverflowError:
        raise TokenRefused("claim exp is not a time") from None


def moment(claims: Mapping[str, Any], claim: str) -> datetime:
    """A claim that is a time. Raises `TokenRefused`."""
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(f"claim {claim} is not a time")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise TokenRefused(f"claim {claim} is not a time") from None


def key_set(document: object) -> dict[str, Key]:
    """The keys of a JWKS that can verify signatures, by id. Each gets the one algorithm that fits its type; secrets and
    what is for encryption are left out. Raises ValueError when it is no JWKS."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a key set")
    if len(document["keys"]) > MAX_KEYS:
        raise ValueError("too many keys")
    found = (_public_key(entry) for entry in document["keys"] if isinstance(entry, dict))
    return {key.id: key for key in found if key is not None and key.id is not None}


def _public_key(entry: dict[str, Any]) -> Key | None:
    algorithm = _PUBLIC_ALGORITHMS.get((_text(entry.get("kty")) or "", _text(entry.get("crv"))))
    is_other = entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig"
    key_id = _text(entry.get("kid"))
    if algorithm is None or key_id is None or is_other:
        return None
    try:
        public = jwt.PyJWK(entry, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and public.key_size not in _RSA_BITS:
        return None
    return Key(key_id, algorithm, public)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
