from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.types import Message
from websockets.asyncio.client import connect

from crdt.sync import Update
from server import config, exposure
from server.config import BadSettings
from server.dialects import y_websocket
from server.doors.http import http_app
from server.metrics import Metrics
from tests.attacks.forging import text, update
from tests.peers.server_process import CHECKOUT, at_rest, eventually, plain_environment
from tests.server.certificates import certify_loopback

TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")
KEYS = {"token_keys": "/keys"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "tracker.example", "localhost.evil.example"])
def test_without_real_keys_nothing_listens_beyond_this_machine(host: str) -> None:
    with pytest.raises(BadSettings, match=r"--token-keys .*--oidc-issuer"):
        exposure.check(config.load({"host": host}, {}))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_none(host: str) -> None:
    exposure.check(config.load({"host": host}, {}))


@pytest.mark.parametrize(
    "keys",
    [
        KEYS,
        {"token_key": "s" * 32},
        {"oidc_issuer": "https://id.example", "oidc_audience": "syncline"},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_with_real_keys_a_node_may_be_reached(keys: dict[str, str | None]) -> None:
    exposure.check(config.load({"host": "0.0.0.0", **keys}, {}))


def test_a_certificate_and_its_key_belong_together(tmp_path: Path) -> None:
    certificate, key = certify_loopback(tmp_path)
    with pytest.raises(BadSettings, match="tls-cert and tls-key belong together"):
        config.load({"tls_cert": str(certificate)}, {})
    for one, other, said in (
        (certificate, tmp_path / "away", "there is no file"),
        (key, key, "are no certificate"),
        (certificate, certificate, "are no certificate"),
    ):
        with pytest.raises(BadSettings, match=said):
            exposure.check(config.load({"tls_cert": str(one), "tls_key": str(other)}, {}))
    exposure.check(config.load({"tls_cert": str(certificate), "tls_key": str(key)}, {}))


async def answer(origins: tuple[str, ...], method: str, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer to a page."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ready() -> None: ...

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": "/healthz",
        "query_string": b"",
        "headers": [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await exposure.opened_to(origins, http_app(Metrics(), ready))(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


PAGE = {"Origin": "https://board.example"}
ASKS = {**PAGE, "Access_Control_Request_Method": "DELETE", "Access_Control_Request_Headers": "authorization,if-match"}


async def test_pages_of_other_sites_read_nothing_unless_their_origin_is_allowed() -> None:
    for origins, is_allowed in (
        ((), False),
        (("https://other.example",), False),
        (("https://board.example.evil.example",), False),
        (("https://Board.example/",), True),
        (("*",), True),
    ):
        for method, headers in (("GET", PAGE), ("OPTIONS", ASKS)):
            _, answered = await answer(origins, method, **headers)
            allowed = answered.get("access-control-allow-origin")
            assert (allowed in ("*", "https://board.example")) == is_allowed, (origins, method)
            assert "access-control-allow-credentials" not in answered  # a page needs a token, cookies are none
    status, answered = await answer(("https://board.example",), "OPTIONS", **ASKS)
    assert status == 200
    assert "if-match" in answered["access-control-allow-headers"]
    assert answered["access-control-max-age"] == "600"


@pytest.mark.long
async def test_a_node_speaks_https_and_wss_with_real_clients(tmp_path: Path) -> None:
    certificate, key = certify_loopback(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)
    async with at_rest("--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        await server.launch()
        issue = uuid4()
        token = server.token("ana")
        address = f"127.0.0.1:{server.port}"

        async def listens() -> bool:
            try:
                async with connect(f"wss://{address}/yjs/main/{issue}?token={token}", ssl=trusting) as socket:
                    return isinstance(await socket.recv(), bytes)
            except OSError:
                return False

        await eventually(listens, "wss", deadline=60)
        # Two people, one of them with more than a socket takes at once, each way.
        big = update(77, 0, text("notes", "x" * 300_000))
        async with (
            connect(f"wss://{address}/yjs/main/{issue}?token={token}", ssl=trusting, max_size=None) as ana,
            connect(f"wss://{address}/yjs/main/{issue}?token={token}", ssl=trusting, max_size=None) as ben,
        ):
            await ben.send(y_websocket.sync_step1(b"\x00"))
            for edit in (TYPING, big):
                await ana.send(y_websocket.update(edit))
                async with asyncio.timeout(20):
                    while True:
                        message = await ben.recv()
                        assert isinstance(message, bytes)
                        if (heard := y_websocket.decode(message)) == Update(edit):
                            break
                        assert not isinstance(heard, Update)
        # A command as a person types it; the system's trust comes from a variable of OpenSSL's.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server.cli", "issues", "create", "Over TLS", "--json"),
            *("--store", str(tmp_path / "local.db")),
            *("--url", f"https://{address}", "--token", token),
            cwd=CHECKOUT,
            env=plain_environment() | {"SSL_CERT_FILE": str(certificate)},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0
        assert json.loads(output)["title"] == "Over TLS"
        # Who speaks without TLS is not understood.
        assert await server.status("/healthz") == 0


@pytest.mark.long
async def test_serve_says_why_it_does_not_start() -> None:
    async with at_rest("--host", "0.0.0.0") as server:
        await server.launch()
        async with asyncio.timeout(30):
            assert await server.process.wait() == 2
        assert "nobody has said whose tokens count" in server.last_words()
        assert not list(server.data_dir.glob("*"))
