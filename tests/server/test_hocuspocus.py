"""The Hocuspocus door over real rooms, appender and hub; only the sockets and the disk are not there."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crdt.awareness import Entry, signed
from crdt.awareness import encode as encode_awareness
from crdt.encoding import write_string
from crdt.update import EMPTY_STATE_VECTOR, EMPTY_UPDATE, merge
from server import close_codes
from server.auth import Credentials, TokenRefused
from server.clock import SystemClock
from server.dialects import hocuspocus, y_websocket
from server.doors.hocuspocus import HocuspocusDoor, HocuspocusLimits
from server.doors.yjs import DoorLimits, YjsDoor, YjsServices
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
from tests.conftest import without_collector
from tests.server.bearers import identity_of
from tests.server.fake_socket import Conduct, FakeConnection, NoEngine
from tests.server.house import settle

ISSUES = [f"main/{UUID(int=number)}" for number in range(1, 4)]
ISSUE, OTHER, THIRD = ISSUES
STEP_1 = y_websocket.sync_step1(EMPTY_STATE_VECTOR)
STEP_2 = y_websocket.sync_step2(EMPTY_UPDATE)
PRESENCE = y_websocket.awareness(bytes.fromhex("01e90701 027b7d"))  # client 1001 at clock 1: {}
ANNOUNCED = y_websocket.awareness(encode_awareness([Entry(1001, 1, signed(b"{}", "ana", "member"))]))
GONE = y_websocket.awareness(bytes.fromhex("01e90702 046e756c6c"))
READ_WRITE = hocuspocus.authenticated(may_write=True)
READ_ONLY = hocuspocus.authenticated(may_write=False)
MALFORMED = hocuspocus.stateless('{"refused":"malformed"}')
FORBIDDEN = hocuspocus.stateless('{"refused":"forbidden"}')
LEAVE = b"\x07"


def setting(client: int = 1001, clock: int = 0) -> bytes:
    """An update: `client` sets a key of map "f" that is named after its clock. Later ones rest on earlier ones."""
    return bytes((1, 1, client & 0x7F | 0x80, client >> 7, clock, 0x28, 1, 1, 0x66, 1, 0x61 + clock, 1, 0x77, 0, 0))


def auth(token: str, version: str | None = None) -> bytes:
    """What a provider authenticates with."""
    frame = bytearray(hocuspocus.TOKEN_REQUEST)
    for text in (token,) if version is None else (token, version):
        write_string(frame, text)
    return bytes(frame)


class Client:
    """Both ends of one fake socket."""

    def __init__(self, door: HocuspocusDoor | YjsDoor, path: str = "/hocuspocus", token: str = "") -> None:
        self.connection = FakeConnection()
        self.peer: Peer = door(Handshake(path, {"token": token}, {}, "test:1"), self.connection)

    def say(self, *frames: bytes, to: str = ISSUE) -> None:
        for frame in frames:
            self.peer.received(hocuspocus.header(to) + frame)

    async def hear(self) -> tuple[str, bytes]:
        """The next message: address and frame."""
        envelope = hocuspocus.split(await self.hear_message())
        assert isinstance(envelope, hocuspocus.Envelope)
        return envelope.header[1:].decode(), envelope.frame

    async def hear_message(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.connection.frames.get()

    async def hears(self, *frames: bytes, to: str = ISSUE) -> None:
        """These come next, in this order."""
        assert [await self.hear() for _ in frames] == [(to, frame) for frame in frames]

    async def close_code(self) -> int:
        async with asyncio.timeout(5):
            return await self.connection.closing

    async def enter(self, token: str = "ana", version: str | None = None, to: str = ISSUE) -> None:
        """What a provider does first, without presence, up to the acknowledgement of its empty answer."""
        self.say(auth(token, version), STEP_1, to=to)
        while (await self.hear())[1][:2] != y_websocket.sync_step2(b"")[:2]:
            pass
        self.say(STEP_2, to=to)
        await self.hears(hocuspocus.STORED, to=to)


class World:
    """A node's insides with both doors. A token is `user[:role[:workspace]]`; `expiries` says which of them end."""

    def __init__(self, limits: HocuspocusLimits, tasks: asyncio.TaskGroup, hub: HubLimits) -> None:
        self.hold: dict[str, asyncio.Event] = {}
        self.is_held = asyncio.Event()
        self.broken: set[str] = set()
        self.revoked: set[str] = set()
        self.expiries: dict[str, datetime] = {}
        self.store = MemoryStore(fault=self._fault)
        self.metrics = Metrics()
        self.appender = Appender(self.store)
        relay = self.relay = LogRelay(self.store, RelayLimits(), self.metrics)
        clock = SystemClock()
        services = HubServices(self.store, self.appender, NoEngine(), relay, clock, self.metrics)
        self.hub = Hub(services, hub)
        self.visits = Visits(self.verify, clock)
        doors = YjsServices(self.hub, self.store, self.visits, clock, self.metrics)
        self.door = HocuspocusDoor(doors, limits, tasks)
        self.yjs = YjsDoor(doors, DoorLimits(), tasks)

    async def verify(self, credentials: Credentials, workspace: str | None) -> Identity:
        token = credentials.token
        expires_at = self.expiries.get(token)
        if token == "bad" or token in self.revoked or (expires_at is not None and expires_at <= datetime.now(UTC)):
            raise TokenRefused("no good")
        return identity_of(token, workspace, expires_at)

    def ends(self, token: str, *, seconds: float) -> None:
        """From now on a token has an end."""
        self.expiries[token] = datetime.now(UTC) + timedelta(seconds=seconds)

    async def _fault(self, moment: Moment, operation: str) -> None:
        if operation in self.hold and moment == "before":
            self.is_held.set()
            await self.hold[operation].wait()
        if operation in self.broken:
            raise StoreUnavailable("as asked")

    def connect(self) -> Client:
        return Client(self.door)

    async def entered(self, token: str = "ana", version: str | None = None, to: str = ISSUE) -> Client:
        client = self.connect()
        await client.enter(token, version, to)
        return client

    async def head(self) -> int:
        return (await self.store.workspaces())[0].head


