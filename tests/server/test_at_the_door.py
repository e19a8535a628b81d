"""Handshakes and refusals of strangers, over both WebSocket implementations: who waits, and who does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from server import close_codes
from server.addresses import proxies
from server.buckets import Allowance
from server.websocket import Handshake, PacedConnection
from server.websocket.strangers import StrangerLimits, Strangers
from tests.peers.server_process import eventually
from tests.server.test_websocket import KINDS, SMALL, Recorder, Serve, Site, _serve
from tests.server.websocket_client import TEXT

BEHIND: Final = replace(SMALL, trusted_proxies=proxies(["127.0.0.1"]))
EVE: Final = {"X-Forwarded-For": "192.0.2.1"}
NEVER: Final = StrangerLimits(Allowance(rate=0.001, burst=1), longest_wait=1_000)  # one, and five who wait
GRACE_SECONDS: Final = 4.0  # less than what a server that stops gives to whoever is there


@pytest.fixture(params=KINDS)
def serve(request: pytest.FixtureRequest) -> Serve:
    return lambda **options: _serve(request.param, BEHIND, **options)


class Patience:
    """How long a refusal waits is up to the test."""

    def __init__(self, site: Site, limits: StrangerLimits | None = None) -> None:
        self.is_over = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.strangers = site.endpoint.strangers = Strangers(limits or StrangerLimits(), self.wait)

    async def wait(self, host: str) -> None:
        assert host == "192.0.2.1"
        self.has_begun.set()
        await self.is_over.wait()


def known(handshake: Handshake, connection: PacedConnection) -> Recorder:
    """A door where everybody has a good token."""
    connection.known()
    return Recorder(handshake, connection)


async def test_a_stranger_is_let_go_of_at_once_and_told_why_later(serve: Serve) -> None:
    async with serve() as site, asyncio.timeout(10):
        patience = Patience(site)
        eve, peer = await site.connect(**EVE)
        eve.send(b"text", TEXT)
        assert await peer.close_code() == close_codes.TEXT_NOT_SUPPORTED
        told = asyncio.create_task(eve.close_code())
        await patience.has_begun.wait()
        assert not told.done()
        patience.is_over.set()
        assert await told == close_codes.TEXT_NOT_SUPPORTED


async def test_somebody_with_a_good_token_is_told_at_once(serve: Serve) -> None:
    async with serve() as site:
        patience, site.door = Patience(site), known
        ana, _ = await site.connect(**EVE)
        ana.send(b"text", TEXT)
        assert await ana.close_code() == close_codes.TEXT_NOT_SUPPORTED
        assert not patience.has_begun.is_set()


async def test_a_page_of_another_site_hears_no_late(serve: Serve) -> None:
    async with serve() as site, asyncio.timeout(10):
        patience = Patience(site)
        opening = asyncio.create_task(site.open("/door", EVE | {"Origin": "https://evil.example"}))
        await patience.has_begun.wait()
        assert not opening.done()
        assert site.peers.empty()
        patience.is_over.set()
        assert (await opening).status == 403


async def knock(site: Site, *more: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a WebSocket, and do not wait for the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    lines = ("GET /door HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "X-Forwarded-For: 192.0.2.1")
    key = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==")
    writer.write("\r\n".join([*lines, *key, *more, "", ""]).encode())
    return reader, writer


async def until_waiting(strangers: Strangers, count: int) -> None:
    """So many handshakes wait for their turn."""

    async def are_waiting() -> bool:
        return sum(map(len, strangers._lines.values())) == count

    await eventually(are_waiting, f"{count} wait")


async def test_handshakes_without_a_token_wait_for_their_turn_and_too_many_are_told_when_to_come_back(
    serve: Serve,
) -> None:
    async with serve() as site, asyncio.timeout(10):
        strangers = Patience(site, NEVER).strangers
        _, first = await site.connect(**EVE)
        waiting = [await knock(site) for _ in range(NEVER.max_waiting)]
        await until_waiting(strangers, NEVER.max_waiting)
        late = await site.open("/door", EVE)
        assert late.status == 429
        assert b"retry-after: 10" in late.head.lower()
        assert site.peers.empty()
        first.connection.known()
        assert b" 101 " in await waiting[0][0].readline()
        assert sum(map(len, strangers._lines.values())) == NEVER.max_waiting - 1
        for _, writer in waiting:
            writer.transport.abort()


async def test_who_hangs_up_while_waiting_is_forgotten(serve: Serve) -> None:
    async with serve() as site, asyncio.timeout(10):
        strangers = Patience(site, NEVER).strangers
        _, first = await site.connect(**EVE)
        _, writer = await knock(site)
        await until_waiting(strangers, 1)
        writer.transport.abort()
        await until_waiting(strangers, 0)
        first.connection.known()
        await site.connect(**EVE)


async def test_who_talks_on_before_the_answer_is_cut_off(serve: Serve) -> None:
    async with serve() as site, asyncio.timeout(10):
        strangers = Patience(site, NEVER).strangers
        await site.connect(**EVE)
        reader, writer = await knock(site)
        await until_waiting(strangers, 1)
        writer.write(b"and on")
        await asyncio.gather(reader.read(), return_exceptions=True)
        await until_waiting(strangers, 0)
        writer.close()


async def test_a_server_that_stops_does_not_wait_for_who_is_refused_later(serve: Serve) -> None:
    async with serve() as site:
        patience = Patience(site)
        eve, peer = await site.connect(**EVE)
        eve.send(b"text", TEXT)
        await peer.close_code()
        await patience.has_begun.wait()
        patience.has_begun.clear()
        reader, writer = await knock(site, "Origin: https://evil.example")
        await patience.has_begun.wait()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < GRACE_SECONDS
    assert await reader.read() == b""
    writer.close()


async def test_a_frame_that_the_library_refuses_at_once_costs_its_address_handshakes() -> None:
    async with _serve("picows", BEHIND) as site, asyncio.timeout(10):
        patience = Patience(site, NEVER)
        eve, peer = await site.connect(**EVE)
        eve.send_header(2**30)
        assert await eve.close_code() == close_codes.MESSAGE_TOO_BIG
        assert await peer.close_code() == close_codes.PROTOCOL_ERROR
        assert patience.strangers._handshakes.left("192.0.2.1", asyncio.get_running_loop().time()) < 0
