"""Who edits too fast: read from later first, told when to come again second, closed last; and no edit is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from pycrdt import Doc, Map

from crdt import native
from crdt.native import Ack, Hello, Nack, Push, PushEntry, Refusal, ServerFrame, Welcome
from crdt.native_codec import decode_server, encode
from crdt.sync import SyncStep2, Update
from crdt.update import EMPTY_STATE_VECTOR
from server import close_codes
from server.buckets import Allowance
from server.dialects import hocuspocus, y_websocket
from server.doors.edit_pace import EditPace
from server.doors.native.limits import NativeLimits
from server.rates import RateLimits, Rates
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess
from tests.server import test_hocuspocus, test_yjs
from tests.server.native_house import native_house
from tests.server.test_hocuspocus import STEP_1, STEP_2, auth, setting
from tests.server.test_native import ISSUE, welcome
from tests.server.test_rates import Watch
from tests.server.websocket_client import BINARY, CLOSE, RawClient
from tests.simulation.time import VirtualClock, in_virtual_time


def rates(clock: Any, rate: float, burst: float) -> Rates:
    """One user's edits are bounded."""
    return Rates(RateLimits(user_edits=Allowance(rate, burst)), clock)


class TestNative:
    @in_virtual_time
    async def test_it_is_slowed_then_told_when_to_come_again_and_nothing_is_lost(self) -> None:
        async with native_house(NativeLimits(edit_delay_seconds=1.0)) as node:
            node.visits.conduct = rates(VirtualClock(), rate=2, burst=4)
            client = await welcome(node.client())
            numbers = [client.write(ISSUE, letter) for letter in "abcdefghi"]  # at one moment
            assert client.socket.delays == [0.5, 1.0, 1.0], "four at once, then each half a second, at most a second"
            await client.until(Nack)
            nacks = [frame for frame in client.heard if isinstance(frame, Nack)]
            assert nacks == [Nack(number, native.TOO_FAST, "too many edits", 2) for number in numbers[-2:]]
            assert node.house.counted("refusals_total", reason="too_fast") == 2
            client.write(ISSUE, "j")
            assert (await client.until(Nack)).code == native.TOO_FAST, "nothing overtakes them"
            await asyncio.sleep(2)
            client.push()
            await client.until_live(1)
            while client.outbox:
                await client.until(Ack)
            assert client.title(ISSUE) == "abcdefghij"
            reader = await welcome(node.client("ben", 2))
            assert reader.title(ISSUE) == "abcdefghij"

    @in_virtual_time
    async def test_who_does_not_wait_is_closed_4429_and_may_come_back(self) -> None:
        async with native_house(NativeLimits(edit_delay_seconds=0.5, push_entries=3)) as node:
            node.visits.conduct = rates(VirtualClock(), rate=1, burst=1)
            client = await welcome(node.client())
            client.write(ISSUE, "a")
            client.write(ISSUE, "b")
            await client.until(Ack)
            for letter in "cde":
                client.write(ISSUE, letter)
            assert client.socket.close_code() is None, "a window of them may have been under way"
            client.write(ISSUE, "f")
            refusal = await client.until(Refusal)
            assert (refusal.code, refusal.retry_after) == (native.TOO_FAST, 1)
            assert client.socket.close_code() == 4429
            client.disconnect()
            await asyncio.sleep(refusal.retry_after or 0)
            await welcome(client)
            while client.outbox:
                entry = next(iter(client.outbox.values()))
                client.say(Push((entry,)))
                await client.until(Ack)
                await asyncio.sleep(1)
            assert client.title(ISSUE) == "abcdef"

    @in_virtual_time
    async def test_others_do_not_notice(self) -> None:
        async with native_house(NativeLimits(edit_delay_seconds=0.1)) as node:
            node.visits.conduct = rates(VirtualClock(), rate=1, burst=1)
            ana, ben = await welcome(node.client("ana")), await welcome(node.client("ben", 2))
            for letter in "abc":
                ana.write(ISSUE, letter)
            ben.write(ISSUE, "B")
            await ben.until(Ack)
            assert not ben.socket.delays


PACE = EditPace(delay_seconds=1.5, debt_seconds=3)
Told = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def y_websocket_pair() -> AsyncIterator[tuple[test_yjs.World, test_yjs.Client, Told]]:
    async with test_yjs.world(edits=PACE) as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        yield node, ana, ben.connection.frames.get


@asynccontextmanager
async def hocuspocus_pair() -> AsyncIterator[tuple[test_hocuspocus.World, test_hocuspocus.Client, Told]]:
    async with test_hocuspocus.world(edits=PACE) as node:
        ana, ben = await node.entered("ana"), await node.entered("ben")

        async def told() -> bytes:
            return (await ben.hear())[1]

        yield node, ana, told


