"""The y-websocket door over real rooms, appender and hub; only the socket and the disk are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from crdt import update as updates
from crdt.awareness import Entry, signed
from crdt.awareness import encode as encode_awareness
from crdt.sync import SyncStep1, SyncStep2, Update
from server import close_codes
from server.auth import Credentials
from server.clock import SystemClock
from server.dialects import y_websocket
from server.dialects.y_websocket import AwarenessUpdate, Event
from server.doors.yjs import Address, DoorLimits, YjsDoor, YjsServices
from server.hub import Hub, HubServices
from server.limits import HubLimits, RelayLimits
from server.metrics import Metrics
from server.permissions import Identity
from server.relay import LogRelay
from server.visits import Visits
from server.websocket import Handshake, Peer
from storage.appender import Appender
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore, Moment
from tests.server.bearers import identity_of
from tests.server.fake_socket import Conduct, FakeConnection, NoEngine
from tests.simulation.time import in_virtual_time

ISSUE = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")
TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")  # map "f".title = "hi", client 1001
STATE_VECTOR_OF_TYPING = bytes.fromhex("01e90701")
PRESENCE = bytes.fromhex("01e90701 027b7d")  # client 1001 at clock 1: {}
ANNOUNCED = encode_awareness([Entry(1001, 1, signed(b"{}", "ana", "member"))])
EMPTY_STEP_1 = y_websocket.sync_step1(updates.EMPTY_STATE_VECTOR)


class Client:
    """Both ends of one fake socket."""

    def __init__(self, door: YjsDoor, token: str, path: str, headers: dict[str, str]) -> None:
        self.connection = FakeConnection()
        query = {"token": token} if token else {}
        self.peer: Peer = door(Handshake(path, query, headers, "test:1"), self.connection)

    def say(self, message: bytes) -> None:
        self.peer.received(message)

    async def hear(self) -> Event:
        async with asyncio.timeout(5):
            return y_websocket.decode(await self.connection.frames.get())

    async def close_code(self) -> int:
        async with asyncio.timeout(5):
            return await self.connection.closing


async def verify(credentials: Credentials, workspace: str | None) -> Identity:
    """See `identity_of`; `brief` lasts a moment."""
    is_brief = credentials.token == "brief"
    expires_at = datetime.now(UTC) + timedelta(milliseconds=20) if is_brief else None
    return identity_of(credentials.token, workspace, expires_at)


class World:
    """A node's insides with one door."""

    def __init__(self, limits: DoorLimits, tasks: asyncio.TaskGroup) -> None:
        self.hold: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.store = MemoryStore(fault=self._fault)
        self.metrics = Metrics()
        self.appender = Appender(self.store)
        relay = LogRelay(self.store, RelayLimits(), self.metrics)
        clock = SystemClock()
        services = HubServices(self.store, self.appender, NoEngine(), relay, clock, self.metrics)
        self.hub = Hub(services, HubLimits())
        self.visits = Visits(verify, clock)
        self.door = YjsDoor(YjsServices(self.hub, self.store, self.visits, clock, self.metrics), limits, tasks)

    async def _fault(self, moment: Moment, operation: str) -> None:
        if operation in self.hold and moment == "before":
            await self.hold[operation].wait()
        if operation in self.broken:
            raise StoreUnavailable("as asked")

    def connect(self, token: str = "ana", path: str = f"/yjs/main/{ISSUE}", **headers: str) -> Client:
        return Client(self.door, token, path, headers)

    async def joined(self, token: str = "ana") -> Client:
        """A client that has heard our question and the answer to its own."""
        client = self.connect(token)
        client.say(EMPTY_STEP_1)
        assert isinstance(await client.hear(), SyncStep1)
        assert isinstance(await client.hear(), SyncStep2)
        return client


@asynccontextmanager
async def world(**limits: Any) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        made = World(DoorLimits(**limits), tasks)
        await made.store.create_workspace("main", "Main")
        committing = tasks.create_task(made.appender.run())
        yield made
        await made.hub.drain("end of test", timeout=1)
        await made.appender.close()
        await committing
        made.door.close()


async def test_the_server_asks_first_and_answers_the_clients_question() -> None:
    async with world() as node:
        client = node.connect()
        client.say(EMPTY_STEP_1)
        assert await client.hear() == SyncStep1(updates.EMPTY_STATE_VECTOR)
        assert await client.hear() == SyncStep2(updates.EMPTY_UPDATE)


async def test_an_edit_reaches_the_others_and_not_its_author() -> None:
    async with world() as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        ana.say(y_websocket.update(TYPING))
        assert await ben.hear() == Update(TYPING)
        assert ana.connection.frames.empty()


async def test_what_a_sync_step_2_brings_is_stored_and_told_like_an_update() -> None:
    async with world() as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        ana.say(y_websocket.sync_step2(TYPING))
        assert await ben.hear() == Update(TYPING)
        late = node.connect("cid")
        assert await late.hear() == SyncStep1(STATE_VECTOR_OF_TYPING)
        late.say(EMPTY_STEP_1)
        assert await late.hear() == SyncStep2(TYPING)


