"""One go of an attack, from coming in to being refused: the parts of `tests/attacks/cases.py`.

Each returns what the server said: a close code, a status, `CUT` or `DENIED`.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final
from uuid import uuid4

from crdt import awareness
from crdt.awareness import Entry
from crdt.native import Hello, Open, Push, PushEntry, Refusal
from crdt.native_codec import encode
from server.dialects import hocuspocus, y_websocket
from server.permissions import Role
from tests.attacks.forged_tokens import FORGED
from tests.attacks.forging import garbage, string, text, update
from tests.attacks.test_identity import ORIGINS
from tests.attacks.test_transport import BROKEN
from tests.attacks.test_updates import (
    ENGINE_KILLERS,
    EVE,
)
from tests.attacks.ways import Ways, refusal_of
from tests.hostile import BASE
from tests.server.websocket_client import BINARY, CONTINUATION, RawClient

Attack = Callable[[Ways], Coroutine[Any, Any, int]]

ISSUES: Final = "/v1/workspaces/main/issues"
CUT: Final = 0  # the socket is gone, without a word
DENIED: Final = 1  # one document of a socket, in the dialect's own words


async def call_off(attacks: Iterable[asyncio.Task[Any]]) -> None:
    """End them. Again and again, for one whose patience ends in the moment it is cancelled goes on (bpo-37658)."""
    going_on = {attack for attack in attacks if not attack.done()}
    while going_on:
        for attack in going_on:
            attack.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=0.05)


# Over a socket of y-websocket.


def said(message: bytes) -> Attack:
    """One message, and what the socket is closed with."""

    async def attack(ways: Ways) -> int:
        eve = await ways.over_yjs()
        eve.send(message)
        return await eve.close_code()

    return attack


def written(data: bytes) -> Attack:
    """One update."""
    return said(y_websocket.update(data))


def framed(name: str) -> Attack:
    """A frame that is none."""

    async def attack(ways: Ways) -> int:
        eve = await ways.over_yjs()
        eve.send(gzip.compress(bytes(1_000)), **BROKEN[name])  # type: ignore[arg-type]
        return await eve.close_code()

    return attack


async def too_big(ways: Ways) -> int:
    """A header that announces 100 MB."""
    eve = await ways.over_yjs()
    eve.send_header(100 * 2**20)
    return await eve.close_code()


async def unfinished(ways: Ways) -> int:
    """A header that announces 1 MB, which never comes."""
    eve = await ways.over_yjs()
    eve.send_header(2**20)
    await eve.lost()
    return CUT


async def clocks_of_a_victim(ways: Ways) -> int:
    """In somebody's name, so that they could write no more."""
    return await written(update(ways.victim, 1 << 20, garbage(1 << 30)))(ways)


async def letters_of_a_victim(ways: Ways) -> int:
    """In somebody's name, at the clock they are at or near it."""
    return await written(update(ways.victim, 0, text("description", "eve" * 50_000)))(ways)


async def clocks_of_its_own(ways: Ways) -> int:
    """All of them, and one more; in an issue of its own, where they are taken."""
    eve = await ways.over_yjs(uuid4())
    eve.send(y_websocket.update(update(EVE, 0, garbage((1 << 31) - 1))))
    eve.send(y_websocket.update(update(EVE, (1 << 31) - 1, text("t", "x"))))
    return await eve.close_code()


def poison(name: str) -> Attack:
    """For an engine, behind an honest document of its own."""

    async def attack(ways: Ways) -> int:
        eve = await ways.over_yjs(uuid4())
        eve.send(y_websocket.update(BASE))
        eve.send(y_websocket.update(bytes.fromhex(ENGINE_KILLERS[name])))
        return await eve.close_code()

    return attack


async def fragments(ways: Ways) -> int:
    """Until the message is longer than any may be."""
    eve = await ways.over_yjs()
    eve.send(bytes(2**18), BINARY, fin=False)
    closing = asyncio.create_task(eve.close_code())
    while not closing.done():
        eve.send(bytes(2**18), CONTINUATION, fin=False)
        await ways.pause()
    return await closing


async def empty_fragments(ways: Ways) -> int:
    """A message that never grows."""
    eve = await ways.over_yjs()
    eve.send(b"", BINARY, fin=False)
    eve.send_all([b""] * 5_000, CONTINUATION, fin=False)
    return await eve.close_code()


async def taken(client: RawClient) -> bytes:
    """What has been answered meanwhile: whoever does not read is not read from either."""
    try:
        return await asyncio.wait_for(client.reader.read(2**20), 0.001)
    except TimeoutError:
        return b""


def flood(message: Callable[[Ways, int], bytes], times: int, opcode: int = BINARY) -> Attack:
    """So many messages at a time, on a socket that is let be; `message` gets a number."""

    async def attack(ways: Ways) -> int:
        eve = await ways.over_yjs()
        for go in itertools.count():
            eve.send_all([message(ways, go * times + each) for each in range(times)], opcode)
            await eve.writer.drain()
            await ways.pause()
            await taken(eve)
        raise AssertionError

    return attack


def face(client: int, clock: int, state: bytes) -> bytes:
    """Presence of one client."""
    return y_websocket.awareness(awareness.encode([Entry(client, clock, state)]))


def twenty_faces(_: Ways, at: int) -> bytes:
    """Of twenty clients, each of which moves on."""
    return face(7_000 + at % 20, at, b'{"cursor": %d}' % at)


async def deaf(ways: Ways) -> int:
    """Asks for everything, and takes nothing."""
    eve = await ways.over_yjs()
    while True:
        eve.send_all([y_websocket.sync_step1(b"\x00")] * 200)
        await asyncio.wait_for(eve.writer.drain(), 30)
        await ways.pause()


