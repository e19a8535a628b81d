"""Tokens that prove nothing, pages of other sites, ids of other workspaces: at every door."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crdt.native import Hello, Refusal
from crdt.native_codec import encode
from server import close_codes
from server.auth import keys_of
from server.auth.tokens import Key
from server.dialects import hocuspocus, y_websocket
from server.permissions import Role
from tests.attacks.arena import Arena, refusal_of
from tests.attacks.forging import string
from tests.server.websocket_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUES: Final = "/v1/workspaces/main/issues"


def signing_key(arena: Arena) -> Key:
    """What the server signs with; the attacker has its public half."""
    return keys_of(arena.server.settings()).signing()


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


@pytest.mark.parametrize("name", FORGED)
async def test_a_token_that_proves_nothing(attacked: Arena, name: str) -> None:
    token = FORGED[name](signing_key(attacked))
    is_long = len(token) > 10_000
    status, answer = await attacked.get(ISSUES, token=token)
    assert status in ((0, 431) if len(token) > 2**16 else (401,))  # 0: it hung up while we were still at it
    assert b"Traceback" not in answer
    if not is_long:
        eve = await attacked.over_yjs(token=token)
        assert await eve.close_code() == close_codes.UNAUTHORIZED
    native = await attacked.over_native()
    native.send(encode(Hello(token[:16_000], "test", None, "updates", None, None, None)))
    assert isinstance(await refusal_of(native), Refusal)
    assert await native.close_code() in (close_codes.UNAUTHORIZED, close_codes.BAD_REQUEST, close_codes.TOO_MUCH)
    if not is_long:
        provider = await attacked.over_hocuspocus(token)
        assert (await provider.message()).startswith(attacked.addressed(hocuspocus.denied("")[:2]))
        provider.cut()


async def test_a_good_token_is_good(attacked: Arena) -> None:
    """What is above is refused for what it is, and not because nothing is let in."""
    key = signing_key(attacked)
    assert (await attacked.get(ISSUES, token=signed_by(key)))[0] == 200


# Other workspaces.

PATHS: Final = {
    "its own name": "other",
    "a way around": "main%2f..%2fother",
    "upper case": "MAIN",
    "a look-alike": "m%D0%B0in",
    "a wildcard": "*",
    "a NUL": "main%00",
    "a colon": "main:other",
    "a space": "main%20",
    "a line break": "main%0d%0aX-Evil:%201",
    "very long": "m" * 5_000,
}


@pytest.mark.parametrize("name", PATHS)
async def test_a_workspace_that_is_not_of_the_token(attacked: Arena, name: str) -> None:
    workspace = PATHS[name]
    for path in (
        f"/v1/workspaces/{workspace}/issues",
        f"/v1/workspaces/{workspace}/issues/{attacked.issue}",
        f"/v1/workspaces/{workspace}/changes",
    ):
        status, answer = await attacked.get(path)
        assert status in (400, 403, 404)
        assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]
    eve = await RawClient.open(attacked.port, f"/yjs/{workspace}/{attacked.issue}?token={attacked.token()}")
    assert await eve.close_code() in (close_codes.NOT_ALLOWED, close_codes.NOT_FOUND)
    native = await attacked.over_native(workspace)
    if native.status == 101:
        native.send(encode(Hello(attacked.token(), "test", None, "updates", None, None, None)))
        assert isinstance(await refusal_of(native), Refusal)
        assert await native.close_code() in (close_codes.NOT_ALLOWED, close_codes.NOT_FOUND)
    else:
        assert native.status in (400, 403, 404)
        native.cut()


DOCUMENTS: Final = ["other/{}", "main/../other/{}", "MAIN/{}", "*/{}", "main:other/{}", "/{}", "main/{}/../x", "main"]


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_document_that_is_not_of_the_token(attacked: Arena, name: str) -> None:
    document = name.format(attacked.issue)
    eve = await attacked.over_hocuspocus(document=document)
    answer = await eve.message()
    assert answer.startswith(attacked.addressed(hocuspocus.denied("")[:2], document))
    eve.cut()


async def test_an_issue_of_another_workspace_is_nowhere_to_be_seen(attacked: Arena) -> None:
    """The same id in two workspaces is two issues."""
    async with attacked.server.database() as database:
        await database.execute(
            "INSERT INTO workspaces (slug, name, epoch) SELECT 'other', 'Other', gen_random_uuid()"
            " WHERE NOT EXISTS (SELECT FROM workspaces WHERE slug = 'other')"
        )
    other = attacked.token(workspace="other")
    issue = uuid4()
    body = json.dumps({"id": str(issue), "title": "secret"}).encode()
    status, answer = await attacked.get(
        "/v1/workspaces/other/issues", method="POST", token=other, body=body, Content_Type="application/json"
    )
    assert status == 201, answer
    status, answer = await attacked.get(f"{ISSUES}/{issue}")
    assert (status, b"secret" in answer) == (404, False)
    eve = await attacked.over_yjs(issue)
    eve.send(y_websocket.sync_step1(b"\x00"))
    assert await eve.message() == y_websocket.sync_step1(b"\x00")
    assert await eve.message() == y_websocket.sync_step2(b"\x00\x00")
    eve.cut()


async def test_a_token_cannot_be_renewed_into_another_user(attacked: Arena) -> None:
    """On a Hocuspocus document another user's token begins anew; it does not speak for the first."""
    eve = await attacked.over_hocuspocus(attacked.token("vic", Role.VIEWER))
    assert (await eve.message()).endswith(b"readonly")
    eve.send(attacked.addressed(hocuspocus.TOKEN_REQUEST + string("not a token")))
    while not (answer := await eve.message()).startswith(attacked.addressed(hocuspocus.denied("")[:2])):
        pass
    assert answer
    eve.send(attacked.addressed(y_websocket.update(bytes.fromhex("0101010004010174016100"))))
    eve.cut()


# Pages of other sites.

ORIGINS: Final = {
    "another site": "http://evil.example",
    "a site that begins like us": "http://127.0.0.1.evil.example",
    "a site that ends like us": "http://evil-localhost",
    "a sandbox": "null",
    "a user name like us": "http://127.0.0.1@evil.example",
    "a file": "file://",
    "none of a URL": "http://[::",
    "empty": "",
}


@pytest.mark.parametrize("name", ORIGINS)
async def test_a_page_of_another_site(attacked: Arena, name: str) -> None:
    for path in (f"/yjs/main/{attacked.issue}?token={attacked.token()}", "/hocuspocus", "/v1/workspaces/main/sync"):
        eve = await RawClient.open(attacked.port, path, {"Origin": ORIGINS[name]})
        assert eve.status == 403
        eve.cut()
    _, answer = await attacked.get(ISSUES, Origin=ORIGINS[name])
    assert b"access-control-allow-origin" not in answer.lower()


async def test_a_page_asks_whether_it_may(attacked: Arena) -> None:
    _, answer = await attacked.get(
        ISSUES, method="OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="DELETE"
    )
    assert b"access-control-allow" not in answer.lower()
