from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from server import auth
from server.auth import Keys, TokenExpired, TokenRefused
from server.auth.keys import make_key
from server.permissions import Identity, Role

SECRET = "k" * 32
KEYS = Keys(None, SECRET, 366)
NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
ANA = Identity("ana", "main", Role.MEMBER, "laptop", NOW + timedelta(days=30))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    make_key(tmp_path, NOW)
    return Keys(tmp_path, None, 366)


def signed(key: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {"iss": "syncline", "aud": "syncline", "sub": "ana", "ws": "main", "role": "member", "exp": 2_000_000_000}
    merged = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(merged, key, algorithm=algorithm)


def identity(token: str, keys: Keys = KEYS, now: datetime = NOW) -> Identity:
    """What a token says, as the identity it was issued for."""
    said = auth.read(token, keys, now)
    assert said.workspace is not None
    assert said.role is not None
    optional = (said.acting_for, said.token_id, said.login_id)
    return Identity(said.user_id, said.workspace, said.role, said.device_id, said.expires_at, *optional)


def test_a_token_names_whom_it_was_issued_for(keys: Keys) -> None:
    assert identity(auth.issue(keys, ANA, NOW), keys) == ANA
    assert identity(auth.issue(KEYS, ANA, NOW)) == ANA


def test_the_device_is_optional() -> None:
    somebody = Identity("ana", "main", Role.ADMIN, None, NOW + timedelta(hours=1))
    assert identity(auth.issue(KEYS, somebody, NOW)) == somebody


def test_an_agents_token_says_for_whom_and_by_what_it_is_revoked(keys: Keys) -> None:
    agent = Identity("claude", "main", Role.AGENT, None, NOW + timedelta(hours=1), "ana", "t1", "login")
    assert identity(auth.issue(keys, agent, NOW), keys) == agent


def test_a_token_expires_by_the_given_clock() -> None:
    token = auth.issue(KEYS, ANA, NOW)
    auth.read(token, KEYS, NOW + timedelta(days=30, seconds=-1))
    with pytest.raises(TokenExpired):
        auth.read(token, KEYS, NOW + timedelta(days=30))


def test_clocks_may_differ_a_little() -> None:
    skew = timedelta(seconds=10)
    token = auth.issue(KEYS, ANA, NOW)
    assert auth.read(token, KEYS, NOW - skew, skew).expires_at == NOW + timedelta(days=30, seconds=10)
    auth.read(token, KEYS, NOW + timedelta(days=30, seconds=9), skew)
    with pytest.raises(TokenRefused, match="not good yet"):
        auth.read(token, KEYS, NOW - timedelta(seconds=11), skew)
    with pytest.raises(TokenExpired):
        auth.read(token, KEYS, NOW + timedelta(days=30, seconds=10), skew)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "x" * 32},
        {"key": "k" * 64, "algorithm": "HS512"},
        {"iss": "somebody"},
        {"aud": "something"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\x00b"},
        {"sub": "x" * 201},
        {"ws": None},
        {"ws": 7},
        {"role": "root"},
        {"role": ["admin"]},
        {"exp": None},
        {"exp": 1e300},
        {"exp": True},
        {"exp": "2000000000"},
        {"nbf": 2_000_000_000},
        {"nbf": "now"},
        {"iat": 2_000_000_000},
        {"device": 3},
        {"for": "a\nb"},
        {"jti": ["x"]},
        {"ws": "x" * 20_000},
    ],
)
def test_a_token_that_is_not_ours_or_says_too_little_is_refused(changes: dict[str, Any]) -> None:
    auth.read(signed(), KEYS, NOW)
    with pytest.raises(TokenRefused):
        auth.read(signed(**changes), KEYS, NOW)


@pytest.mark.parametrize(("user", "workspace"), [("", "main"), ("a\nb", "main"), ("ana", "w" * 201)])
def test_no_token_is_issued_that_would_be_refused(user: str, workspace: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        auth.issue(KEYS, Identity(user, workspace, Role.MEMBER, expires_at=NOW), NOW)


def unpadded(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def test_an_unsigned_token_is_refused(keys: Keys) -> None:
    claims = {"iss": "syncline", "aud": "syncline", "sub": "ana", "ws": "main", "role": "admin", "exp": 2_000_000_000}
    for header in ({"alg": "none"}, {"alg": "None", "kid": keys.signing().id}, {"kid": keys.signing().id}):
        token = b".".join([unpadded(header), unpadded(claims), b""]).decode()
        for ring in (keys, KEYS):
            with pytest.raises(TokenRefused):
                auth.read(token, ring, NOW)


def test_a_public_key_is_never_taken_for_a_secret(keys: Keys) -> None:
    """The classic confusion: HS256 with the bytes of the public key, which everybody knows."""
    key = keys.signing()
    claims = {"iss": "syncline", "aud": "syncline", "sub": "ana", "ws": "main", "role": "owner", "exp": 2_000_000_000}
    for encoding, form in ((Encoding.Raw, PublicFormat.Raw), (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):
        public = key.public.public_bytes(encoding, form)
        for header in ({"alg": "HS256", "kid": key.id}, {"alg": "HS256"}):
            with pytest.raises(TokenRefused):
                auth.read(hmac_signed(header, claims, public), keys, NOW)


def hmac_signed(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """By hand: the library refuses to sign with what looks like a public key."""
    signing_input = unpadded(header) + b"." + unpadded(claims)
    signature = hmac.digest(secret, signing_input, "sha256")
    return (signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda raw: raw.decode("latin-1"))))
def test_any_text_is_an_identity_or_refused(token: str) -> None:
    with pytest.raises(TokenRefused):
        auth.read(token, KEYS, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "sub", "ws", "role", "exp", "nbf", "iat", "jti", "for"]), JSON))
def test_any_claims_well_signed_are_an_identity_or_refused(claims: dict[str, Any]) -> None:
    try:
        said = auth.read(hmac_signed({"alg": "HS256"}, claims, SECRET.encode()), KEYS, NOW)
    except TokenRefused:
        return
    assert (claims["sub"], claims["ws"], claims["role"]) == (said.user_id, said.workspace, said.role)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64"]), JSON))
def test_any_header_is_refused_without_its_signature(header: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        auth.read(b".".join([unpadded(header), unpadded({"sub": "ana"}), b"c2ln"]).decode(), KEYS, NOW)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "no token was sent"),
        ("nonsense", "invalid token: it is not a JWT"),
        (signed("x" * 32), "invalid token: its signature does not fit"),
        (signed("k" * 64, "HS512"), "invalid token: its algorithm is not the key's"),
        (signed(aud="something"), "invalid token: it is for another audience"),
        (signed(iss="somebody"), "invalid token: it is another issuer's"),
        (signed(exp=None), "invalid token: it lacks exp"),
    ],
)
def test_a_refusal_says_what_is_wrong(token: str, said: str) -> None:
    with pytest.raises(TokenRefused, match=said):
        auth.read(token, KEYS, NOW)


def test_a_refusal_does_not_repeat_the_token() -> None:
    with pytest.raises(TokenRefused) as refusal:
        auth.read("secret.secret.secret", KEYS, NOW)
    assert "secret" not in str(refusal.value)