async def test_an_edit_is_told_only_after_its_commit() -> None:
    async with world() as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        node.hold["append"] = asyncio.Event()
        ana.say(y_websocket.update(TYPING))
        ben.say(EMPTY_STEP_1)
        assert await ben.hear() == SyncStep2(updates.EMPTY_UPDATE)
        node.hold["append"].set()
        assert await ben.hear() == Update(TYPING)


async def test_messages_that_arrive_before_the_issue_is_open_are_heard_in_order() -> None:
    async with world() as node:
        node.hold["load_many"] = asyncio.Event()
        client, other = node.connect("ana"), node.connect("ben")
        other.say(EMPTY_STEP_1)
        client.say(EMPTY_STEP_1)
        client.say(y_websocket.update(TYPING))
        client.say(y_websocket.awareness(PRESENCE))
        node.hold["load_many"].set()
        assert isinstance(await client.hear(), SyncStep1)
        assert await client.hear() == SyncStep2(updates.EMPTY_UPDATE)
        awaited = {SyncStep1, SyncStep2, Update, AwarenessUpdate}
        while awaited:
            awaited.discard(type(await other.hear()))


async def test_what_waits_for_the_issue_is_bounded() -> None:
    async with world(max_waiting_messages=4) as node:
        node.hold["load_many"] = asyncio.Event()
        client = node.connect()
        for _ in range(3):
            client.say(EMPTY_STEP_1)
        assert client.connection.is_paused
        for _ in range(2):
            client.say(EMPTY_STEP_1)
        assert await client.close_code() == close_codes.TRY_LATER
        node.hold["load_many"].set()


async def test_reading_goes_on_when_the_issue_is_open() -> None:
    async with world(max_waiting_bytes=100) as node:
        node.hold["load_many"] = asyncio.Event()
        client = node.connect()
        client.say(y_websocket.update(bytes(60)))
        assert client.connection.is_paused
        node.hold["load_many"].set()
        await client.hear()
        assert not client.connection.is_paused


async def test_a_client_that_leaves_while_the_issue_opens_leaves_nothing_behind() -> None:
    async with world() as node:
        node.hold["load_many"] = asyncio.Event()
        leaver, stayer = node.connect("ana"), node.connect("ben")
        leaver.peer.closed(close_codes.ABNORMAL)
        node.hold["load_many"].set()
        await stayer.hear()
        (room,) = node.hub.rooms
        assert [session.identity.user_id for session in room.sessions] == ["ben"]


async def test_presence_is_echoed_told_and_withdrawn_on_close() -> None:
    async with world() as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        ana.say(y_websocket.awareness(PRESENCE))
        assert await ana.hear() == await ben.hear() == AwarenessUpdate(ANNOUNCED)
        late = node.connect("cid")
        assert isinstance(await late.hear(), SyncStep1)
        assert await late.hear() == AwarenessUpdate(ANNOUNCED)
        late.say(b"\x03")
        assert await late.hear() == AwarenessUpdate(ANNOUNCED)
        ana.peer.closed(close_codes.ABNORMAL)
        gone = await ben.hear()
        assert isinstance(gone, AwarenessUpdate)
        assert gone.update.endswith(b"\x04null")


async def test_an_empty_rooms_presence_is_not_mentioned() -> None:
    async with world() as node:
        client = await node.joined()
        client.say(b"\x03")
        client.say(EMPTY_STEP_1)
        assert isinstance(await client.hear(), SyncStep2)


@pytest.mark.parametrize(
    ("token", "path", "code"),
    [
        ("", f"/yjs/main/{ISSUE}", close_codes.UNAUTHORIZED),
        ("nobody", f"/yjs/main/{ISSUE}", close_codes.UNAUTHORIZED),
        ("away", f"/yjs/main/{ISSUE}", close_codes.TRY_LATER),
        ("ana", f"/yjs/other/{ISSUE}", close_codes.NOT_ALLOWED),
        ("ana:member:ghosts", f"/yjs/ghosts/{ISSUE}", close_codes.NOT_FOUND),
        ("ana", "/yjs/main/42", close_codes.NOT_FOUND),
        ("ana", "/yjs/main", close_codes.NOT_FOUND),
        ("ana", f"/yjs/main/{ISSUE}/more", close_codes.NOT_FOUND),
    ],
)
async def test_who_may_not_come_in_is_told_whether_to_come_back(token: str, path: str, code: int) -> None:
    async with world() as node:
        client = node.connect(token, path)
        client.say(y_websocket.update(TYPING))
        assert await client.close_code() == code
        client.peer.drained()
        client.peer.closed(code)
        assert client.connection.frames.empty()
        assert (await node.store.workspaces())[0].head == 0


