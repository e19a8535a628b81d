from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from server.auth import IdentityUnavailable, Token, TokenExpired, TokenRefused
from server.auth.provider import Provider, ProviderSettings
from server.auth.tokens import key_set
from tests.server.auth.openid_provider import AUDIENCE, EC_KEY, RSA_KEY, OpenIdProvider

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
NO_SKEW = timedelta(0)


class Desk:
    """Who reads the provider's tokens, at a time of the test's choice."""

    def __init__(self, **settings: Any) -> None:
        self.idp = OpenIdProvider()
        self.reader = Provider(ProviderSettings(self.idp.issuer, (AUDIENCE, "other"), **settings), self.idp.fetch)

    async def read(self, later: timedelta = timedelta(0), token: str | None = None, **changes: Any) -> Token:
        now = NOW + later
        return await self.reader.read(token or self.idp.token(now=now, **changes), now, NO_SKEW)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("key", ["rsa-1", "ec-1"])
async def test_a_token_says_who_it_is_and_nothing_of_workspaces_and_roles(desk: Desk, key: str) -> None:
    token = await desk.read(key=key)
    assert (token.user_id, token.name, token.email) == ("ana", "Ana", "ana@example.org")
    assert (token.issued_at, token.expires_at) == (NOW, NOW + timedelta(hours=1))
    assert (token.workspace, token.role, token.device_id) == (None, None, None)
    assert desk.reader.issued(desk.idp.token())
    assert not desk.reader.issued(desk.idp.token(iss="syncline"))


async def test_who_it_is_may_stand_in_another_claim() -> None:
    desk = Desk(user_claim="email", name_claim="nick")
    token = await desk.read(nick="A.")
    assert (token.user_id, token.name) == ("ana@example.org", "A.")
    with pytest.raises(TokenRefused, match="not verified"):
        await desk.read(email_verified=False)
    with pytest.raises(TokenRefused, match="not a name"):
        await desk.read(email=None)


async def test_an_email_that_is_not_verified_is_not_told(desk: Desk) -> None:
    assert (await desk.read(email_verified=False)).email is None
    assert (await desk.read(email_verified=True)).email == "ana@example.org"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "somebody-else"},
        {"aud": None},
        {"iss": "https://evil.example.org"},
        {"sub": None},
        {"sub": "a\nb"},
        {"iat": None},
        {"exp": None},
        {"nbf": (NOW + timedelta(hours=1)).timestamp()},
    ],
)
async def test_a_token_that_is_not_meant_for_us_is_refused(desk: Desk, changes: dict[str, Any]) -> None:
    await desk.read(aud=["other", "third"])
    with pytest.raises(TokenRefused):
        await desk.read(**changes)


async def test_a_token_ends(desk: Desk) -> None:
    token = desk.idp.token(now=NOW)
    with pytest.raises(TokenExpired):
        await desk.read(timedelta(hours=1), token)


async def test_keys_are_fetched_once_until_they_are_old(desk: Desk) -> None:
    for minutes in (0, 1, 59):
        await desk.read(timedelta(minutes=minutes))
    assert desk.idp.fetched == 2, "its configuration and its keys"
    await desk.read(timedelta(minutes=60))
    assert desk.idp.fetched == 4


async def test_a_key_that_is_new_is_fetched_when_its_first_token_comes(desk: Desk) -> None:
    await desk.read()
    desk.idp.keys["rsa-2"] = ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    await desk.read(timedelta(seconds=10), key="rsa-2")
    del desk.idp.keys["rsa-1"]
    await desk.read(timedelta(hours=2), key="rsa-2")
    with pytest.raises(TokenRefused, match="key is unknown"):
        await desk.read(timedelta(hours=2), jwt.encode({"iss": desk.idp.issuer}, RSA_KEY, "RS256", {"kid": "rsa-1"}))


async def test_tokens_of_unknown_keys_do_not_make_us_ask_again_and_again(desk: Desk) -> None:
    await desk.read()
    forged = desk.idp.token(now=NOW)
    strange = jwt.encode(jwt.decode(forged, options={"verify_signature": False}), RSA_KEY, "RS256", {"kid": "x"})
    for seconds in range(10):
        with pytest.raises(TokenRefused, match="key is unknown"):
            await desk.read(timedelta(seconds=seconds), strange)
    assert desk.idp.fetched == 2


async def test_that_the_provider_is_away_is_no_word_about_a_token(desk: Desk) -> None:
    desk.idp.is_away = True
    for seconds in (0, 1, 20):
        with pytest.raises(IdentityUnavailable):
            await desk.read(timedelta(seconds=seconds))
    desk.idp.is_away = False
    with pytest.raises(IdentityUnavailable):
        await desk.read(timedelta(seconds=25))
    await desk.read(timedelta(seconds=30))


async def test_known_keys_count_for_a_day_while_the_provider_is_away(desk: Desk) -> None:
    await desk.read()
    desk.idp.is_away = True
    await desk.read(timedelta(hours=23))
    with pytest.raises(IdentityUnavailable):
        await desk.read(timedelta(hours=23), jwt.encode({"iss": "x", "sub": "x"}, RSA_KEY, "RS256", {"kid": "rsa-2"}))
    with pytest.raises(IdentityUnavailable):
        await desk.read(timedelta(hours=25))


async def test_the_key_decides_about_the_algorithm(desk: Desk) -> None:
    claims = jwt.decode(desk.idp.token(now=NOW), options={"verify_signature": False})
    for algorithm, key, name in (
        ("HS256", "s" * 32, "rsa-1"),
        ("PS256", RSA_KEY, "rsa-1"),
        ("RS512", RSA_KEY, "rsa-1"),
        ("RS256", RSA_KEY, "ec-1"),
        ("ES256", EC_KEY, "rsa-1"),
    ):
        with pytest.raises(TokenRefused):
            await desk.read(token=jwt.encode(claims, key, algorithm, {"kid": name}))
    with pytest.raises(TokenRefused, match="names no key"):
        await desk.read(token=jwt.encode(claims, RSA_KEY, "RS256"))


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        [],
        {"issuer": "https://id.example.org"},
        {"issuer": "https://other", "jwks_uri": "https://id.example.org/keys"},
    ],
)
async def test_a_configuration_that_is_none_is_an_outage(configuration: object) -> None:
    async def fetch(_address: str) -> object:
        return configuration

    idp = OpenIdProvider()
    reader = Provider(ProviderSettings(idp.issuer, (AUDIENCE,)), fetch)
    with pytest.raises(IdentityUnavailable):
        await reader.read(idp.token(now=NOW), NOW, NO_SKEW)


def test_of_a_key_set_only_keys_that_verify_are_taken() -> None:
    good = OpenIdProvider().documents()["/keys"]["keys"]
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    idp = OpenIdProvider()
    idp.keys = {"small": ("RS256", small)}
    others = [
        *idp.documents()["/keys"]["keys"],
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**good[0], "use": "enc", "kid": "encrypts"},
        {**good[0], "alg": "HS256", "kid": "confused"},
        {**good[0], "kid": None},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
        {"kty": ["RSA"], "kid": "odd"},
        "not a key",
    ]
    assert key_set({"keys": [*good, *others]}).keys() == {"rsa-1", "ec-1"}
    documents: list[object] = [None, [], {}, {"keys": {}}]
    for nonsense in documents:
        with pytest.raises(ValueError, match="not a key set"):
            key_set(nonsense)