@asynccontextmanager
async def world(hub: Any = None, **limits: Any) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        quick = HocuspocusLimits(first_retry_seconds=0.002, longest_retry_seconds=0.01)
        made = World(replace(quick, **limits), tasks, hub or HubLimits())
        await made.store.create_workspace("main", "Main")
        committing = tasks.create_task(made.appender.run())
        yield made
        await made.hub.drain("end of test", timeout=1)
        await made.appender.close()
        await committing
        for peer in list(made.door.peers):
            peer.closed(close_codes.ABNORMAL)
        made.door.close()


# The handshake.


async def test_a_burst_before_authentication_is_answered_in_the_order_of_the_reference_server() -> None:
    async with world() as node:
        ben = await node.entered("ben")
        ben.say(y_websocket.awareness(bytes.fromhex("01ea0701 027b7d")))
        ana = node.connect()
        ana.say(auth("ana", "4.8.0"), STEP_1, PRESENCE)
        others = y_websocket.awareness(encode_awareness([Entry(1002, 1, signed(b"{}", "ben", "member"))]))
        await ana.hears(READ_WRITE, others, STEP_1, STEP_2, ANNOUNCED)


async def test_what_comes_before_the_token_waits_for_it() -> None:
    async with world() as node:
        client = node.connect()
        client.say(STEP_1, y_websocket.update(setting()))
        assert client.connection.frames.empty()
        client.say(auth("ana"))
        await client.hears(READ_WRITE, STEP_1, STEP_2, hocuspocus.STORED)
        assert await node.head() == 1


async def test_a_later_sync_step_1_is_answered_with_ours_and_what_it_lacks() -> None:
    async with world() as node:
        client = await node.entered()
        client.say(y_websocket.update(setting()))
        await client.hears(hocuspocus.STORED)
        client.say(STEP_1)
        await client.hears(y_websocket.sync_step1(bytes.fromhex("01e90701")), y_websocket.sync_step2(setting()))


