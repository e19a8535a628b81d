"""HTTP requests that never come to an end, and answers that nobody takes."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import pytest

from server.permissions import Role
from tests.attacks.arena import Arena
from tests.attacks.ways import PATIENCE_SECONDS
from tests.peers.server_process import eventually

TCP_CLOSED: Final = 7  # Linux's word for a connection that was reset

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]


def post(arena: Arena, *more: str) -> bytes:
    """The head of a request that creates an issue."""
    lines = (
        "POST /v1/workspaces/main/issues HTTP/1.1",
        f"Host: 127.0.0.1:{arena.port}",
        f"Authorization: Bearer {arena.token()}",
        "Content-Type: application/json",
        *more,
    )
    return "\r\n".join([*lines, "", ""]).encode()


async def test_a_body_that_never_comes(attacked: Arena) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", attacked.port)
    writer.write(post(attacked, "Content-Length: 5000"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(reader.read(), return_exceptions=True)
    writer.close()


@pytest.mark.parametrize("coding", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
async def test_a_body_that_trickles(attacked: Arena, coding: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", attacked.port)
    writer.write(post(attacked, coding))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            writer.write(b"1\r\n \r\n" if "chunked" in coding else b" ")
            try:
                if await asyncio.wait_for(reader.read(1), 0.1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    writer.close()


async def test_a_body_that_is_slow_and_comes_on_is_read(attacked: Arena) -> None:
    """Somebody on a train is no attacker."""
    body = b'{"title": "slow", "description": "' + b"x" * 12_000 + b'"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", attacked.port)
    writer.write(post(attacked, f"Content-Length: {len(body)}", "Connection: close"))
    for start in range(0, len(body), 2_000):
        writer.write(body[start : start + 2_000])
        if start + 2_000 < len(body):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.4)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read()
    assert answer.split()[1] == b"201"
    writer.close()


async def test_an_answer_that_nobody_takes(attacked: Arena) -> None:
    """An export waits for its reader, and holds a transaction while it does."""
    for _ in range(8):
        body = b'{"title": "big", "description": "%s"}' % (b"x" * 200_000)
        status, _ = await attacked.get(
            "/v1/workspaces/main/issues", method="POST", body=body, Content_Type="application/json"
        )
        assert status == 201
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    taker.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(taker, ("127.0.0.1", attacked.port))
    request = "GET /v1/workspaces/main/export?format=json HTTP/1.1"
    bearer = f"Authorization: Bearer {attacked.token(role=Role.ADMIN)}"
    # Several times, because the kernel keeps some megabytes for a reader.
    await loop.sock_sendall(taker, f"{request}\r\nHost: x\r\n{bearer}\r\n\r\n".encode() * 8)

    async def is_cut() -> bool:
        return taker.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSED

    with taker:
        await eventually(is_cut, "the answer is given up")