async def test_a_bearer_header_is_as_good_as_a_token_parameter() -> None:
    async with world() as node:
        client = node.connect("", authorization="bearer ana")
        assert isinstance(await client.hear(), SyncStep1)


@in_virtual_time
async def test_questions_that_come_together_have_two_answers_and_the_last_says_all() -> None:
    async with world() as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        ana.say(y_websocket.update(TYPING))
        assert await ben.hear() == Update(TYPING)
        await asyncio.sleep(1)
        for _ in range(100):
            ben.say(EMPTY_STEP_1)
        await asyncio.sleep(1)
        assert [y_websocket.decode(ben.connection.frames.get_nowait()) for _ in range(2)] == [SyncStep2(TYPING)] * 2
        assert ben.connection.frames.empty()


async def test_a_viewer_reads_and_is_closed_for_editing() -> None:
    async with world() as node:
        ana, eve = await node.joined("ana"), await node.joined("eve:viewer")
        ana.say(y_websocket.update(TYPING))
        assert await eve.hear() == Update(TYPING)
        eve.say(y_websocket.sync_step2(TYPING))
        eve.say(y_websocket.update(TYPING.replace(b"\xe9\x07", b"\xea\x07", 1)))
        assert await eve.close_code() == close_codes.NOT_ALLOWED
        assert (await node.store.workspaces())[0].head == 1


@pytest.mark.parametrize("message", [b"", b"\x00\x02\x05\x00", b"\x07", b"\x00\x02\x02\x01\x00", b"\x01\x01\x05"])
async def test_garbage_closes_its_sender_for_good_and_nobody_else(message: bytes) -> None:
    async with world() as node:
        ana, eve = await node.joined("ana"), await node.joined("eve")
        eve.say(message)
        eve.say(y_websocket.update(TYPING))
        assert await eve.close_code() == close_codes.BAD_REQUEST
        eve.peer.closed(close_codes.BAD_REQUEST)
        ana.say(y_websocket.sync_step1(updates.EMPTY_STATE_VECTOR))
        assert await ana.hear() == SyncStep2(updates.EMPTY_UPDATE)
        assert "syncline_refusals_total{" in (await node.metrics.render()).decode()


@pytest.mark.parametrize("code", [close_codes.PROTOCOL_ERROR, close_codes.MESSAGE_TOO_BIG, close_codes.BAD_REQUEST])
async def test_what_somebody_is_closed_for_is_held_against_them(code: int) -> None:
    async with world() as node:
        conduct = node.visits.conduct = Conduct()
        eve, ana = await node.joined("eve"), await node.joined("ana")
        assert eve.connection.is_known
        eve.peer.closed(code)
        ana.peer.closed(close_codes.NORMAL)
        assert conduct.offenders == ["eve"]


async def test_a_token_that_runs_out_ends_its_session() -> None:
    async with world() as node:
        client = node.connect("brief")
        assert await client.close_code() == close_codes.UNAUTHORIZED


async def test_a_quiet_client_hears_a_keep_alive_unless_it_is_not_reading() -> None:
    async with world(keep_alive_seconds=0.01) as node:
        client, stuck = await node.joined("ana"), await node.joined("ben")
        stuck.connection.unsent_bytes = 1
        for _ in range(3):
            assert await client.hear() == AwarenessUpdate(b"\x00")
        assert stuck.connection.frames.empty()
        client.peer.closed(close_codes.NORMAL)
        stuck.peer.closed(close_codes.NORMAL)


@pytest.mark.parametrize("operation", ["workspace", "load_many"])
async def test_a_store_that_is_away_means_come_back_and_never_an_empty_issue(operation: str) -> None:
    async with world() as node:
        node.broken.add(operation)
        client = node.connect()
        client.say(EMPTY_STEP_1)
        assert await client.close_code() == close_codes.TRY_LATER
        assert client.connection.frames.empty()
        client.peer.closed(close_codes.TRY_LATER)
        node.broken.clear()
        await node.joined()


async def test_a_failed_commit_sends_its_author_and_its_readers_away() -> None:
    async with world() as node:
        ana, ben = await node.joined("ana"), await node.joined("ben")
        node.broken.add("append")
        ana.say(y_websocket.update(TYPING))
        assert [await ana.close_code(), await ben.close_code()] == [close_codes.TRY_LATER] * 2
        assert ben.connection.frames.empty()


def test_an_address_is_a_workspace_and_a_uuid_in_its_usual_form() -> None:
    issue = uuid4()
    assert Address.of(f"/yjs/main/{issue}") == Address("main", issue)
    assert Address.of(f"/yjs/main/{str(issue).upper()}") == Address("main", issue)
    for path in (
        f"/yjs/main/{issue.hex}",
        f"/yjs/main/{{{issue}}}",
        f"/yjs//{issue}",
        f"/yjs/main/{issue}/",
        "/yjs/",
        "/",
    ):
        assert Address.of(path) is None