# Without a token, or with one that proves nothing.


def bearing(name: str) -> Attack:
    """A forged token, over HTTP, which does not cost a socket."""
    made: list[str] = []

    async def attack(ways: Ways) -> int:
        if not made:
            made.append(FORGED[name](ways.key()))
        return (await ways.get(ISSUES, token=made[0]))[0]

    return attack


async def token_of_another_workspace(ways: Ways) -> int:
    """A good one."""
    eve = await ways.over_yjs(token=ways.token(workspace="other"))
    return await eve.close_code()


async def bad_tokens(ways: Ways) -> int:
    """Over a socket, which is upgraded before they are read."""
    eve = await ways.over_yjs(token="not.a.token")
    return await eve.close_code()


async def replayed(ways: Ways) -> int:
    """A refresh token that was used."""
    body = json.dumps({"refresh_token": ways.played}).encode()
    return (await ways.get("/v1/auth/token", method="POST", token="", body=body))[0]


def before_the_token(messages: Callable[[Ways], list[bytes]]) -> Attack:
    """On a Hocuspocus socket that never says who it is."""

    async def attack(ways: Ways) -> int:
        eve = await ways.open("/hocuspocus")
        eve.send_all(messages(ways))
        return await eve.close_code()

    return attack


async def guesses(ways: Ways) -> int:
    """Token after token, on a socket that is not closed for it before its time is up."""
    eve = await ways.open("/hocuspocus")
    while not eve.reader.at_eof():
        eve.send_all([ways.addressed(hocuspocus.TOKEN_REQUEST + string("x" * 100))] * 20)
        await eve.writer.drain()
        await ways.pause()
        await taken(eve)
    return CUT


async def hellos(ways: Ways) -> int:
    """A hundred at once, of nobody."""
    eve = await ways.over_native()
    eve.send_all([encode(Hello("nobody", "test"))] * 100)
    assert isinstance(await refusal_of(eve), Refusal)
    return await eve.close_code()


# Natively, and over Hocuspocus.


def in_frame(data: bytes) -> Attack:
    """Before the hello, which it is not."""

    async def attack(ways: Ways) -> int:
        eve = await ways.over_native()
        eve.send(data)
        assert isinstance(await refusal_of(eve), Refusal)
        return await eve.close_code()

    return attack


async def other_workspace_natively(ways: Ways) -> int:
    """With a good token."""
    eve = await ways.over_native("other")
    eve.send(encode(Hello(ways.token(), "test")))
    assert isinstance(await refusal_of(eve), Refusal)
    return await eve.close_code()


async def pushes_of_a_victim(ways: Ways) -> int:
    """In somebody's name, as many as a window holds; each is answered no, and the socket stays."""
    eve = await ways.over_native()
    eve.send(encode(Hello(ways.token(), "test", mode="off")))
    eve.send(encode(Open(ways.issue, None)))
    stolen = update(ways.victim, 1 << 20, garbage(1 << 30))
    for at in itertools.count(1):
        eve.send(encode(Push(tuple(PushEntry(at * 20 + each, ways.issue, stolen) for each in range(20)))))
        await eve.writer.drain()
        await ways.pause()
        await taken(eve)
    raise AssertionError


def of_document(name: str) -> Attack:
    """A document of another workspace, with a good token."""

    async def attack(ways: Ways) -> int:
        document = name.format(ways.issue)
        eve = await ways.over_hocuspocus(document=document)
        denied = ways.addressed(hocuspocus.denied("")[:2], document)
        answer = await eve.message()
        eve.cut()
        return DENIED if answer.startswith(denied) else -1

    return attack


def in_document(frame: bytes) -> Attack:
    """A message that no client sends."""

    async def attack(ways: Ways) -> int:
        eve = await ways.over_hocuspocus()
        await eve.message()  # it is let in
        eve.send(ways.addressed(frame))
        expected = ways.addressed(hocuspocus.close("malformed"))
        while await eve.message() != expected:
            pass
        eve.cut()
        return DENIED

    return attack


# Over HTTP.


def asked(path: str, method: str = "GET", body: bytes = b"", role: Role = Role.MEMBER, **headers: str) -> Attack:
    """One request."""

    async def attack(ways: Ways) -> int:
        address = path.replace("ISSUE", str(ways.issue))
        return (await ways.get(address, method=method, body=body, token=ways.token(role=role), **headers))[0]

    return attack


def raw(data: bytes) -> Attack:
    """Bytes that are no request."""

    async def attack(ways: Ways) -> int:
        return (await ways.request(data))[0]

    return attack


def from_page(name: str, path: str) -> Attack:
    """A socket, opened by a page of somebody else's."""

    async def attack(ways: Ways) -> int:
        address = path.replace("ISSUE", str(ways.issue)) + f"?token={ways.token()}"
        eve = await ways.open(address, {"Origin": ORIGINS[name]})
        eve.cut()
        return eve.status

    return attack


def trickle(head: bytes, drop: bytes) -> Attack:
    """A request that goes on and on, a drop at a time."""

    async def attack(ways: Ways) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", ways.port)
        bearer = f"Authorization: Bearer {ways.token()}\r\n".encode()
        writer.write(head.replace(b"BEARER\r\n", bearer).replace(b"ISSUE", str(ways.issue).encode()))
        try:
            while not reader.at_eof():
                writer.write(drop)
                await ways.pause()
                try:
                    await asyncio.wait_for(reader.read(2**16), 0.05)
                except TimeoutError:
                    continue
            return CUT
        except ConnectionError:
            return CUT
        finally:
            writer.transport.abort()

    return attack