@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("bad", ISSUE),
        ("", ISSUE),
        ("ana:member:elsewhere", ISSUE),
        ("ana", "main/42"),
        ("ana", "main"),
        ("ana", ""),
        ("ana:member:ghosts", ISSUE.replace("main", "ghosts")),
    ],
)
async def test_who_may_not_come_in_is_denied_with_a_reason_and_the_socket_stays(token: str, name: str) -> None:
    async with world() as node:
        client = node.connect()
        client.say(auth(token, "4.8.0"), STEP_1, y_websocket.update(setting()), to=name)
        address, frame = await client.hear()
        while frame == READ_WRITE:
            address, frame = await client.hear()
        assert address == name
        assert frame.startswith(hocuspocus.denied("")[:2])
        assert len(frame) > 3
        await client.enter(to=OTHER)
        assert await node.head() == 0


async def test_that_nobody_can_check_the_token_is_no_denial() -> None:
    async with world() as node:
        client = node.connect()
        client.say(auth("away", "4.8.0"), STEP_1)
        assert await client.close_code() == close_codes.TRY_LATER
        assert client.connection.frames.empty()


async def test_who_was_denied_may_try_again_with_a_better_token() -> None:
    async with world() as node:
        client = node.connect()
        client.say(auth("bad"), STEP_1)
        await client.hears(hocuspocus.denied("no good"))
        await client.enter("ana")


async def test_an_empty_issue_is_never_served_in_place_of_one_that_cannot_be_read() -> None:
    async with world() as node:
        node.broken.add("load_many")
        client = node.connect()
        client.say(auth("ana"), STEP_1, y_websocket.update(setting()))
        await client.hears(READ_WRITE)
        node.broken.clear()
        await client.hears(STEP_1, STEP_2, hocuspocus.STORED)


# Acknowledgements.


async def test_an_update_is_acknowledged_and_told_after_its_commit_and_not_before() -> None:
    async with world() as node:
        ana, ben = await node.entered("ana"), await node.entered("ben")
        node.hold["append"] = asyncio.Event()
        ana.say(y_websocket.update(setting()), STEP_1)
        await ana.hears(STEP_1, STEP_2)  # nothing of it yet
        assert ben.connection.frames.empty()
        ana.say(y_websocket.sync_step2(setting()))
        node.hold["append"].set()
        await ben.hears(y_websocket.update(setting()))
        await ana.hears(hocuspocus.STORED)  # the provider began a new count with its SyncStep1
        assert ana.connection.frames.empty()


async def test_every_update_has_an_acknowledgement_of_its_own() -> None:
    async with world() as node:
        client = await node.entered()
        client.say(*(y_websocket.update(setting(clock=clock)) for clock in (0, 1, 2)))
        await client.hears(*[hocuspocus.STORED] * 3)
        client.say(y_websocket.update(setting(clock=1)))  # known already
        await client.hears(hocuspocus.STORED)
        assert client.connection.frames.empty()


async def test_a_gap_is_asked_for_and_its_update_acknowledged_by_the_answer_alone() -> None:
    async with world() as node:
        client = await node.entered()
        client.say(y_websocket.update(setting(clock=1)))
        await client.hears(STEP_1)
        client.say(y_websocket.sync_step2(merge([setting(), setting(clock=1)])))
        await client.hears(hocuspocus.STORED)
        client.say(y_websocket.update(setting(clock=2)))
        await client.hears(hocuspocus.STORED)
        assert client.connection.frames.empty()


async def test_a_refused_update_is_answered_with_a_reason_and_ends_its_document_alone() -> None:
    async with world() as node:
        client = await node.entered("ana", "4.8.0")
        await client.enter("ana", "4.8.0", to=OTHER)
        client.say(y_websocket.update(b"\x01\x02"))
        await client.hears(hocuspocus.REFUSED, MALFORMED, hocuspocus.close("malformed"))
        client.say(y_websocket.update(setting()))  # the provider goes on talking; nobody listens
        client.say(y_websocket.update(setting()), to=OTHER)
        await client.hears(hocuspocus.STORED, to=OTHER)


async def test_a_provider_that_throws_on_close_is_denied_instead() -> None:
    async with world() as node:
        client = await node.entered("ana")
        client.say(y_websocket.update(b"\x01\x02"))
        await client.hears(hocuspocus.REFUSED, MALFORMED, hocuspocus.denied("malformed"))
        assert client.connection.frames.empty()
        await client.enter("ana", to=OTHER)


