"""A whole `syncline serve` in a process of its own, over its embedded Postgres: start, signals, crash, a second one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from uuid import UUID

import pytest

from crdt.sync import SyncStep1, SyncStep2, Update
from crdt.update import EMPTY_STATE_VECTOR
from server import close_codes
from server.dialects import y_websocket
from tests.peers.server_process import ServerProcess, serving
from tests.server.websocket_client import CLOSE, RawClient

ISSUE = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")
TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")
STATE_VECTOR_OF_TYPING = bytes.fromhex("01e90701")


def postgres_pid(server: ServerProcess) -> str | None:
    """The running embedded Postgres, None without one."""
    file = server.data_dir / "postgres" / "postmaster.pid"
    return file.read_text().split()[0] if file.exists() else None


async def connect(server: ServerProcess, token: str) -> tuple[RawClient, bytes]:
    """A client of the issue, and what the server said it has."""
    client = await RawClient.open(server.port, f"/yjs/main/{ISSUE}?token={token}")
    assert client.status == 101
    question = y_websocket.decode(await client.message())
    assert isinstance(question, SyncStep1)
    return client, question.state_vector


async def write(server: ServerProcess, token: str) -> RawClient:
    """Write the issue's title; returns the writer once somebody else has seen it."""
    writer, _ = await connect(server, token)
    reader, _ = await connect(server, token)
    reader.send(y_websocket.sync_step1(EMPTY_STATE_VECTOR))
    assert isinstance(y_websocket.decode(await reader.message()), SyncStep2)
    writer.send(y_websocket.update(TYPING))
    assert y_websocket.decode(await reader.message()) == Update(TYPING)
    reader.cut()
    return writer


async def test_sigterm_closes_every_socket_1012_and_exits_0() -> None:
    async with serving() as server:
        writer = await write(server, server.token("ana"))
        process = asyncio.create_task(server.terminate(deadline=10))
        assert await writer.close_code() == close_codes.RESTART
        assert await process == 0
        assert postgres_pid(server) is None


async def test_what_was_shown_is_there_after_kill_9_and_the_postgres_left_behind_is_adopted() -> None:
    async with serving() as server:
        token = server.token("ana")
        writer = await write(server, token)
        await server.kill()
        await writer.lost()
        left_behind = postgres_pid(server)
        assert left_behind is not None
        await server.start()
        assert postgres_pid(server) == left_behind
        client, state_vector = await connect(server, token)
        assert state_vector == STATE_VECTOR_OF_TYPING
        client.send(y_websocket.sync_step1(EMPTY_STATE_VECTOR))
        assert y_websocket.decode(await client.message()) == SyncStep2(TYPING)
        client.cut()


async def test_ctrl_c_ends_in_good_order_and_a_second_one_ends_at_once() -> None:
    async with serving("--close-timeout-seconds", "7") as server:
        client, _ = await connect(server, server.token("ana"))
        server.process.send_signal(signal.SIGINT)
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (CLOSE, close_codes.RESTART.to_bytes(2, "big"))
        server.process.send_signal(signal.SIGINT)  # while it waits for an answer that does not come
        async with asyncio.timeout(3):
            assert await server.process.wait() == 130
        client.cut()


async def test_a_data_directory_has_one_server() -> None:
    async with serving() as server:
        code, output = await server.command("serve", "--port", "0")
        assert code == 2
        assert f"pid {server.process.pid}" in output
        assert "Traceback" not in output
        assert await server.status("/readyz") == 200


async def test_a_token_never_reaches_the_log() -> None:
    async with serving("--log-level", "debug") as server:
        token = server.token("ana")
        (await write(server, token)).cut()
        for secret in (f"{token}x", "not.a.token"):
            client = await RawClient.open(server.port, f"/yjs/main/{ISSUE}?token={secret}")
            assert await client.close_code() == close_codes.UNAUTHORIZED
            await server.get(f"/healthz?token={secret}")
        assert await server.terminate() == 0
        log = server.last_words(10_000)
        assert "token refused" in log
        assert token not in log
        assert "not.a.token" not in log


@pytest.mark.parametrize("flags", [["--event-loop", "asyncio"], ["--websocket", "asgi"]])
async def test_the_other_loop_and_the_other_sockets_serve_as_well(flags: list[str]) -> None:
    if "asgi" in flags:
        pytest.importorskip("websockets")
    async with serving(*flags) as server:
        writer = await write(server, server.token("ana"))
        process = asyncio.create_task(server.terminate(deadline=10))
        assert await writer.close_code() == close_codes.RESTART
        assert await process == 0


async def test_a_request_head_that_never_ends_is_cut_off() -> None:
    async with serving("--handshake-timeout-seconds", "0.3") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost:")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):  # a cut, too
                assert await reader.read() == b""
        writer.close()
