"""Sockets and requests that never end, never authenticate, or blow up when they are read."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Final

import msgpack  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from crdt.native import Hello, Refusal
from crdt.native_codec import encode
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from tests.attacks.arena import Arena, arena
from tests.attacks.forging import string
from tests.attacks.ways import PATIENCE_SECONDS, refusal_of
from tests.server.websocket_client import BINARY, CONTINUATION, PING, TEXT, RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUNDRED_MB: Final = 100 * 2**20
MESSAGE_BYTES: Final = 17 * 2**20


async def ended(client: RawClient) -> None:
    """The server lets go of it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await client.lost()


# Frames.


async def test_a_frame_that_announces_100_mb(attacked: Arena) -> None:
    before = attacked.resident_bytes()
    eve = await attacked.over_yjs()
    eve.send_header(HUNDRED_MB)
    assert await eve.close_code() == close_codes.MESSAGE_TOO_BIG
    assert attacked.resident_bytes() - before < 32 << 20


async def test_a_frame_that_announces_2_to_the_63(attacked: Arena) -> None:
    eve = await attacked.over_yjs()
    eve.send_header((1 << 63) - 1)
    await ended(eve)


async def test_fragments_without_end(attacked: Arena) -> None:
    before = attacked.resident_bytes()
    eve = await attacked.over_yjs()
    eve.send(bytes(2**20), BINARY, fin=False)
    for _ in range(17):
        eve.send(bytes(2**20), CONTINUATION, fin=False)
    assert await eve.close_code() == close_codes.MESSAGE_TOO_BIG
    assert attacked.resident_bytes() - before < 4 * MESSAGE_BYTES


async def test_empty_fragments_without_end(attacked: Arena) -> None:
    """They never grow into a message that is too big."""
    eve = await attacked.over_yjs()
    eve.send(b"", BINARY, fin=False)
    for _ in range(20_000):
        eve.send(b"", CONTINUATION, fin=False)
    assert await eve.close_code() == close_codes.MESSAGE_TOO_BIG


async def test_a_hundred_thousand_pings(attacked: Arena) -> None:
    eve = await attacked.over_yjs()
    for _ in range(100_000):
        eve.send(b"x" * 100, PING)
    eve.cut()


BROKEN: Final = {
    "a compressed frame nobody agreed on": {"reserved": 4},
    "a reserved bit": {"reserved": 1},
    "an opcode that is reserved": {"opcode": 3},
    "a ping in fragments": {"opcode": PING, "fin": False},
    "a continuation of nothing": {"opcode": CONTINUATION},
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_frame(attacked: Arena, name: str) -> None:
    eve = await attacked.over_yjs()
    eve.send(gzip.compress(bytes(1_000)), **BROKEN[name])  # type: ignore[arg-type]
    assert await eve.close_code() == close_codes.PROTOCOL_ERROR


async def test_a_ping_of_1000_bytes(attacked: Arena) -> None:
    eve = await attacked.over_yjs()
    eve.send(bytes(1_000), PING)
    await ended(eve)


async def test_a_frame_without_a_mask(attacked: Arena) -> None:
    eve = await attacked.over_yjs()
    eve.writer.write(b"\x82\x03\x00\x00\x00")
    await ended(eve)


async def test_a_text_message(attacked: Arena) -> None:
    eve = await attacked.over_yjs()
    eve.send(b"hello", TEXT)
    assert await eve.close_code() == close_codes.TEXT_NOT_SUPPORTED


async def test_compression_is_not_agreed_to(attacked: Arena) -> None:
    """What is never inflated cannot be a bomb."""
    eve = await attacked.over_yjs()  # it offers, as browsers do
    assert b" 101 " in eve.head
    assert b"permessage-deflate" not in eve.head
    eve.cut()


async def test_a_reader_who_does_not_read(attacked: Arena) -> None:
    """Nothing is queued for it beyond its bound, and it ends; the server's memory does not grow with what it asks."""
    before = attacked.resident_bytes()
    eve = await attacked.over_yjs()
    for _ in range(20_000):
        eve.send(b"\x03")  # everybody's presence, please
        eve.send(y_websocket.sync_step1(b"\x00"))
    await asyncio.wait_for(eve.writer.drain(), PATIENCE_SECONDS)
    assert attacked.resident_bytes() - before < 64 << 20
    eve.cut()


# Slowness.


async def test_a_request_head_that_trickles(attacked: Arena) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", attacked.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            writer.write(b"x")
            try:
                if await asyncio.wait_for(reader.read(1), 0.2) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    writer.close()


async def test_two_hundred_connections_that_say_nothing(attacked: Arena) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", attacked.port) for _ in range(200)]
    assert await attacked.server.status("/healthz") == 200
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(reader.read() for reader, _ in silent), return_exceptions=True)
    for _, writer in silent:
        writer.close()