async def test_a_viewer_is_read_only_and_stays() -> None:
    async with world() as node:
        ana, eve = await node.entered("ana"), node.connect()
        eve.say(auth("eve:viewer"), STEP_1)
        await eve.hears(READ_ONLY, STEP_1, STEP_2)
        eve.say(STEP_2)
        await eve.hears(hocuspocus.STORED)  # it brings nothing new
        eve.say(*(y_websocket.update(setting(1002, clock)) for clock in (0, 1)))
        await eve.hears(hocuspocus.REFUSED, FORBIDDEN, hocuspocus.REFUSED)
        ana.say(y_websocket.update(setting()))
        await eve.hears(y_websocket.update(setting()))
        assert await node.head() == 1


async def test_a_viewer_who_becomes_a_member_is_asked_for_what_was_refused() -> None:
    async with world() as node:
        eve = await node.entered("eve:viewer")
        eve.say(y_websocket.update(setting()))
        await eve.hears(hocuspocus.REFUSED, FORBIDDEN)
        eve.say(auth("eve:member"))
        await eve.hears(READ_WRITE, STEP_1)
        eve.say(y_websocket.sync_step2(setting()))
        await eve.hears(hocuspocus.STORED)
        assert await node.head() == 1


async def test_a_failed_commit_costs_nobody_anything_but_time() -> None:
    async with world() as node:
        ana, ben = await node.entered("ana"), await node.entered("ben")
        await ana.enter("ana", to=OTHER)
        node.broken.add("append")
        ana.say(y_websocket.update(setting()))
        for client in (ana, ben):  # opened again: asked for all it has, and given everything
            await client.hears(STEP_1, STEP_2)
        ana.say(STEP_1, to=OTHER)
        await ana.hears(STEP_1, STEP_2, to=OTHER)
        node.broken.clear()
        ana.say(y_websocket.sync_step2(setting()))
        await ana.hears(hocuspocus.STORED)  # for the update: the provider does not count this answer
        await ben.hears(y_websocket.update(setting()))
        assert ana.connection.frames.empty()
        assert not ana.connection.closing.done()


async def test_one_issue_that_cannot_be_opened_does_not_keep_the_others_closed() -> None:
    async with world() as node:
        node.hold["load_many"] = asyncio.Event()
        client = node.connect()
        client.say(auth("ana"), STEP_1)
        await client.hears(READ_WRITE)
        await node.is_held.wait()
        held = node.hold.pop("load_many")
        await client.enter(to=OTHER)
        held.set()
        await client.hears(STEP_1, STEP_2)
        assert not client.connection.closing.done()


# Many documents.


async def test_every_answer_carries_the_address_it_is_about() -> None:
    async with world() as node:
        client, ben = node.connect(), await node.entered("ben", to=OTHER)
        addresses = [ISSUE, f"{OTHER}\0one", f"{OTHER}\0two"]
        for address in addresses:
            await client.enter("ana", "4.8.0", to=address)
        client.say(y_websocket.update(setting()), to=f"{OTHER}\0one")
        heard = {await client.hear() for _ in range(2)}
        assert heard == {
            (f"{OTHER}\0one", hocuspocus.STORED),
            (f"{OTHER}\0two", y_websocket.update(setting())),
        }
        await ben.hears(y_websocket.update(setting()), to=OTHER)
        assert client.connection.frames.empty()


async def test_both_dialects_edit_one_issue_together() -> None:
    async with world() as node:
        ana, ben = await node.entered("ana"), Client(node.yjs, f"/yjs/{ISSUE}", "ben")
        ben.peer.received(STEP_1)
        assert [await ben.hear_message(), await ben.hear_message()] == [STEP_1, STEP_2]
        ana.say(y_websocket.update(setting()))
        assert await ben.hear_message() == y_websocket.update(setting())
        ben.peer.received(y_websocket.update(setting(1002)))
        await ana.hears(hocuspocus.STORED, y_websocket.update(setting(1002)))
        ben.peer.closed(close_codes.NORMAL)


