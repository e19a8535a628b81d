"""Tokens that prove nothing, made by somebody who knows the public half of the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.auth.tokens import Key


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says, but for `changes`; None takes a claim out."""
    now = datetime.now(UTC).timestamp()
    good = {
        "iss": "syncline",
        "aud": "syncline",
        "sub": "eve",
        "ws": "main",
        "role": "owner",
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def sealed(header: dict[str, Any], body: dict[str, Any] | bytes, signature: Callable[[bytes], bytes]) -> str:
    """A token of any header."""
    parts = [_text(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, body)]
    signed = ".".join(parts)
    return f"{signed}.{_text(signature(signed.encode()))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_public_key_as_secret(key: Key, encoding: Encoding, form: PublicFormat) -> str:
    """HS256, keyed with what everybody may know: who asks the token for its algorithm is taken in."""
    public = key.public.public_bytes(encoding, form)
    header = {"alg": "HS256", "typ": "JWT", "kid": key.id}
    return sealed(header, claims(), lambda data: hmac.digest(public, data, hashlib.sha256))


def signed_by(key: Key, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key.private, algorithm=key.algorithm, headers={"kid": key.id})


def tampered(key: Key) -> str:
    """A viewer's token that says owner."""
    header, _, signature = signed_by(key, role="viewer").split(".")
    return ".".join((header, _text(json.dumps(claims()).encode()), signature))


def by_own_key(key: Key, header: dict[str, Any]) -> str:
    """A good signature, of a key that the token brings along."""
    own = Ed25519PrivateKey.generate()
    public = _text(own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": key.id}
    return jwt.encode(claims(), own, algorithm="EdDSA", headers={"kid": key.id, "jwk": jwk} | header)


def by_rsa(key: Key) -> str:
    return jwt.encode(claims(), generate_private_key(65537, 2048), algorithm="RS256", headers={"kid": key.id})


NOW: Final = datetime.now(UTC).timestamp()
FORGED: Final[dict[str, Callable[[Key], str]]] = {
    "none": lambda key: "",
    "no token at all": lambda key: "not a token",
    "algorithm none": lambda key: sealed({"alg": "none", "kid": key.id}, claims(), lambda data: b""),
    "algorithm NoNe": lambda key: sealed({"alg": "NoNe", "kid": key.id}, claims(), lambda data: b""),
    "no algorithm": lambda key: sealed({"kid": key.id}, claims(), lambda data: b""),
    "HS256 with the public key, raw": lambda key: with_public_key_as_secret(key, Encoding.Raw, PublicFormat.Raw),
    "HS256 with the public key, PEM": lambda key: with_public_key_as_secret(
        key, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ),
    "HS256 with an empty secret": lambda key: sealed(
        {"alg": "HS256"}, claims(), lambda data: hmac.digest(b"", data, hashlib.sha256)
    ),
    "HS256 without a key id": lambda key: jwt.encode(claims(), "secret" * 8, algorithm="HS256"),
    "RS256 with a key of one's own": by_rsa,
    "a key brought along": lambda key: by_own_key(key, {}),
    "the address of a key": lambda key: by_own_key(
        key, {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1"}
    ),
    "a key id that is a path": lambda key: by_own_key(key, {"kid": "../../../../etc/hostname"}),
    "a key id that is SQL": lambda key: by_own_key(key, {"kid": "x' OR '1'='1"}),
    "a key id that is a number": lambda key: sealed({"alg": "EdDSA", "kid": 7}, claims(), lambda data: bytes(64)),
    "a critical extension": lambda key: by_own_key(key, {"crit": ["exp"]}),
    "another signature": lambda key: signed_by(key)[:-8] + "AAAAAAAA",
    "no signature": lambda key: signed_by(key).rpartition(".")[0] + ".",
    "a role raised": tampered,
    "a role nobody has": lambda key: signed_by(key, role="root"),
    "another audience": lambda key: signed_by(key, aud="elsewhere"),
    "no audience": lambda key: signed_by(key, aud=None),
    "another issuer": lambda key: signed_by(key, iss="elsewhere"),
    "no issuer": lambda key: signed_by(key, iss=None),
    "expired": lambda key: signed_by(key, exp=NOW - 60),
    "no end": lambda key: signed_by(key, exp=None),
    "an end that is no time": lambda key: signed_by(key, exp="9999999999x"),
    "an end beyond time": lambda key: signed_by(key, exp=1e300),
    "not good yet": lambda key: signed_by(key, nbf=NOW + 3_600),
    "issued in the future": lambda key: signed_by(key, iat=NOW + 3_600),
    "nobody": lambda key: signed_by(key, sub=None),
    "a user with a NUL": lambda key: signed_by(key, sub="eve\0ana"),
    "a user of 10,000 letters": lambda key: signed_by(key, sub="e" * 10_000),
    "a megabyte": lambda key: signed_by(key, more="x" * 2**20),
    "claims 5,000 deep": lambda key: sealed(
        {"alg": "EdDSA", "kid": key.id}, b"[" * 5_000 + b"]" * 5_000, lambda data: bytes(64)
    ),
}
