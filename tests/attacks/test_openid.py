"""Tokens that say they are of an OpenID provider and are not, and a provider that does not behave as one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server import close_codes
from server.auth import IdentityUnavailable, TokenRefused
from server.auth.provider import CONFIGURATION, Provider, ProviderSettings, fetcher
from tests.attacks.arena import Arena, arena
from tests.attacks.forged_tokens import sealed
from tests.attacks.honest import People
from tests.server.auth.openid_provider import AUDIENCE, EC_KEY, RSA_KEY, OpenIdProvider

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

ISSUES: Final = "/v1/workspaces/main/issues"
OTHER_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM: Final = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NOW: Final = datetime(2031, 5, 1, 12, tzinfo=UTC)


@dataclass
class Case:
    """Who forges, and what with. `own`: the server's own key id and private key · `lure`: an address of eve's."""

    idp: OpenIdProvider
    own: Any
    lure: str

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token of the provider says, but for `changes`."""
        good: dict[str, Any] = jwt.decode(self.idp.token("eve", **changes), options={"verify_signature": False})
        return good

    def signed(self, key: Any, algorithm: str, header: dict[str, Any], **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), key, algorithm=algorithm, headers=header)


def by_hmac(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(secret, data, hashlib.sha256)


FORGED: Final[dict[str, Callable[[Case], str]]] = {
    "our issuer, the provider's key": lambda case: case.signed(
        RSA_KEY, "RS256", {"kid": "rsa-1"}, iss="syncline", aud="syncline", ws="main", role="owner"
    ),
    "the provider's issuer, our key": lambda case: jwt.encode(
        case.claims(), case.own.private, algorithm="EdDSA", headers={"kid": case.own.id}
    ),
    "the issuer with a slash more": lambda case: case.idp.token("eve", iss=case.idp.issuer + "/"),
    "the issuer in capitals": lambda case: case.idp.token("eve", iss=case.idp.issuer.upper()),
    "an issuer of eve's": lambda case: case.idp.token("eve", iss=case.lure),
    "issuers in a list": lambda case: sealed(
        {"alg": "RS256", "kid": "rsa-1"}, case.claims() | {"iss": [case.idp.issuer]}, lambda data: bytes(256)
    ),
    "the id of another key": lambda case: case.signed(RSA_KEY, "RS256", {"kid": "ec-1"}),
    "the id of a key of another kind": lambda case: case.signed(EC_KEY, "ES256", {"kid": "rsa-1"}),
    "a key of eve's by a known id": lambda case: case.signed(OTHER_KEY, "RS256", {"kid": "rsa-1"}),
    "no id of a key": lambda case: case.signed(RSA_KEY, "RS256", {}),
    "an id that is a path": lambda case: case.signed(OTHER_KEY, "RS256", {"kid": "../../dev/null"}),
    "HS256 with the public key, PEM": lambda case: sealed(
        {"alg": "HS256", "kid": "rsa-1"}, case.claims(), by_hmac(PEM)
    ),
    "HS256 with the public key, as it is served": lambda case: sealed(
        {"alg": "HS256", "kid": "rsa-1"},
        case.claims(),
        by_hmac(case.idp.documents()["/keys"]["keys"][0]["n"].encode()),
    ),
    "HS256 with nothing": lambda case: sealed({"alg": "HS256", "kid": "rsa-1"}, case.claims(), by_hmac(b"")),
    "algorithm none": lambda case: sealed({"alg": "none", "kid": "rsa-1"}, case.claims(), lambda data: b""),
    "another algorithm of the same key": lambda case: case.signed(RSA_KEY, "PS256", {"kid": "rsa-1"}),
    "for another client": lambda case: case.idp.token("eve", aud="another-client"),
    "for no client": lambda case: case.idp.token("eve", aud=None),
    "for our own audience": lambda case: case.idp.token("eve", aud="syncline"),
    "expired": lambda case: case.idp.token("eve", now=datetime.now(UTC) - timedelta(hours=2)),
    "not good yet": lambda case: case.idp.token("eve", nbf=(datetime.now(UTC) + timedelta(hours=1)).timestamp()),
    "a user with a line break": lambda case: case.idp.token("eve\nana"),
    "the address of a key": lambda case: case.signed(
        OTHER_KEY, "RS256", {"kid": "eve", "jku": f"{case.lure}/keys", "x5u": f"{case.lure}/x5u"}
    ),
    "a key brought along": lambda case: case.signed(
        OTHER_KEY, "RS256", {"kid": "eve", "jwk": {"kty": "RSA", "kid": "eve"}, "x5c": ["MIIB"]}
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lure() -> AsyncIterator[OpenIdProvider]:
    """A provider of eve's, whom nobody should ask anything."""
    eves = OpenIdProvider()
    eves.keys = {"eve": ("RS256", OTHER_KEY)}
    async with eves.serving():
        yield eves


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signing_in() -> AsyncIterator[tuple[Arena, People, OpenIdProvider]]:
    idp = OpenIdProvider()
    flags = ("--oidc-audience", AUDIENCE, "--oidc-default-role", "member", "--oidc-timeout-seconds", "1")
    async with idp.serving(), arena("--oidc-issuer", idp.issuer, *flags) as (made, people):
        yield made, people, idp


@pytest.mark.parametrize("name", FORGED)
async def test_a_token_the_provider_never_gave(
    signing_in: tuple[Arena, People, OpenIdProvider], lure: OpenIdProvider, name: str
) -> None:
    made, people, idp = signing_in
    token = FORGED[name](Case(idp, made.key(), lure.issuer))
    status, answer = await made.get(ISSUES, token=token)
    assert status == 401
    assert b"Traceback" not in answer
    body = json.dumps({"id_token": token, "workspace": "main"}).encode()
    status, answer = await made.get("/v1/auth/exchange", method="POST", token="", body=body)
    assert (status, b"access_token" in answer) == (401, False)
    eve = await made.over_yjs(token=token)
    assert await eve.close_code() == close_codes.UNAUTHORIZED
    assert lure.asked == 0
    await made.expect_calm(people)


async def test_a_token_the_provider_gave_is_good(signing_in: tuple[Arena, People, OpenIdProvider]) -> None:
    """What is above is refused for what it is."""
    made, _, idp = signing_in
    for key in idp.keys:
        assert (await made.get(ISSUES, token=idp.token("eve", key)))[0] == 200


async def test_a_provider_that_is_away_has_revoked_nobody() -> None:
    """503 and 1013: come back; and who has a token of ours does not notice."""
    idp = OpenIdProvider()
    flags = ("--oidc-audience", AUDIENCE, "--oidc-default-role", "member")
    async with idp.serving(), arena("--oidc-issuer", idp.issuer, *flags) as (made, people):
        idp.is_away = True
        token = idp.token("zoe")
        assert (await made.get(ISSUES, token=token))[0] == 503
        body = json.dumps({"id_token": token, "workspace": "main"}).encode()
        assert (await made.get("/v1/auth/exchange", method="POST", token="", body=body))[0] == 503
        zoe = await made.over_yjs(token=token)
        assert await zoe.close_code() == close_codes.TRY_LATER
        peer = await made.over_hocuspocus(token)
        assert await peer.close_code() == close_codes.TRY_LATER
        await made.expect_calm(people)


# A provider that does not behave as one.

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """At once."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    """Until the other side gives up."""
    await writer.wait_closed()


def trickling(head: bytes, drop: bytes) -> Answer:
    """Without end, and never silent for long."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


def many_keys(count: int) -> bytes:
    key = OpenIdProvider().documents()["/keys"]["keys"][0]
    return json.dumps({"keys": [{**key, "kid": str(at)} for at in range(count)]}).encode()


MISBEHAVED: Final[dict[str, Callable[[str], Answer]]] = {
    "keys of 2 MB": lambda lure: answering(b" " * 2**21 + b'{"keys": []}'),
    "a thousand keys": lambda lure: answering(many_keys(1_000)),
    "keys without end": lambda lure: trickling(b"HTTP/1.1 200 OK\r\n\r\n{", b" "),
    "a head without end": lambda lure: trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "silence": lambda lure: silence,
    "no HTTP": lambda lure: answering(b"", "hello"),
    "a page": lambda lure: answering(b"<html>sign in</html>"),
    "no keys": lambda lure: answering(b'{"keys": {}}'),
    "JSON 100,000 deep": lambda lure: answering(b"[" * 100_000 + b"]" * 100_000),
    "a redirect to eve": lambda lure: answering(b"", "302 Found", f"Location: {lure}/keys"),
    "a redirect to a file": lambda lure: answering(b"", "301 Moved", "Location: file:///etc/passwd"),
    "an error": lambda lure: answering(b"", "500 No"),
    "keys compressed": lambda lure: answering(b"\x1f\x8b\x08\x00", "200 OK", "Content-Encoding: gzip"),
}


@asynccontextmanager
async def provider_of(idp: OpenIdProvider, keys: Answer) -> AsyncIterator[Provider]:
    """Who reads the tokens of a provider that answers for its keys like that, over the network."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.add(writer)
        try:
            asked = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            if asked == CONFIGURATION:
                await answering(json.dumps(idp.documents()[CONFIGURATION]).encode())(writer)
            else:
                await keys(writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # given up, as it should be
        finally:
            answers.discard(writer)
            writer.transport.abort()

    answers: set[asyncio.StreamWriter] = set()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    idp.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield Provider(ProviderSettings(idp.issuer, (AUDIENCE,)), fetcher(0.5))
    finally:
        server.close()
        for writer in answers:
            writer.transport.abort()


@pytest.mark.parametrize("name", MISBEHAVED)
async def test_a_provider_that_misbehaves_is_away(lure: OpenIdProvider, name: str) -> None:
    """Nobody waits for it longer than for one that is away, and nobody else is asked."""
    idp = OpenIdProvider()
    async with provider_of(idp, MISBEHAVED[name](lure.issuer)) as provider, asyncio.timeout(5):
        for seconds in (0, 20):
            with pytest.raises(IdentityUnavailable):
                await provider.read(idp.token(now=NOW), NOW + timedelta(seconds=seconds), timedelta(0))
        assert lure.asked == 0


async def test_keys_that_are_changed_while_they_are_asked_for() -> None:
    """Both who wait get what is true then: the old key is no key any more."""
    idp, asked, go_on = OpenIdProvider(), asyncio.Event(), asyncio.Event()

    async def keys(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        await answering(json.dumps(idp.documents()["/keys"]).encode())(writer)

    async with provider_of(idp, keys) as provider, asyncio.timeout(5):
        old = idp.token("ana", "rsa-1", now=NOW)
        reads = [asyncio.create_task(provider.read(old, NOW, timedelta(0)))]
        await asked.wait()
        idp.keys = {"rsa-2": ("RS256", OTHER_KEY)}
        reads.append(asyncio.create_task(provider.read(idp.token("ben", "rsa-2", now=NOW), NOW, timedelta(0))))
        go_on.set()
        first, second = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(first, TokenRefused)
    assert not isinstance(second, BaseException)
    assert second.user_id == "ben"
