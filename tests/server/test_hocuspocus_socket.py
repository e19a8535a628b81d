"""The socket that many documents share."""

from __future__ import annotations

import asyncio

from server import close_codes
from server.auth import Credentials
from server.doors.hocuspocus.limits import HocuspocusLimits
from server.doors.hocuspocus.line import Line
from server.doors.hocuspocus.socket import SharedSocket
from tests.server.fake_socket import FakeConnection


def shared(connection: FakeConnection, **limits: float) -> SharedSocket:
    bounds = HocuspocusLimits(max_buffered_bytes=1_000, **limits)  # type: ignore[arg-type]
    return SharedSocket(connection, Credentials("", address="test:1"), bounds)


def line(socket: SharedSocket) -> Line:
    return Line(socket, b"\x01a", lambda: None, lambda line, code, reason: None)


async def test_reading_goes_on_when_the_last_document_that_stopped_it_lets_go() -> None:
    connection = FakeConnection()
    socket = shared(connection)
    first, second = line(socket), line(socket)
    first.pause_reading()
    first.pause_reading()
    second.pause_reading()
    first.resume_reading()
    assert connection.is_paused
    second.resume_reading()
    assert not connection.is_paused


async def test_a_document_that_ends_lets_go_of_the_socket() -> None:
    connection = FakeConnection()
    socket = shared(connection)
    ending = line(socket)
    ending.pause_reading()
    ending.close(close_codes.TRY_LATER, "not stored, try again")
    assert not connection.is_paused
    ending.pause_reading()
    ending.send(b"too late")
    assert not connection.is_paused
    assert connection.frames.empty()


async def test_a_line_speaks_for_its_address_and_tells_when_it_asks() -> None:
    connection, asked = FakeConnection(), list[bool]()
    speaking = Line(shared(connection), b"\x01a", lambda: asked.append(True), lambda line, code, reason: None)
    speaking.send(b"\x00\x00\x01\x00")
    speaking.send(b"\x00\x02\x00")
    assert [connection.frames.get_nowait() for _ in range(2)] == [b"\x01a\x00\x00\x01\x00", b"\x01a\x00\x02\x00"]
    assert asked == [True]


async def test_whoever_waits_for_room_goes_on_when_the_socket_is_gone() -> None:
    connection = FakeConnection()
    connection.unsent_bytes = 1_001
    socket = shared(connection)
    waiting = asyncio.create_task(socket.until_writable())
    await asyncio.sleep(0)
    assert not waiting.done()
    socket.ended()
    await waiting


async def test_a_full_socket_is_closed_when_nobody_reads_from_it() -> None:
    connection = FakeConnection()
    connection.unsent_bytes = 1_001
    socket = shared(connection, behind_timeout=0.01)
    await socket.until_writable()
    assert await connection.closing == close_codes.TRY_LATER