async def test_a_document_is_left_without_closing_the_socket() -> None:
    async with world() as node:
        ana, ben = await node.entered("ana", "4.8.0"), await node.entered("ben")
        ana.say(PRESENCE)
        await ben.hears(ANNOUNCED)
        await ana.hears(ANNOUNCED)
        node.hold["append"] = asyncio.Event()
        ana.say(y_websocket.update(setting()), GONE, LEAVE)
        await ana.hears(hocuspocus.close("provider_initiated"))
        await ben.hears(GONE)
        node.hold["append"].set()
        await ben.hears(y_websocket.update(setting()))  # what it sent last is not lost
        await ana.enter("ana", "4.8.0")
        ben.say(LEAVE)
        assert ben.connection.frames.empty()  # may be 2.x, which throws on CLOSE


async def test_presence_is_echoed_and_so_is_its_end() -> None:
    async with world() as node:
        client = await node.entered()
        client.say(PRESENCE)
        await client.hears(ANNOUNCED)
        client.say(GONE)
        await client.hears(GONE)


async def test_a_socket_that_is_gone_leaves_nothing_behind() -> None:
    async with world() as node:
        client = await node.entered()
        node.hold["load_many"] = asyncio.Event()
        client.say(auth("ana"), to=OTHER)
        client.say(STEP_1, to=THIRD)
        client.peer.closed(close_codes.ABNORMAL)
        node.hold["load_many"].set()
        assert not node.door.peers
        assert [session for room in node.hub.rooms for session in room.sessions] == []


async def test_a_server_that_stops_says_so_once_for_all_documents() -> None:
    async with world() as node:
        client = await node.entered()
        await client.enter(to=OTHER)
        await node.hub.drain("server restart", timeout=1)
        assert await client.close_code() == close_codes.RESTART


# Tokens.


async def test_a_client_is_asked_for_a_new_token_in_time_and_goes_on_with_it() -> None:
    async with world() as node:
        node.ends("ana", seconds=0.1)
        client = await node.entered("ana")
        await client.hears(hocuspocus.TOKEN_REQUEST)
        client.say(auth("ana:member:main:next"))
        await client.hears(READ_WRITE)
        client.say(y_websocket.update(setting()))
        await client.hears(hocuspocus.STORED)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15):
                await client.hear_message()


async def test_whose_token_ran_out_is_let_in_again_on_the_same_socket() -> None:
    async with world() as node:
        node.ends("ana", seconds=0.05)
        client = await node.entered("ana", "4.8.0")
        await client.hears(hocuspocus.TOKEN_REQUEST)
        await client.hears(hocuspocus.denied("token expired"), hocuspocus.close("token expired"))
        client.say(y_websocket.update(setting()))  # the provider goes on talking, but does not authenticate by itself
        await client.hears(hocuspocus.TOKEN_REQUEST)
        client.say(auth("ana:member", "4.8.0"))
        await client.hears(READ_WRITE, STEP_1, STEP_2)
        client.say(y_websocket.sync_step2(setting()))
        await client.hears(hocuspocus.STORED)
        assert await node.head() == 1


async def test_the_same_token_again_is_no_reason_to_ask_in_a_circle() -> None:
    async with world() as node:
        node.ends("ana", seconds=0.1)
        client = await node.entered("ana")
        await client.hears(hocuspocus.TOKEN_REQUEST)
        client.say(auth("ana"))
        await client.hears(READ_WRITE, hocuspocus.denied("token expired"), hocuspocus.close("token expired"))


async def test_who_is_revoked_is_out_at_once_and_nobody_else() -> None:
    async with world() as node:
        ana, ben = await node.entered("ana", "4.8.0"), await node.entered("ben")
        node.revoked.add("ana")
        assert await node.visits.ask_again({"ana", "ben"}) == set()
        ana.say(y_websocket.update(setting()))
        await ana.hears(hocuspocus.denied("no good"), hocuspocus.close("no good"))
        assert await ana.close_code() == close_codes.UNAUTHORIZED
        ben.say(y_websocket.update(setting(1002)))
        await ben.hears(hocuspocus.STORED)
        assert await node.head() == 1
        assert [visit.identity.user_id for visit in node.visits.all()] == ["ben"]