async def test_a_handshake_that_trickles(attacked: Arena) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", attacked.port)
    writer.write(f"GET /yjs/main/{attacked.issue} HTTP/1.1\r\nUpgrade: websocket\r\n".encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await reader.read() == b""
    writer.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pinging() -> AsyncIterator[Arena]:
    """An arena that soon asks who is still there."""
    async with arena("--ping-interval-seconds", "2", "--pong-timeout-seconds", "1") as (made, people):
        yield made
        await made.expect_calm(people)


@pytest.mark.long
async def test_a_frame_that_never_ends(pinging: Arena) -> None:
    """Its header is a promise of 1 MB; the silence behind it is not taken for life."""
    eve = await pinging.over_yjs()
    eve.send_header(2**20)
    await ended(eve)


@pytest.mark.long
async def test_a_socket_that_answers_no_ping(pinging: Arena) -> None:
    eve = await pinging.over_yjs()
    await ended(eve)


# Before anybody is known.


@pytest.mark.parametrize("count", [1, pytest.param(200, marks=pytest.mark.long)])
async def test_hocuspocus_sockets_that_never_authenticate(attacked: Arena, count: int) -> None:
    eves = [await RawClient.open(attacked.port, "/hocuspocus") for _ in range(count)]
    assert await asyncio.gather(*(eve.close_code() for eve in eves)) == [close_codes.AUTHENTICATION_TIMEOUT] * count


async def test_a_native_socket_without_hello(attacked: Arena) -> None:
    eve = await attacked.over_native()
    assert isinstance(await refusal_of(eve), Refusal)
    assert await eve.close_code() == close_codes.TOO_SLOW


async def test_a_flood_of_messages_before_the_token(attacked: Arena) -> None:
    before = attacked.resident_bytes()
    eve = await RawClient.open(attacked.port, "/hocuspocus")
    for _ in range(1_200):
        eve.send(attacked.addressed(y_websocket.update(bytes(100))))
    assert await eve.close_code() == close_codes.RESET
    assert attacked.resident_bytes() - before < 32 << 20


async def test_a_flood_of_bytes_before_the_token(attacked: Arena) -> None:
    eve = await RawClient.open(attacked.port, "/hocuspocus")
    for _ in range(7):
        eve.send(attacked.addressed(y_websocket.update(bytes(2**20))))
    assert await eve.close_code() == close_codes.RESET


async def test_a_flood_of_documents_before_the_token(attacked: Arena) -> None:
    eve = await RawClient.open(attacked.port, "/hocuspocus")
    for at in range(150):
        eve.send(attacked.addressed(y_websocket.sync_step1(b"\x00"), f"main/{at}"))
    assert await eve.close_code() == close_codes.RESET


async def test_a_flood_of_bad_tokens(attacked: Arena) -> None:
    """Each is answered, none is kept."""
    eve = await RawClient.open(attacked.port, "/hocuspocus")
    for _ in range(300):
        eve.send(attacked.addressed(hocuspocus.TOKEN_REQUEST + string("x" * 100)))
    assert await eve.close_code() == close_codes.AUTHENTICATION_TIMEOUT


async def test_everything_at_once_before_hello(attacked: Arena) -> None:
    eve = await attacked.over_native()
    for _ in range(100):
        eve.send(encode(Hello("nobody", "test", None, "updates", None, None, None)))
    assert isinstance(await refusal_of(eve), Refusal)
    assert await eve.close_code() == close_codes.UNAUTHORIZED


# Messages.

UNREADABLE: Final = {
    "an empty one": b"",
    "an unknown type": b"\x63",
    "auth, which is the server's to send": b"\x02\x00\x00",
    "a sync message of an unknown kind": b"\x00\x09\x00",
    "one that ends early": b"\x00\x02\x7f",
    "one with more behind it": b"\x03\x03",
    "presence that claims 2^28 clients": b"\x01\x05\x80\x80\x80\x80\x01",
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_message(attacked: Arena, name: str) -> None:
    eve = await attacked.over_yjs()
    eve.send(UNREADABLE[name])
    assert await eve.close_code() == close_codes.BAD_REQUEST


HOCUSPOCUS: Final = {
    "a broadcast that is the servers' own": b"\x06" + string("all of you"),
    "a reply that is the servers' own": b"\x04\x00\x00\x01\x00",
    "a status that is the server's to send": b"\x08\x01",
    "an unknown type": b"\x63",
    "nothing behind the address": b"",
}


@pytest.mark.parametrize("name", HOCUSPOCUS)
async def test_a_message_that_is_not_a_clients(attacked: Arena, name: str) -> None:
    """The document ends, not the socket."""
    eve = await attacked.over_hocuspocus()
    eve.send(attacked.addressed(y_websocket.sync_step1(b"\x00")))
    while (await eve.message())[-1:] == b"":
        pass
    eve.send(attacked.addressed(HOCUSPOCUS[name]))
    expected = attacked.addressed(hocuspocus.close("malformed"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await eve.message() != expected:
            pass
    eve.cut()


async def test_a_document_with_a_name_of_1_mb(attacked: Arena) -> None:
    eve = await RawClient.open(attacked.port, "/hocuspocus")
    eve.send(string("x" * 2**20) + b"\x00\x00\x00")
    assert await eve.close_code() == close_codes.TOO_MUCH


NATIVE: Final = {
    "an array of 2^32": b"\xdd\xff\xff\xff\xff",
    "a map of 2^32": b"\xdf\xff\xff\xff\xff",
    "a string of 2^32": b"\x92\x01\xdb\xff\xff\xff\xff",
    "arrays 100,000 deep": b"\x91" * 100_000 + b"\xc0",
    "an extension": b"\xc7\x03\x05abc",
    "a code nobody knows": msgpack.packb([99, 1]),
    "too few fields": msgpack.packb([1]),
    "fields of other types": msgpack.packb([1, 2, 3, 4, 5, 6, 7, 8]),
    "not an array": msgpack.packb({"hello": 1}),
    "a frame of the server's": msgpack.packb([49, [[1, 1]]]),
}


@pytest.mark.parametrize("name", NATIVE)
async def test_an_unreadable_frame(attacked: Arena, name: str) -> None:
    before = attacked.resident_bytes()
    eve = await attacked.over_native()
    eve.send(NATIVE[name])
    assert isinstance(await refusal_of(eve), Refusal)
    assert await eve.close_code() in (close_codes.BAD_REQUEST, close_codes.TOO_MUCH)
    assert attacked.resident_bytes() - before < 32 << 20


# Requests.


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


REQUESTS: Final = {
    "a head of 1 MB": head("GET /healthz HTTP/1.1", "Host: x", f"X: {'x' * 2**20}"),
    "ten thousand headers": head(
        "GET /healthz HTTP/1.1", "Host: x", *(f"X{n}: y" for n in range(10_000)), "Bad Header"
    ),
    "an address of 1 MB": head(f"GET /{'x' * 2**20} HTTP/1.1", "Host: x"),
    "two lengths": head("POST /healthz HTTP/1.1", "Host: x", "Content-Length: 5", "Content-Length: 6") + b"hello!",
    "a length and chunks": head("POST /healthz HTTP/1.1", "Host: x", "Content-Length: 5", "Transfer-Encoding: chunked")
    + b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    "a negative length": head("POST /healthz HTTP/1.1", "Host: x", "Content-Length: -1"),
    "a header in two lines": head("GET /healthz HTTP/1.1", "Host: x", "X: a", " b") + b"",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100,
    "a method nobody knows": head("BREW /healthz HTTP/1.1", "Host: x", "Connection: close"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_that_is_none(attacked: Arena, name: str) -> None:
    before = attacked.resident_bytes()
    status, answer = await attacked.request(REQUESTS[name])
    assert status in (0, 400, 404, 405, 414, 431)
    assert b"syncline_" not in answer  # nothing smuggled was answered
    assert attacked.resident_bytes() - before < 32 << 20


async def test_a_body_without_end(attacked: Arena) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", attacked.port)
    writer.write(
        head(
            "POST /v1/workspaces/main/issues HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {attacked.token()}",
            "Transfer-Encoding: chunked",
        )
    )
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            for _ in range(40):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        answer = await reader.read(2**16)
    assert b" 413 " in answer.split(b"\r\n")[0]
    writer.close()


async def test_a_body_that_would_inflate_to_1_gb(attacked: Arena) -> None:
    before = attacked.resident_bytes()
    bomb = gzip.compress(bytes(2**20) * 64)
    path = "/v1/workspaces/main/issues"
    status, _ = await attacked.get(path, method="POST", body=bomb, Content_Encoding="gzip")
    assert 400 <= status < 500
    assert attacked.resident_bytes() - before < 32 << 20


async def test_json_100_000_deep(attacked: Arena) -> None:
    body = b'{"title":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    status, _ = await attacked.get("/v1/workspaces/main/issues", method="POST", body=body)
    assert status in (400, 422)
