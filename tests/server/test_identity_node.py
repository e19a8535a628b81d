"""Who may do what on whole servers: two nodes over one Postgres, people who come, change and are sent away."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest

from crdt.native import Ack, Frame, Hello, Nack, Notice, Push, PushEntry, Refusal, ServerFrame, Welcome
from crdt.native_codec import decode_server, encode
from server import close_codes
from server.permissions import Role
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, eventually
from tests.server.auth.openid_provider import AUDIENCE, EC_KEY, OpenIdProvider
from tests.server.websocket_client import RawClient

ISSUE = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")
TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")
EDIT = Push((PushEntry(1, ISSUE, TYPING),))
API = "/v1/workspaces/main"

pytestmark = pytest.mark.long


class Client:
    """A native socket."""

    def __init__(self, socket: RawClient) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, server: ServerProcess, token: str, device: str | None = None) -> Client:
        socket = await RawClient.open(
            server.port, f"{API}/sync", {"Sec-WebSocket-Protocol": "syncline.v1", "User-Agent": "test"}
        )
        client = cls(socket)
        client.say(Hello(token, "test", device_id=device, mode="off"))
        return client

    def say(self, frame: Frame) -> None:
        self.socket.send(encode(frame))

    async def until(self, *kinds: type[ServerFrame]) -> ServerFrame:
        async with asyncio.timeout(10):
            while True:
                frame = decode_server(await self.socket.message())
                if isinstance(frame, kinds):
                    return frame

    async def is_sent_away(self) -> str:
        """Why; within the five seconds that are promised."""
        async with asyncio.timeout(5):
            refusal = await self.until(Refusal)
            assert await self.socket.close_code() == close_codes.UNAUTHORIZED
        assert isinstance(refusal, Refusal)
        return refusal.message


async def request(
    server: ServerProcess, method: str, path: str, token: str = "", body: object = None
) -> tuple[int, Any]:
    """Status and JSON of the answer."""

    def asked() -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        sent = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", content, headers, method=method)
        try:
            with urllib.request.urlopen(sent, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    status, content = await asyncio.to_thread(asked)
    return status, json.loads(content) if content else None


async def listed(server: ServerProcess, *command: str) -> list[dict[str, Any]]:
    code, output = await server.command(*command, "--json")
    assert code == 0, output
    return [json.loads(line) for line in output.splitlines()]


def second_node(first: ServerProcess, dsn: str) -> AbstractAsyncContextManager[ServerProcess]:
    return forking("--token-keys", str(first.data_dir / "keys"), database_url=dsn)


async def test_what_becomes_of_somebody_reaches_their_sockets_on_every_node(dsn: str) -> None:
    async with forking(database_url=dsn) as one, second_node(one, dsn) as other:

        async def did(*command: str) -> None:
            code, output = await one.command(*command)
            assert code == 0, output

        # A viewer's edit is refused; made a member, the same socket edits.
        await did("member", "set", "ben", "--role", "viewer")
        ben = await Client.open(other, one.token("ben"), "laptop")
        welcome = await ben.until(Welcome)
        assert isinstance(welcome, Welcome)
        assert welcome.role == "viewer"
        ben.say(EDIT)
        nack = await ben.until(Nack)
        assert isinstance(nack, Nack)
        assert nack.code == "forbidden"
        await did("member", "set", "ben", "--role", "member")
        assert await ben.until(Notice) == Notice("role", "member")
        ben.say(Push((PushEntry(2, ISSUE, TYPING),)))
        assert isinstance(await ben.until(Ack), Ack)

        # He is listed from both nodes, with what he said of himself; his device is revoked, and his socket closes.
        async def is_listed() -> bool:
            return [(one["user"], one["device"]) for one in await listed(one, "session", "list")] == [("ben", "laptop")]

        await eventually(is_listed, "the session is listed")
        (device,) = await listed(one, "device", "list", "--user", "ben")
        assert (device["device"], device["user_agent"]) == ("laptop", "test")
        assert device["last_sync_at"] is not None
        await did("device", "revoke", "ben", "laptop")
        assert await ben.is_sent_away() == "the device was revoked"
        assert await (await Client.open(one, one.token("ben"), "laptop")).is_sent_away() == "the device was revoked"

        # On another device he is in, until he is removed.
        phone = await Client.open(other, one.token("ben"), "phone")
        await phone.until(Welcome)
        await did("member", "remove", "ben")
        assert await phone.is_sent_away() == "the user was signed out"


async def test_admins_manage_people_over_http_and_others_only_what_is_theirs(dsn: str) -> None:
    async with forking(database_url=dsn) as server:
        owner, eve = server.token("olga", Role.OWNER), server.token("eve", Role.MEMBER)
        admin = server.token("adam", Role.ADMIN)
        assert (await request(server, "PUT", f"{API}/members/olga", owner, {"role": "owner"}))[0] == 200
        status, member = await request(server, "PUT", f"{API}/members/eve", admin, {"role": "viewer", "name": "Eve"})
        assert (status, member["role"], member["name"]) == (200, "viewer", "Eve")
        for method, path, body in (
            ("PUT", "members/adam", {"role": "owner"}),
            ("PUT", "members/olga", {"role": "viewer"}),
            ("DELETE", "members/olga", None),
        ):
            assert (await request(server, method, f"{API}/{path}", admin, body))[0] == 403, path
        assert (await request(server, "DELETE", f"{API}/members/olga", owner))[0] == 409

        client = await Client.open(server, eve, "laptop")
        await client.until(Welcome)

        async def is_listed() -> bool:
            _, page = await request(server, "GET", f"{API}/sessions", admin)
            return [session["user_id"] for session in page["sessions"]] == ["eve"]

        await eventually(is_listed, "the session is listed")
        _, page = await request(server, "GET", f"{API}/sessions", eve)
        (session,) = page["sessions"]
        ben = server.token("ben")
        assert (await request(server, "GET", f"{API}/sessions", ben))[1] == {"sessions": []}
        assert (await request(server, "GET", f"{API}/sessions?user=eve", ben))[0] == 403
        assert (await request(server, "DELETE", f"{API}/sessions/{session['id']}", ben))[0] == 404
        assert (await request(server, "DELETE", f"{API}/devices/eve/laptop", ben))[0] == 404
        assert (await request(server, "PUT", f"{API}/members/ben", eve, {"role": "admin"}))[0] == 403
        assert (await request(server, "DELETE", f"{API}/sessions/{session['id']}", eve))[0] == 204
        assert await client.is_sent_away() == "the session was ended"
        assert (await request(server, "DELETE", f"{API}/devices/eve/laptop", admin))[0] == 204
        _, page = await request(server, "GET", f"{API}/devices?user=eve", admin)
        assert page["devices"][0]["revoked_at"] is not None


async def test_a_printed_token_is_listed_and_revoked_by_its_id(dsn: str) -> None:
    async with forking(database_url=dsn) as server:
        code, printed = await server.command("token", "--user", "bot", "--days", "3")
        assert code == 0
        token = printed.strip()
        client = await Client.open(server, token)
        await client.until(Welcome)
        (row,) = await listed(server, "token", "list")
        assert (row["user"], row["role"], row["revoked_at"]) == ("bot", "member", None)
        assert token not in str(row)
        code, _ = await server.command("token", "revoke", row["token"])
        assert code == 0
        assert await client.is_sent_away() == "the token was revoked"
        assert (await request(server, "GET", f"{API}/issues", token))[0] == 401


async def test_a_login_gives_short_tokens_as_long_as_nobody_else_has_its_refresh_token(dsn: str) -> None:
    async with forking("--access-token-seconds", "60", database_url=dsn) as server:
        code, first = await server.command("token", "--user", "ana", "--refresh", "--device", "laptop")
        assert code == 0
        status, tokens = await request(server, "POST", "/v1/auth/token", body={"refresh_token": first.strip()})
        assert (status, tokens["user_id"], tokens["role"]) == (200, "ana", "member")
        assert 50 < tokens["expires_in"] <= 60
        client = await Client.open(server, tokens["access_token"])
        await client.until(Welcome)
        again, problem = await request(server, "POST", "/v1/auth/token", body={"refresh_token": first.strip()})
        assert (again, problem["type"]) == (401, "urn:syncline:problem:unauthorized")
        assert await client.is_sent_away() == "the login is over"
        newest = {"refresh_token": tokens["refresh_token"]}
        assert (await request(server, "POST", "/v1/auth/token", body=newest))[0] == 401
        for nonsense in ("", "x", "a.b.c", "bWFpbg." + "0" * 32 + ".x"):
            assert (await request(server, "POST", "/v1/auth/token", body={"refresh_token": nonsense}))[0] == 401


async def test_whoever_signs_out_is_out(dsn: str) -> None:
    async with forking(database_url=dsn) as server:
        _, refresh = await server.command("token", "--user", "ana", "--refresh")
        _, tokens = await request(server, "POST", "/v1/auth/token", body={"refresh_token": refresh.strip()})
        client = await Client.open(server, tokens["access_token"])
        await client.until(Welcome)
        newest = {"refresh_token": tokens["refresh_token"]}
        assert (await request(server, "POST", "/v1/auth/sign-out", body=newest))[0] == 204
        assert await client.is_sent_away() == "the login is over"


async def test_an_openid_provider_signs_a_user_in(dsn: str) -> None:
    idp = OpenIdProvider()
    async with idp.serving(), forking(*idp_flags(idp), database_url=dsn) as server:
        token = idp.token("zoe")
        assert (await request(server, "GET", f"{API}/issues", token))[0] == 403, "not a member yet"
        asked = {"id_token": token, "workspace": "main", "device_id": "laptop"}
        assert (await request(server, "POST", "/v1/auth/exchange", body=asked))[0] == 403
        code, _ = await server.command("user", "add", "zoe", "--role", "member")
        assert code == 0
        assert (await request(server, "GET", f"{API}/issues", token))[0] == 200
        status, tokens = await request(server, "POST", "/v1/auth/exchange", body=asked)
        assert (status, tokens["user_id"], tokens["role"]) == (200, "zoe", "member")
        (user,) = await listed(server, "member", "list")
        assert (user["name"], user["email"]) == ("Zoe", "zoe@example.org")
        refused, _ = await request(server, "POST", "/v1/auth/exchange", body={"id_token": tokens["access_token"]})
        assert refused == 401, "ours are not exchanged"

        # A socket with the provider's token, and one with ours; a role that is given later counts for both.
        theirs, ours = await Client.open(server, token), await Client.open(server, tokens["access_token"])
        for client in (theirs, ours):
            await client.until(Welcome)
        await server.command("member", "set", "zoe", "--role", "admin")
        assert await theirs.until(Notice) == await ours.until(Notice) == Notice("role", "admin")

        # While the provider is away, nobody is told that they are refused.
        idp.is_away = True
        idp.keys["ec-2"] = ("ES256", EC_KEY)
        newer = idp.token("zoe", "ec-2")

        async def is_unavailable() -> bool:  # it is asked again after a pause
            return (await request(server, "GET", f"{API}/issues", newer))[0] == 503

        await eventually(is_unavailable, "503 while the provider is away")
        stranger = await Client.open(server, newer)
        assert await stranger.socket.close_code() == close_codes.TRY_LATER
        status, tokens = await request(
            server, "POST", "/v1/auth/token", body={"refresh_token": tokens["refresh_token"]}
        )
        assert (status, tokens["role"]) == (200, "admin"), "our own tokens do not need it"
        for client in (theirs, ours):
            client.socket.cut()


def idp_flags(idp: OpenIdProvider) -> list[str]:
    return ["--oidc-issuer", idp.issuer, "--oidc-audience", AUDIENCE]