async def test_one_users_end_leaves_the_others_of_a_shared_socket() -> None:
    async with world() as node:
        client = await node.entered("ana")
        await client.enter("ben", to=OTHER)
        node.revoked.add("ana")
        await node.visits.ask_again({"ana"})
        await client.hears(hocuspocus.denied("no good"))
        client.say(y_websocket.update(setting()), to=OTHER)
        await client.hears(hocuspocus.STORED, to=OTHER)
        assert not client.connection.closing.done()


async def test_another_user_on_the_same_address_is_another_session() -> None:
    async with world() as node:
        client = await node.entered("ana")
        client.say(auth("ben:viewer"))
        await client.hears(READ_ONLY, STEP_1, STEP_2)
        (room,) = node.hub.rooms
        assert [session.identity.user_id for session in room.sessions] == ["ben"]


# Staying alive, and bounds.


async def test_a_silent_socket_hears_something_that_its_provider_understands() -> None:
    async with world(keep_alive_seconds=0.01) as node:
        old, new = await node.entered("ana"), await node.entered("ben", "4.8.0")
        for _ in range(2):
            assert await old.hear() == (ISSUE, y_websocket.KEEP_ALIVE)
            assert await new.hear_message() == hocuspocus.PING
        new.peer.received(b"\x0a")
        assert not new.connection.closing.done()


async def test_a_socket_on_which_nobody_authenticates_is_closed() -> None:
    async with world(authentication_timeout=0.02) as node:
        idle, client = node.connect(), await node.entered()
        idle.say(STEP_1)
        assert await idle.close_code() == close_codes.AUTHENTICATION_TIMEOUT
        client.say(STEP_1)
        assert not client.connection.closing.done()


@pytest.mark.parametrize(
    ("limits", "messages"),
    [
        ({"max_unauthenticated_messages": 3}, [(ISSUE, STEP_1)] * 4),
        ({"max_unauthenticated_bytes": 100}, [(ISSUE, y_websocket.update(bytes(60)))] * 2),
        ({"max_unauthenticated_documents": 2}, [(issue, STEP_1) for issue in ISSUES]),
    ],
)
async def test_what_waits_for_a_token_is_bounded(limits: dict[str, int], messages: list[tuple[str, bytes]]) -> None:
    async with world(**limits) as node:
        client = node.connect()
        for to, frame in messages[:-1]:
            client.say(frame, to=to)
        assert not client.connection.closing.done()
        client.say(messages[-1][1], to=messages[-1][0])
        assert await client.close_code() == close_codes.RESET


async def test_documents_that_were_denied_do_not_use_up_a_socket() -> None:
    async with world(max_unauthenticated_documents=2) as node:
        client = node.connect()
        for number in range(10):
            client.say(auth("bad"), STEP_1, to=f"main/{UUID(int=number)}")
            await client.hears(hocuspocus.denied("no good"), to=f"main/{UUID(int=number)}")
        await client.enter()


async def test_one_document_too_many_is_denied() -> None:
    async with world(max_documents=2) as node:
        client = node.connect()
        for issue in (ISSUE, OTHER):
            await client.enter(to=issue)
        client.say(auth("ana"), to=THIRD)
        await client.hears(hocuspocus.denied("too many documents on one socket"), to=THIRD)
        client.say(LEAVE)
        await client.enter(to=THIRD)


async def test_more_than_may_wait_for_an_issue_is_asked_for_once_it_is_open() -> None:
    async with world(max_waiting_messages=2) as node:
        node.hold["load_many"] = asyncio.Event()
        client = node.connect()
        client.say(auth("ana"))
        await client.hears(READ_WRITE)
        client.say(*(y_websocket.update(setting(clock=clock)) for clock in range(4)))
        node.hold["load_many"].set()
        await client.hears(STEP_1, STEP_2)
        everything = merge([setting(clock=clock) for clock in range(4)])
        client.say(y_websocket.sync_step2(everything))
        heard = [await client.hear() for _ in range(4)]
        assert heard == [(ISSUE, hocuspocus.STORED)] * 4
        assert client.connection.frames.empty()


