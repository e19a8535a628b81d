"""Tokens that prove nothing, pages of other sites, ids of other workspaces: at every door."""

from __future__ import annotations

import json
from typing import Final
from uuid import uuid4

import pytest

from crdt.native import Hello, Refusal
from crdt.native_codec import encode
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.permissions import Role
from tests.attacks.arena import Arena
from tests.attacks.forged_tokens import FORGED, signed_by
from tests.attacks.forging import string
from tests.attacks.ways import refusal_of
from tests.server.websocket_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUES: Final = "/v1/workspaces/main/issues"


@pytest.mark.parametrize("name", FORGED)
async def test_a_token_that_proves_nothing(attacked: Arena, name: str) -> None:
    token = FORGED[name](attacked.key())
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
    key = attacked.key()
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
