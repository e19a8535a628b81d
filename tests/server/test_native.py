"""The native door: greetings, open issues, pushes and their answers, and what nobody should send."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt import native
from crdt.awareness import Entry, signed
from crdt.awareness import encode as encode_awareness
from crdt.errors import CLIENT_ID, FORBIDDEN, MALFORMED, TOO_LARGE
from crdt.native import (
    Ack,
    Awareness,
    Close,
    Closed,
    Delta,
    Hello,
    Nack,
    Notice,
    Open,
    Page,
    Ping,
    Pong,
    Push,
    PushEntry,
    Refusal,
    Renew,
    State,
    Want,
    Welcome,
)
from crdt.native_codec import encode
from server import close_codes
from server.doors.native.limits import NativeLimits
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore
from tests.server.fake_socket import Conduct
from tests.server.house import settle
from tests.server.native_client import NativeClient
from tests.server.native_house import native_house
from tests.simulation.time import in_virtual_time, run_in_virtual_time

ISSUE, OTHER = UUID(int=7), UUID(int=8)
PRESENCE = bytes.fromhex("01e90701027b7d")
ANNOUNCED = encode_awareness([Entry(1001, 1, signed(b"{}", "ana", "member"))])


async def welcome(client: NativeClient, token: str | None = None) -> NativeClient:
    """Connect, and wait for the end of the first load."""
    client.connect(token)
    await client.until_live()
    return client


class TestGreeting:
    @in_virtual_time
    async def test_a_good_hello_is_welcome_and_told_the_limits(self) -> None:
        async with native_house(NativeLimits(push_entries=12)) as node:
            client = node.client()
            client.connect("ana:viewer")
            answer = await client.until(Welcome)
            workspace = node.house.workspace
            assert (answer.epoch, answer.head, answer.floor, answer.role) == (workspace.epoch, 0, 0, "viewer")
            assert answer.limits["push_entries"] == 12

    @in_virtual_time
    async def test_without_a_hello_the_socket_is_closed(self) -> None:
        async with native_house() as node:
            client = node.client()
            client.connect(greet=False)
            assert (await client.until(Refusal)).code == native.TIMEOUT
            assert client.socket.close_code() == 4408

    @pytest.mark.parametrize(
        ("token", "code", "close_code"),
        [("nobody", native.UNAUTHORIZED, 4401), ("away", native.RETRY, 1013), ("ana:member:ghosts", FORBIDDEN, 4403)],
    )
    def test_a_bad_token_is_refused(self, token: str, code: str, close_code: int) -> None:
        async def scenario() -> None:
            async with native_house() as node:
                client = node.client()
                client.connect(token)
                assert (await client.until(Refusal)).code == code
                assert client.socket.close_code() == close_code

        run_in_virtual_time(scenario())

    @pytest.mark.parametrize("says", [b"no frame", None])
    def test_what_a_socket_is_closed_for_is_held_once_against_its_user(self, says: bytes | None) -> None:
        async def scenario() -> None:
            async with native_house() as node:
                conduct = node.door.ground.services.visits.conduct = Conduct()
                client = node.client()
                client.connect("ana")
                await client.until(Welcome)
                assert client.socket.is_known
                assert client.socket.peer is not None
                if says is not None:
                    client.socket.peer.received(says)
                client.socket.cut(close_codes.PROTOCOL_ERROR)
                assert conduct.offenders == ["ana"]

        run_in_virtual_time(scenario())

    @pytest.mark.parametrize("device", ["", "a\0b", "two\nlines"])
    def test_a_device_must_have_a_name_that_can_be_stored(self, device: str) -> None:
        async def scenario() -> None:
            async with native_house() as node:
                client = node.client()
                client.connect(greet=False)
                client.say(Hello("ana", "test", device))
                assert (await client.until(Refusal)).code == MALFORMED

        run_in_virtual_time(scenario())

    @in_virtual_time
    async def test_the_device_of_a_hello_is_stored_where_the_token_names_none(self) -> None:
        async with native_house() as node:
            client = node.client()
            client.connect(greet=False)
            client.say(Hello("ana", "test", "laptop", native.OFF))
            await client.until(Welcome)
            client.write(ISSUE, "a")
            await client.until(Ack)
            (delta,) = await node.house.store.page(node.house.workspace.id, 0, 9)
            assert (delta.actor_id, delta.device_id) == ("ana", "laptop")

    @in_virtual_time
    async def test_an_unknown_workspace_is_refused(self) -> None:
        async with native_house() as node:
            client = node.client()
            client.connect("ana:member:ghosts", "/v1/workspaces/ghosts/sync")
            assert (await client.until(Refusal)).code == native.NOT_FOUND
            assert client.socket.close_code() == 4404

    @in_virtual_time
    async def test_what_comes_before_the_welcome_is_answered_after_it(self) -> None:
        async with native_house() as node:
            client = node.client()
            client.connect()
            client.say(Ping(1))
            client.say(Ping(2))
            await client.until_live()
            assert [f for f in client.heard if not isinstance(f, Page)][:3] == [client.heard[0], Pong(1), Pong(2)]
            assert isinstance(client.heard[0], Welcome)

    @in_virtual_time
    async def test_a_store_that_is_away_sends_clients_away(self) -> None:
        async def away(moment: str, operation: str) -> None:
            if operation == "workspace":
                raise StoreUnavailable("away")

        store = MemoryStore()
        async with native_house(store=store) as node:
            store.fault = away
            client = node.client()
            client.connect()
            assert (await client.until(Refusal)).code == native.RETRY
            assert client.socket.close_code() == 1013

    @in_virtual_time
    async def test_the_end_of_the_token_is_the_end_of_the_socket_unless_it_is_renewed(self) -> None:
        async with native_house() as node:
            brief, renewed = await welcome(node.client("brief")), await welcome(node.client("brief", 2))
            await asyncio.sleep(50)
            renewed.say(Renew("brief:viewer"))
            assert await renewed.until(Notice) == Notice(native.ROLE, "viewer")
            await asyncio.sleep(20)
            brief.hear()
            assert brief.heard[-1] == Refusal(native.UNAUTHORIZED, "token expired")
            assert renewed.socket.closed is None
            renewed.write(ISSUE, "a")
            assert (await renewed.until(Nack)).code == FORBIDDEN

    @in_virtual_time
    async def test_a_token_of_somebody_else_does_not_renew(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            client.say(Renew("bob"))
            assert (await client.until(Refusal)).code == FORBIDDEN

    @in_virtual_time
    async def test_everybody_hears_that_the_server_stops_and_that_the_store_takes_nothing(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            node.door.set_read_only(is_read_only=True)
            node.door.set_read_only(is_read_only=True)
            node.door.set_read_only(is_read_only=False)
            node.door.drain()
            notices = [frame for frame in client.hear() if isinstance(frame, Notice)]
            assert notices == [Notice("read_only", "true"), Notice("read_only", "false"), Notice("draining", "true")]


class TestPush:
    @in_virtual_time
    async def test_an_edit_is_acked_at_the_seq_it_has(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            number = client.write(ISSUE, "hello")
            assert await client.until(Ack) == Ack(((number, 1),))
            assert len(await node.house.store.page(node.house.workspace.id, 0, 9)) == 1

    @in_virtual_time
    async def test_edits_of_many_issues_commit_together(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            for issue in range(20):
                client.edit(UUID(int=issue), "x")
            client.push()
            await client.until_live(20)
            assert sorted(client.acked.values()) == list(range(1, 21))
            assert len(node.batches) < 5

    @in_virtual_time
    async def test_an_edit_sent_again_is_acked_and_stored_once(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            entry = client.edit(ISSUE, "hello")
            for _ in range(3):
                client.say(Push((entry,)))
                await client.until(Ack)
            client.disconnect()
            client.connect()
            client.say(Push((entry,)))
            assert (await client.until(Ack)).acked == ((entry.client_seq, 1),)
            assert (await node.house.store.workspaces())[0].head == 1

    @in_virtual_time
    async def test_no_ack_before_the_commit(self) -> None:
        hold = asyncio.Event()

        async def slowly(moment: str, operation: str) -> None:
            if operation == "append" and moment == "before":
                await hold.wait()

        async with native_house(store=MemoryStore(fault=slowly)) as node:
            client = await welcome(node.client())
            client.write(ISSUE, "hello")
            await settle()
            assert not any(isinstance(frame, Ack) for frame in client.hear())
            hold.set()
            await client.until(Ack)

    @in_virtual_time
    async def test_a_refused_edit_is_nacked_alone(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            good, bad, other = client.edit(ISSUE, "a"), client.keep(ISSUE, b"\xff\xff"), client.edit(OTHER, "b")
            client.push()
            nack = await client.until(Nack)
            assert (nack.client_seq, nack.code) == (bad.client_seq, MALFORMED)
            await client.until_live(2)
            assert set(client.acked) == {good.client_seq, other.client_seq}

    @in_virtual_time
    async def test_a_viewer_may_not_push_anything_new(self) -> None:
        async with native_house() as node:
            ana, viewer = await welcome(node.client()), await welcome(node.client("bob", 2), "bob:viewer")
            entry = ana.edit(ISSUE, "a")
            ana.push()
            await ana.until(Ack)
            viewer.say(Push((entry,)))
            assert (await viewer.until(Ack)).acked == ((entry.client_seq, 1),)
            viewer.write(OTHER, "b")
            assert (await viewer.until(Nack)).code == FORBIDDEN
            assert viewer.socket.closed is None

    @in_virtual_time
    async def test_a_client_id_of_somebody_else_is_nacked(self) -> None:
        async with native_house() as node:
            ana, bob = await welcome(node.client()), await welcome(node.client("bob"))
            ana.write(ISSUE, "a")
            await ana.until(Ack)
            bob.write(ISSUE, "bbb")
            assert (await bob.until(Nack)).code == CLIENT_ID

    @in_virtual_time
    async def test_an_edit_without_its_causes_is_asked_for_and_then_there(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            client.edit(ISSUE, "lost ")
            client.outbox.clear()
            number = client.write(ISSUE, "kept")
            nack = await client.until(Nack)
            assert (nack.client_seq, nack.code) == (number, native.GAP)
            assert any(isinstance(frame, Want) for frame in client.heard)
            await client.until(Ack)
            reader = await welcome(node.client("bob", 2))
            assert reader.title(ISSUE) == "lost kept"

    @in_virtual_time
    async def test_many_edits_without_their_causes_are_asked_for_once(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            client.edit(ISSUE, "lost ")
            client.outbox.clear()
            for _ in range(5):
                client.edit(ISSUE, "x")
            client.push()
            await client.until(Ack)
            assert sum(isinstance(frame, Want) for frame in client.heard) == 1

    @in_virtual_time
    async def test_who_passes_the_window_is_closed(self) -> None:
        async with native_house(NativeLimits(push_entries=3)) as node:
            client = await welcome(node.client())
            for _ in range(4):
                client.edit(ISSUE, "x")
            client.push()
            assert (await client.until(Refusal)).code == native.WINDOW
            assert client.socket.close_code() == 4413

    @in_virtual_time
    async def test_one_edit_may_be_bigger_than_the_window(self) -> None:
        async with native_house(NativeLimits(push_bytes=100)) as node:
            client = await welcome(node.client())
            client.write(ISSUE, "x" * 1_000)
            await client.until(Ack)
            client.edit(ISSUE, "y" * 1_000)
            client.edit(ISSUE, "z" * 1_000)
            client.push()
            assert (await client.until(Refusal)).code == native.WINDOW

    @in_virtual_time
    async def test_after_a_lost_commit_the_first_lost_edit_must_come_first(self) -> None:
        failing = True

        async def trouble(moment: str, operation: str) -> None:
            if failing and operation == "append" and moment == "before":
                raise StoreUnavailable("away")

        async with native_house(store=MemoryStore(fault=trouble)) as node:
            client = await welcome(node.client())
            first = client.write(ISSUE, "a")
            assert await client.until(Nack) == Nack(first, native.RETRY, "not stored, try again")
            failing = False
            second = client.write(ISSUE, "b")
            assert (await client.until(Nack)).client_seq == second
            client.write(OTHER, "c")
            await client.until(Ack)
            client.push()
            await client.until_live(2)
            assert not client.outbox
            assert not any(isinstance(frame, Want) for frame in client.heard)

    @in_virtual_time
    async def test_who_only_pushes_leaves_the_room(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            client.write(ISSUE, "a")
            await client.until(Ack)
            assert node.house.hub.rooms[0].session_count == 1
            await asyncio.sleep(2)
            assert all(room.session_count == 0 for room in node.house.hub.rooms)


class TestOpen:
    @in_virtual_time
    async def test_it_is_answered_with_what_is_lacking_and_then_told_at_once(self) -> None:
        async with native_house() as node:
            ana, bob = await welcome(node.client()), await welcome(node.client("bob", 2))
            ana.write(ISSUE, "a")
            await ana.until(Ack)
            bob.say(Open(ISSUE, None))
            assert (await bob.until(State)).issue == ISSUE
            cursor = bob.cursor
            ana.write(ISSUE, "b")
            await settle()
            bob.hear()
            assert bob.title(ISSUE) == "ab"
            assert bob.cursor == cursor
            await bob.until_live(2)

    @in_virtual_time
    async def test_opened_with_a_state_vector_only_the_rest_comes(self) -> None:
        async with native_house() as node:
            ana = await welcome(node.client())
            ana.write(ISSUE, "a" * 1_000)
            await ana.until(Ack)
            ana.say(Open(ISSUE, ana.doc(ISSUE).get_state()))
            assert len((await ana.until(State)).update) < 20
            ana.say(Open(ISSUE, None))
            assert len((await ana.until(State)).update) > 1_000

    @in_virtual_time
    async def test_closed_nothing_comes_ahead_of_the_feed(self) -> None:
        async with native_house() as node:
            ana, bob = await welcome(node.client()), await welcome(node.client("bob", 2))
            bob.say(Open(ISSUE, None))
            await bob.until(State)
            bob.say(Close(ISSUE))
            bob.say(Close(ISSUE))
            ana.write(ISSUE, "b")
            await bob.until_live(1)
            assert not any(isinstance(frame, Delta) for frame in bob.heard)
            assert bob.title(ISSUE) == "b"

    @in_virtual_time
    async def test_presence_is_told_to_all_and_withdrawn_with_the_close(self) -> None:
        async with native_house() as node:
            ana, bob = await welcome(node.client()), await welcome(node.client("bob", 2))
            for client in (ana, bob):
                client.say(Open(ISSUE, None))
                await client.until(State)
            ana.say(Awareness(ISSUE, PRESENCE))
            assert await bob.until(Awareness) == Awareness(ISSUE, ANNOUNCED)
            ana.say(Close(ISSUE))
            assert b"null" in (await bob.until(Awareness)).update
            ana.say(Awareness(ISSUE, PRESENCE))  # crossed by nothing, and ignored

    @in_virtual_time
    async def test_a_joiner_sees_who_is_there(self) -> None:
        async with native_house() as node:
            ana, bob = await welcome(node.client()), await welcome(node.client("bob", 2))
            ana.say(Open(ISSUE, None))
            ana.say(Awareness(ISSUE, PRESENCE))
            await ana.until(Awareness)
            bob.say(Open(ISSUE, None))
            assert await bob.until(Awareness) == Awareness(ISSUE, ANNOUNCED)

    @in_virtual_time
    async def test_an_issue_that_fails_is_closed_and_the_socket_stays(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            client.say(Open(ISSUE, None))
            client.say(Open(OTHER, None))
            client.say(Awareness(ISSUE, b"\xff"))
            assert (await client.until(Closed)).code == MALFORMED
            client.write(OTHER, "still here")
            await client.until(Ack)
            client.say(Open(ISSUE, b"\xff"))
            assert (await client.until(Closed)).issue == ISSUE

    @in_virtual_time
    async def test_too_many_open_issues_are_refused_one_by_one(self) -> None:
        async with native_house(NativeLimits(open_issues=2)) as node:
            client = await welcome(node.client())
            for number in range(3):
                client.say(Open(UUID(int=number), None))
            closed = await client.until(Closed)
            assert (closed.issue, closed.code) == (UUID(int=2), TOO_LARGE)
            await settle()
            client.hear()
            client.say(Close(UUID(int=0)))
            client.say(Open(UUID(int=2), None))
            assert (await client.until(State)).issue == UUID(int=2)

    @in_virtual_time
    async def test_when_the_socket_is_gone_nobody_is_left_in_a_room(self) -> None:
        async with native_house() as node:
            client = await welcome(node.client())
            client.say(Open(ISSUE, None))
            await client.until(State)
            client.write(ISSUE, "a")
            client.say(Open(OTHER, None))
            client.disconnect()
            await settle()
            assert all(room.session_count == 0 for room in node.house.hub.rooms)
            assert node.house.counted("followers") == 0


hostile = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda code, rest: msgpack.packb([code, *rest]),
        st.integers(0, 60),
        st.lists(st.binary() | st.integers(0, 2**64 - 1)),
    ),
    st.sampled_from(
        [
            encode(frame)
            for frame in (
                Ping(1),
                Pong(1),
                Open(ISSUE, None),
                Open(ISSUE, b"\xff"),
                Close(ISSUE),
                Close(OTHER),
                Awareness(ISSUE, b"\xff\xff"),
                Awareness(ISSUE, PRESENCE),
                Push(()),
                Push((PushEntry(1, ISSUE, b""), PushEntry(1, ISSUE, b"\x00\x00"))),
                Push((PushEntry(0, OTHER, b"\x01\x02\x03"),)),
                Renew("ana"),
                Renew("nobody"),
                Hello("ana", "twice"),
            )
        ]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(hostile, max_size=12), st.booleans(), st.integers(0, 3))
def test_whatever_is_sent_in_whatever_state_nobody_else_notices(
    messages: list[bytes], greet: bool, moments: int
) -> None:
    async def scenario() -> None:
        async with native_house() as node:
            honest, fuzzer = await welcome(node.client("bob", 2)), node.client()
            honest.say(Open(ISSUE, None))
            await honest.until(State)
            fuzzer.connect(greet=greet)
            for message in messages:
                for _ in range(moments):
                    await asyncio.sleep(0)
                fuzzer.send(message)
            await settle()
            if fuzzer.socket.closed is not None:
                assert any(isinstance(frame, Refusal) for frame in fuzzer.hear())
            fuzzer.disconnect()
            honest.write(ISSUE, "unharmed")
            await honest.until(Ack)
            await settle()
            assert [room.session_count for room in node.house.hub.rooms if room.key.issue_id == ISSUE] == [1]

    run_in_virtual_time(scenario())