async def test_who_does_not_read_is_not_read_from_and_closed_in_the_end() -> None:
    async with world(max_buffered_bytes=1_000, behind_timeout=0.05) as node:
        reader, sleeper = await node.entered("ana"), await node.entered("ben")
        for client in (reader, sleeper):
            client.connection.unsent_bytes = 1_001
            client.say(STEP_1)
            assert client.connection.is_paused
        reader.connection.unsent_bytes = 0
        reader.peer.drained()
        assert not reader.connection.is_paused
        assert await sleeper.close_code() == close_codes.TRY_LATER
        assert not reader.connection.closing.done()


async def test_an_issue_is_not_opened_into_a_full_socket() -> None:
    async with world(max_buffered_bytes=1_000) as node:
        client = await node.entered()
        client.connection.unsent_bytes = 1_001
        client.say(auth("ana"), STEP_1, to=OTHER)
        await client.hears(READ_WRITE, to=OTHER)
        client.connection.unsent_bytes = 0
        client.peer.drained()
        await client.hears(STEP_1, STEP_2, to=OTHER)


# Garbage.


@pytest.mark.parametrize("message", [b"", b"\x80", b"\x05main", b"\x04main\x63", b"\x02\xff\xfe\x00\x00\x01\x00"])
async def test_a_stranger_who_sends_garbage_is_closed(message: bytes) -> None:
    async with world() as node:
        client = node.connect()
        client.peer.received(message)
        assert await client.close_code() == close_codes.BAD_REQUEST
        client.peer.received(message)


async def test_what_a_socket_is_closed_for_is_held_once_against_who_is_in() -> None:
    async with world() as node:
        conduct = node.visits.conduct = Conduct()
        client = node.connect()
        await client.enter()
        await client.enter(to=OTHER)
        assert client.connection.is_known
        client.peer.closed(close_codes.PROTOCOL_ERROR)
        assert conduct.offenders == ["ana"]


async def test_garbage_for_one_document_ends_that_one() -> None:
    async with world() as node:
        client = await node.entered("ana", "4.8.0")
        await client.enter("ana", "4.8.0", to=OTHER)
        client.say(b"\x06\x04ping")  # BroadcastStateless
        await client.hears(hocuspocus.close("malformed"))
        client.say(y_websocket.update(setting()), to=OTHER)
        await client.hears(hocuspocus.STORED, to=OTHER)


@given(
    said=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda to, frame: hocuspocus.header(to) + frame,
                st.sampled_from([ISSUE, OTHER, f"{ISSUE}\0one", "main"]),
                st.one_of(
                    st.binary(max_size=24),
                    st.sampled_from(
                        [auth("eve"), auth("eve:viewer", "4.8.0"), auth("bad"), STEP_1, STEP_2, PRESENCE, GONE, LEAVE]
                    ),
                    st.builds(lambda clock: y_websocket.update(setting(1003, clock)), st.integers(0, 3)),
                ),
            ),
        ),
        max_size=24,
    )
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_client_says_others_are_not_disturbed(said: list[bytes]) -> None:
    async def run() -> None:
        async with world() as node:
            ana, eve = await node.entered("ana"), node.connect()
            for message in said:
                eve.peer.received(message)
                await asyncio.sleep(0)
            for clock in (0, 1):
                ana.say(y_websocket.update(setting(clock=clock)))
                while await ana.hear() != (ISSUE, hocuspocus.STORED):
                    pass
                eve.peer.closed(close_codes.ABNORMAL)
            assert not ana.connection.closing.done()
            assert "loop_failures_total{" not in (await node.metrics.render()).decode()

    asyncio.run(run())


async def test_nothing_of_a_socket_that_is_gone_waits_for_the_collector_of_cycles() -> None:
    """A crowd of strangers would leave it so much that it keeps the loop for long."""

    async def visit(node: World) -> list[weakref.ref[object]]:
        stranger, client = Client(node.door), Client(node.door)
        stranger.say(STEP_1)
        await client.enter()
        channels = [weakref.ref(channel) for each in (stranger, client) for channel in each.peer._channels.values()]  # type: ignore[attr-defined]
        for each in (stranger, client):
            each.peer.closed(close_codes.NORMAL)
        return channels

    with without_collector():
        async with world() as node:
            gone = await visit(node)
            await settle()
            assert len(gone) == 2
            assert [each() for each in gone] == [None, None]