@pytest.mark.parametrize("pair", [y_websocket_pair, hocuspocus_pair])
async def test_a_yjs_client_is_slowed_then_closed_1013_and_all_that_came_is_taken_in(pair: Any) -> None:
    async with pair() as (node, ana, told), asyncio.timeout(5):
        node.visits.conduct = rates(Watch(), rate=1, burst=2)
        for clock in range(6):
            assert not ana.connection.closing.done()
            ana.say(y_websocket.update(setting(clock=clock)))
        assert ana.connection.delays == [1.0, 1.5, 1.5]
        assert await ana.close_code() == close_codes.TRY_LATER
        assert 'syncline_refusals_total{reason="too_fast"} 1.0' in (await node.metrics.render()).decode()
        found = Doc[Any]()
        while settings_in(found) < 6:
            event = y_websocket.decode(await told())
            assert isinstance(event, Update | SyncStep2)
            found.apply_update(event.update)


def settings_in(document: Doc[Any]) -> int:
    """How many keys are set in it."""
    return len(document.get("f", type=Map))


FLAGS = ("--max-user-edits", "10", "--edit-delay-seconds", "0.2", "--edit-debt-seconds", "1")
HERE = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")


@pytest.mark.long
class TestSockets:
    """On a real server: a hundred edits at once, then ten a second."""

    async def test_native(self) -> None:
        async with forking(*FLAGS) as server:
            socket = await RawClient.open(server.port, "/v1/workspaces/main/sync")
            socket.send(encode(Hello(server.token("ana"), "test", mode="off")))
            await frames_until(socket, Welcome)
            sent = [PushEntry(number, HERE, setting(clock=(number - 1) % 20)) for number in range(1, 1_200)]
            for at in range(0, 130, 10):
                socket.send(encode(Push(tuple(sent[at : at + 10]))))
            nack = await frames_until(socket, Nack)
            assert isinstance(nack, Nack)
            assert (nack.code, nack.retry_after) == (native.TOO_FAST, 1)
            for at in range(130, 1_190, 10):
                socket.send(encode(Push(tuple(sent[at : at + 10]))))
            for at in range(0, 1_190, 10):  # and again, without waiting
                socket.send(encode(Push(tuple(sent[at : at + 10]))))
            assert await end_of(socket) == 4429

    async def test_y_websocket_and_hocuspocus(self) -> None:
        async with forking(*FLAGS) as server:
            one = await RawClient.open(server.port, f"/yjs/main/{HERE}?token={server.token('ana')}")
            await flooded(one, lambda frame: frame)
            await all_there(server, "ana")
            other = await RawClient.open(server.port, "/hocuspocus")
            header = hocuspocus.header(f"main/{UUID(int=1)}")
            for frame in (auth(server.token("ben")), STEP_1, STEP_2):
                other.send(header + frame)
            await flooded(other, lambda frame: header + frame)
            assert "syncline_slowed_total 0.0" not in (await server.get("/metrics"))[1]


async def flooded(socket: RawClient, framed: Callable[[bytes], bytes]) -> None:
    """Known edits count as well; what is over is taken in, and closed in the end."""
    for _ in range(10):
        socket.send_all(framed(y_websocket.update(setting(clock=clock))) for clock in range(20))
    assert await end_of(socket) == close_codes.TRY_LATER


async def all_there(server: ServerProcess, user: str) -> None:
    """Whoever comes back finds everything, once it is committed."""
    socket = await RawClient.open(server.port, f"/yjs/main/{HERE}?token={server.token(user)}")
    socket.send(y_websocket.sync_step1(EMPTY_STATE_VECTOR))
    found = Doc[Any]()
    async with asyncio.timeout(10):
        while settings_in(found) < 20:
            _, payload = await socket.frame()
            event = y_websocket.decode(payload)
            if isinstance(event, Update | SyncStep2):
                found.apply_update(event.update)
    socket.cut()


async def frames_until(socket: RawClient, kind: type[ServerFrame]) -> ServerFrame:
    while True:
        opcode, payload = await socket.frame()
        assert opcode != CLOSE, payload
        if opcode == BINARY and isinstance(frame := decode_server(payload), kind):
            return frame


async def end_of(socket: RawClient) -> int:
    """The code of the server's close."""
    while True:
        opcode, payload = await socket.frame()
        if opcode == CLOSE:
            socket.cut()
            return int.from_bytes(payload[:2])
