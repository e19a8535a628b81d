"""Rooms: what is told to whom, when, and what becomes of everything else."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from pycrdt import Doc, Text

from crdt.awareness import signed
from crdt.errors import CLIENT_ID, FORBIDDEN, MALFORMED, TOO_LARGE
from crdt.gate import fold
from crdt.index import Index
from crdt.update import EMPTY_UPDATE, merge
from server import close_codes
from server.limits import HubLimits, RoomLimits
from server.permissions import Role
from server.presence import Presence
from server.room import Room
from server.session import Incomplete, Rejected, Session, Stored
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore
from tests.inline_engine import at_once
from tests.server.house import ISSUE, House, Peer, house, settle
from tests.simulation.time import VirtualClock, in_virtual_time

SMALL = HubLimits(room=RoomLimits(max_inline_bytes=200, max_inline_update_bytes=100))


class Gate:
    """A store's fault that holds appends until opened."""

    def __init__(self, *, failure: Exception | None = None, moment: str = "before") -> None:
        self.open = asyncio.Event()
        self.held = 0
        self.failure = failure
        self.moment = moment

    async def __call__(self, moment: str, operation: str) -> None:
        if operation == "append" and moment == self.moment:
            self.held += 1
            await self.open.wait()
            if self.failure is not None:
                raise self.failure


@in_virtual_time
async def test_nobody_hears_of_an_edit_before_its_commit() -> None:
    """Law 1 (L12)."""
    store = MemoryStore()
    async with house(store=store) as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob)
        gate = store.fault = Gate(moment="after")
        ana.write("hello")
        await settle()
        late = Peer("late", client=3)
        await node.join(late)
        assert (gate.held, bob.shows(), late.shows(), ana.outcomes) == (1, "", "", [])
        assert ana.room is not None
        assert ana.room.state_vector() == b"\x00"
        gate.open.set()
        await settle()
        assert (bob.shows(), late.shows(), ana.outcomes) == ("hello", "hello", [Stored(1)])


@in_virtual_time
async def test_updates_of_one_turn_become_one_delta_a_session_and_one_frame_a_reader() -> None:
    async with house() as node:
        ana, bob, eve = Peer("ana", client=1), Peer("bob", client=2), Peer("eve", client=3)
        for peer in (ana, bob, eve):
            await node.join(peer)
        await settle()
        eve.wire.frames.clear()
        for letter in "abc":
            ana.write(letter)
            bob.write(letter)
        await settle()
        log = await node.store.page(node.workspace.id, 0, 10)
        assert [delta.actor_id for delta in log] == ["ana", "bob"]
        assert len(eve.wire.frames) == 1
        assert eve.shows() == ana.shows() == bob.shows()


@in_virtual_time
async def test_the_only_author_of_a_frame_does_not_get_it_back() -> None:
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob)
        ana.wire.frames.clear()
        ana.write("hello")
        await settle()
        assert (ana.wire.frames, bob.shows()) == ([], "hello")


@in_virtual_time
async def test_a_commit_in_flight_widens_the_turn() -> None:
    """L8: a slow store means one running and one waiting commit of an issue, however many write."""
    store = MemoryStore()
    async with house(store=store) as node:
        writers = [Peer(f"user{number}", client=number + 1) for number in range(20)]
        for writer in writers:
            await node.join(writer)
        gate = store.fault = Gate()
        for _ in range(10):
            for writer in writers:
                writer.write("x")
                await asyncio.sleep(0.01)
        assert (gate.held, len(await store.page(node.workspace.id, 0, 1000))) == (1, 0)
        gate.open.set()
        await settle()
        assert gate.held == 2
        assert all(writer.shows() == writers[0].shows() for writer in writers)
        assert len(writers[0].shows()) == 200


@in_virtual_time
async def test_causes_between_sessions_of_one_turn_keep_their_order_in_the_log() -> None:
    """Law 3: two tabs that hear of each other without us, ping-pong within one turn."""
    async with house() as node:
        left, right = Peer("ana", client=1), Peer("ana", client=2)
        await node.join(left)
        await node.join(right)
        updates = []
        for writer, other in [(left, right), (right, left), (left, right), (right, left)]:
            update = writer.edit("x")
            other.doc.apply_update(update)
            updates.append((writer, update))
        for writer, update in updates:
            writer.send(update)
        await settle()
        log = await node.store.page(node.workspace.id, 0, 10)
        index = Index()
        assert not any(fold(index, delta.update, delta.actor_id).gap for delta in log)
        replay: Doc[Any] = Doc()
        replay.apply_update(merge([delta.update for delta in log]))
        assert str(replay.get("title", type=Text)) == "xxxx"
        assert [type(outcome) for outcome in left.outcomes + right.outcomes] == [Stored] * 4
        assert node.counted("asks_total") == 0


@in_virtual_time
async def test_a_known_update_is_stored_already_and_changes_nothing() -> None:
    async with house() as node:
        ana = Peer()
        await node.join(ana)
        update = ana.edit("hello")
        for _ in range(3):
            ana.send(update)
            await settle()
        ana.send(EMPTY_UPDATE)
        await settle()
        assert ana.outcomes == [Stored(1)] * 4
        assert len(await node.store.page(node.workspace.id, 0, 10)) == 1


@in_virtual_time
async def test_the_receipt_of_a_repeated_update_waits_for_the_first_ones_commit() -> None:
    """Known to the index is not committed."""
    store = MemoryStore()
    async with house(store=store) as node:
        ana, twin = Peer("ana", client=1), Peer("ana", client=2)
        await node.join(ana)
        await node.join(twin)
        gate = store.fault = Gate()
        update = ana.edit("hello")
        ana.send(update)
        twin.send(update)
        await settle()
        ana.send(update)
        await settle()
        assert ana.outcomes == twin.outcomes == []
        gate.open.set()
        await settle()
        assert (ana.outcomes, twin.outcomes) == ([Stored(1), Stored(1)], [Stored(1)])


@in_virtual_time
async def test_receipts_are_called_in_the_order_of_the_updates() -> None:
    async with house() as node:
        ana = Peer()
        await node.join(ana)
        ana.write("a")
        ana.send(b"\xff")
        ana.write("b")
        await settle()
        assert [type(outcome) for outcome in ana.outcomes] == [Stored, Rejected, Stored]


@in_virtual_time
async def test_edits_brought_by_sync_step_2_are_persisted_and_told() -> None:
    """L33: a week offline comes back as SyncStep2."""
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(bob)
        ana.edit("offline ")
        ana.edit("work")
        await node.join(ana)
        ana.send(ana.doc.get_update())
        await settle()
        assert bob.shows() == "offline work"
        assert len(await node.store.page(node.workspace.id, 0, 10)) == 1


@in_virtual_time
async def test_what_a_leaving_session_sent_is_taken_in() -> None:
    """D11: connect, edit and leave at once."""
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(bob)
        await node.join(ana)
        ana.write("bye")
        ana.session.is_closed = True
        node.leave(ana)
        await settle()
        assert bob.shows() == "bye"


@in_virtual_time
async def test_a_refused_update_closes_its_session_and_harms_nobody_else() -> None:
    """L11."""
    async with house() as node:
        ana, bob, eve = Peer("ana", client=1), Peer("bob", client=2), Peer("eve", client=3)
        for peer in (ana, bob, eve):
            room = await node.join(peer)
        room.submit(eve.session, b"\x01\x00\x01\x00\x00")
        room.submit(eve.session, eve.edit("after"))
        ana.write("fine")
        await settle()
        assert eve.wire.closed == (close_codes.BAD_REQUEST, MALFORMED)
        assert (bob.shows(), ana.wire.closed, bob.wire.closed) == ("fine", None, None)
        assert node.counted("refusals_total", reason=MALFORMED) == 1


@in_virtual_time
async def test_somebody_elses_client_id_is_refused() -> None:
    async with house() as node:
        ana, thief = Peer("ana", client=1), Peer("thief", client=1)
        room = await node.join(ana)
        await node.join(thief)
        ana.write("mine")
        await settle()
        thief.hear()
        room.submit(thief.session, thief.edit("!"))
        await settle()
        assert thief.wire.closed == (close_codes.NOT_ALLOWED, CLIENT_ID)


@in_virtual_time
async def test_a_viewer_may_repeat_what_is_known_but_not_edit() -> None:
    """A14: it is told so."""
    async with house() as node:
        ana, viewer = Peer("ana", client=1), Peer("vic", client=2, role=Role.VIEWER)
        room = await node.join(ana)
        ana.write("hello")
        ana.text.clear()
        ana.send(ana.doc.get_update())
        await settle()
        await node.join(viewer)
        room.submit(viewer.session, viewer.hear().doc.get_update())
        await settle()
        assert viewer.wire.close_code() is None
        room.submit(viewer.session, viewer.edit("graffiti"))
        await settle()
        assert viewer.wire.closed == (close_codes.NOT_ALLOWED, FORBIDDEN)
        assert ana.shows() == ""


# Gaps.


def typed(peer: Peer, *texts: str) -> list[bytes]:
    return [peer.edit(text) for text in texts]


@in_virtual_time
async def test_a_gap_is_asked_for_and_nothing_of_it_is_stored() -> None:
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob)
        _lost, second, third = typed(ana, "a", "b", "c")
        ana.send(second)
        ana.send(third)
        await settle()
        assert (bob.shows(), await node.store.page(node.workspace.id, 0, 10)) == ("", [])
        assert [type(outcome) for outcome in ana.outcomes] == [Incomplete, Incomplete]
        (state_vector,) = ana.hear().asked
        ana.send(ana.doc.get_update(state_vector))
        await settle()
        assert bob.shows() == "abc"


@in_virtual_time
async def test_one_ask_is_outstanding_and_it_is_repeated_until_the_gap_closes() -> None:
    async with house() as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        _lost, *rest = typed(ana, *"abcdef")
        for update in rest:
            ana.send(update)
            await settle()
        assert len(ana.hear().asked) == 1
        await asyncio.sleep(10)
        assert 2 <= len(ana.hear().asked) <= 3
        ana.send(ana.doc.get_update())
        await asyncio.sleep(120)
        assert len(ana.hear().asked) <= 3
        assert isinstance(ana.outcomes[-1], Stored)


@in_virtual_time
async def test_the_closed_part_of_a_gapped_update_is_kept() -> None:
    async with house() as node:
        ana, other, bob = Peer("ana", client=1), Peer("ana", client=9), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob)
        _lost, gapped = typed(other, "a", "b")
        ana.send(merge([ana.edit("fine"), gapped]))
        await settle()
        assert (bob.shows(), ana.outcomes) == ("fine", [Incomplete(1)])


@in_virtual_time
async def test_what_a_session_sends_behind_a_gap_waits_in_order() -> None:
    """The missing part comes from another node; nothing is dropped and nothing overtakes."""
    store = MemoryStore()
    async with house(store=store) as here, house(store=store) as there:
        ana, tab, bob = Peer("ana", client=1), Peer("ana", client=2), Peer("bob", client=3)
        await here.join(ana)
        await here.join(bob)
        await there.join(tab)
        first, second, third = typed(ana, "a", "b", "c")
        tab.doc.apply_update(first)
        tab.send(first)
        await settle()
        ana.send(second)
        ana.send(third)
        await settle()
        assert (bob.shows(), ana.outcomes) == ("abc", [Stored(2), Stored(2)])
        assert here.counted("asks_total") == 0
        assert tab.shows() == "a"
        await asyncio.sleep(1)
        assert tab.shows() == "abc"


@in_virtual_time
async def test_a_viewer_that_saw_another_nodes_commit_is_not_refused() -> None:
    store = MemoryStore()
    async with house(store=store) as here, house(store=store) as there:
        ana, viewer, bob = Peer("ana", client=1), Peer("vic", client=2, role=Role.VIEWER), Peer("bob", client=3)
        await here.join(bob)
        await there.join(ana)
        ana.write("hello")
        await settle()
        room = await here.join(viewer)
        viewer.doc.apply_update(ana.doc.get_update())
        room.submit(viewer.session, viewer.doc.get_update())
        await settle()
        assert (viewer.wire.closed, bob.shows()) == (None, "hello")


@pytest.mark.parametrize("size", [10, 500])
@in_virtual_time
async def test_without_the_log_nothing_is_judged_that_may_depend_on_it(size: int) -> None:
    """A client from another node brings what it saw there; while the log cannot be read it is told to come back, not
    that it may never."""
    store = MemoryStore()
    async with house(SMALL, store=store) as here, house(SMALL, store=store) as there:
        ana, bob, guest = Peer("ana", client=1), Peer("bob", client=2), Peer("bob", client=3)
        await there.join(ana)
        ana.write("seen here, ")
        await settle()
        await here.join(guest)
        ana.write("x" * size)
        await settle()
        bob.doc.apply_update(ana.doc.get_update())
        room = await here.join(bob)

        async def away(moment: str, operation: str) -> None:
            if operation == "page":
                raise StoreUnavailable("gone")

        store.fault = away
        room.submit(bob.session, bob.doc.get_update())
        await settle()
        assert (bob.wire.close_code(), guest.wire.close_code()) == (close_codes.TRY_LATER, None)


# Slow readers.


async def _slow_reader(node: House) -> tuple[Peer, Peer]:
    ana, slow = Peer("ana", client=1), Peer("slow", client=2)
    await node.join(ana)
    await node.join(slow)
    slow.wire.stalled = True
    return ana, slow


@in_virtual_time
async def test_a_slow_reader_costs_its_bound_and_recovers_by_one_difference() -> None:
    """M1, D9."""
    async with house(HubLimits(room=RoomLimits(max_buffered_bytes=1_000))) as node:
        ana, slow = await _slow_reader(node)
        for _ in range(200):
            ana.write("some more text ")
            await settle()
        assert slow.wire.buffered_bytes() < 1_100
        assert node.counted("behind_sessions") == 1
        slow.wire.flow()
        before = len(slow.wire.frames)
        assert slow.room is not None
        slow.room.drained(slow.session)
        assert len(slow.wire.frames) == before + 1
        assert slow.shows() == ana.shows() == "some more text " * 200
        ana.write("live again")
        await settle()
        assert slow.shows() == ana.shows()
        assert node.counted("behind_sessions") == 0


@in_virtual_time
async def test_a_reader_that_stays_behind_is_closed() -> None:
    """M1."""
    async with house(HubLimits(room=RoomLimits(max_buffered_bytes=100, behind_timeout=30))) as node:
        ana, slow = await _slow_reader(node)
        ana.write("x" * 200)
        await asyncio.sleep(29)
        assert slow.wire.close_code() is None
        await asyncio.sleep(2)
        assert slow.wire.close_code() == close_codes.TRY_LATER
        assert ana.wire.close_code() is None


@in_virtual_time
async def test_a_reader_that_is_behind_cannot_fill_its_queue_by_asking() -> None:
    async with house(HubLimits(room=RoomLimits(max_buffered_bytes=1_000))) as node:
        ana, slow = await _slow_reader(node)
        ana.write("x" * 2_000)
        await settle()
        for _ in range(100):
            slow.sync()
        assert slow.wire.buffered_bytes() < 2_200
        slow.wire.flow()
        assert slow.room is not None
        slow.room.drained(slow.session)
        assert slow.shows() == ana.shows()


@in_virtual_time
async def test_presence_is_dropped_first_and_the_newest_comes_when_the_reader_has_drained() -> None:
    async with house(HubLimits(room=RoomLimits(max_buffered_bytes=1_000))) as node:
        ana, slow = await _slow_reader(node)
        room = ana.room
        assert room is not None
        for clock in range(1, 101):
            room.present(ana.session, presence(1, clock, b'{"cursor":%d}' % clock))
            await settle()
        assert slow.wire.buffered_bytes() < 600
        assert slow.session.behind is None
        slow.wire.flow()
        room.drained(slow.session)
        assert slow.hear().presence[-1] == heard(1, 100, b'{"cursor":100}')


@in_virtual_time
async def test_a_room_that_waits_for_the_store_stops_reading_and_goes_on_later() -> None:
    store = MemoryStore()
    async with house(HubLimits(room=RoomLimits(max_waiting_bytes=1_000)), store=store) as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob)
        gate = store.fault = Gate()
        while ana.wire.is_read():
            ana.write("some text")
            await settle()
        assert bob.wire.is_read()
        gate.open.set()
        await settle()
        assert ana.wire.is_read()
        assert bob.shows() == ana.shows()


# Presence.


def presence(client: int, clock: int, state: bytes) -> bytes:
    assert clock < 128
    return bytes([1, client, clock, len(state)]) + state


def heard(client: int, clock: int, state: bytes, user: str = "ana") -> bytes:
    """What everybody is told of it."""
    return presence(client, clock, signed(state, user, "member"))


@in_virtual_time
async def test_presence_is_echoed_once_a_turn_and_joiners_get_it() -> None:
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        room = await node.join(ana)
        await node.join(bob)
        for clock in (0, 1, 2):
            room.present(ana.session, presence(1, clock, b"{}"))
        await settle()
        assert ana.hear().presence == bob.hear().presence == [heard(1, 2, b"{}")]
        assert room.awareness_update() == heard(1, 2, b"{}")


@in_virtual_time
async def test_presence_goes_at_once_with_its_session() -> None:
    """A9."""
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        room = await node.join(ana)
        await node.join(bob)
        room.present(ana.session, presence(1, 1, b"{}"))
        await settle()
        node.leave(ana)
        await settle()
        assert bob.hear().presence[-1] == presence(1, 1, b"null")
        assert room.awareness_update() == b"\x00"


@in_virtual_time
async def test_presence_of_a_silent_client_expires() -> None:
    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        room = await node.join(ana)
        await node.join(bob)
        room.present(ana.session, presence(1, 1, b"{}"))
        await asyncio.sleep(25)
        assert len(bob.hear().presence) == 1
        await asyncio.sleep(9)
        assert bob.hear().presence[-1] == presence(1, 1, b"null")


@in_virtual_time
async def test_malformed_presence_closes_its_session() -> None:
    async with house() as node:
        ana = Peer()
        room = await node.join(ana)
        room.present(ana.session, b"\x05\x01")
        assert ana.wire.closed == (close_codes.BAD_REQUEST, MALFORMED)


# Big documents.


@in_virtual_time
async def test_a_big_document_is_merged_and_diffed_by_the_engine_and_stays_in_order() -> None:
    async with house(SMALL) as node:
        ana, slow, joiner = Peer("ana", client=1), Peer("slow", client=2), Peer("joiner", client=3)
        await node.join(ana)
        for _ in range(40):
            ana.write("some more text ")
            await settle()
        release = asyncio.Event()

        async def wait(job: str, key: IssueKey) -> None:
            await release.wait()

        node.engine.before = wait
        joiner.doc.apply_update(ana.doc.get_update())
        ana.write("after")
        await settle()
        await node.join(slow)
        await node.join(joiner)
        ana.write("while it computes")
        await settle()
        assert (slow.shows(), slow.wire.frames) == ("", [])
        release.set()
        await settle()
        assert slow.shows() == joiner.shows() == ana.shows()
        assert node.engine.ran.count("Merge") == 1
        ana.write("live")
        await settle()
        assert slow.shows() == joiner.shows() == ana.shows()


@in_virtual_time
async def test_joiners_of_one_version_share_one_merge() -> None:
    """M14: a join storm."""
    async with house(SMALL) as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        for _ in range(40):
            ana.write("some more text ")
            await settle()
        joiners = [Peer(f"user{number}", client=number + 2) for number in range(50)]
        await asyncio.gather(*(node.join(joiner) for joiner in joiners))
        await settle()
        assert all(joiner.shows() == ana.shows() for joiner in joiners)
        assert node.engine.ran == ["Merge"]


@in_virtual_time
async def test_a_large_update_is_checked_by_the_engine_and_what_follows_waits_its_turn() -> None:
    async with house(SMALL) as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob)
        ana.write("small ")
        ana.write("x" * 500)
        ana.write(" small")
        await settle()
        assert bob.shows() == ana.shows()
        assert "Check" in node.engine.ran
        assert [type(outcome) for outcome in ana.outcomes] == [Stored] * 3
        assert len(await node.store.page(node.workspace.id, 0, 10)) == 3


@in_virtual_time
async def test_other_nodes_commits_wait_while_the_index_is_with_the_engine() -> None:
    store = MemoryStore()
    async with house(SMALL, store=store) as here, house(store=store) as there:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await here.join(ana)
        await there.join(bob)

        async def meanwhile(job: str, key: IssueKey) -> None:
            bob.write("theirs ")
            await asyncio.sleep(5)

        here.engine.before = meanwhile
        ana.write("x" * 500)
        await asyncio.sleep(10)
        here.engine.before = at_once
        await asyncio.sleep(10)
        ana.hear().write("!")
        await asyncio.sleep(10)
        assert ana.shows() == bob.shows()
        assert "theirs" in ana.shows()


async def _failed(job: str, key: IssueKey) -> None:
    raise EngineFailed(key, "crashed")


async def _unavailable(job: str, key: IssueKey) -> None:
    raise EngineUnavailable("full")


@in_virtual_time
async def test_an_issue_that_kills_its_engine_is_quarantined_and_still_synced() -> None:
    async with house(SMALL) as node:
        ana, bob, joiner = Peer("ana", client=1), Peer("bob", client=2), Peer("joiner", client=3)
        room = await node.join(ana)
        await node.join(bob)
        node.engine.before = _failed
        room.submit(bob.session, bob.edit("x" * 500))
        await settle()
        assert bob.wire.closed == (close_codes.TOO_MUCH, TOO_LARGE)
        assert len(await node.store.quarantined()) == 1
        for _ in range(40):
            ana.write("some more text ")
            await settle()
        await node.join(joiner)
        await settle()
        assert joiner.shows() == ana.shows() != ""


@in_virtual_time
async def test_without_an_engine_joiners_of_a_big_document_are_told_to_come_back() -> None:
    async with house(SMALL) as node:
        ana, joiner = Peer("ana", client=1), Peer("joiner", client=3)
        await node.join(ana)
        for _ in range(40):
            ana.write("some more text ")
            await settle()
        node.engine.before = _unavailable
        await node.join(joiner)
        await settle()
        assert joiner.wire.closed == (close_codes.TRY_LATER, "busy")
        assert ana.wire.close_code() is None
        assert await node.store.quarantined() == []


# Failures.


@pytest.mark.parametrize("moment", ["before", "after"])
@in_virtual_time
async def test_a_failed_commit_forgets_the_room_and_the_clients_bring_it_again(moment: str) -> None:
    """L10: the outcome is unknown, so only the log is believed; nothing is lost either way."""
    store = MemoryStore()
    async with house(store=store) as node:
        ana, bob, elsewhere = Peer("ana", client=1), Peer("bob", client=2), Peer("eli", client=3)
        await node.join(ana)
        await node.join(bob)
        await node.join(elsewhere, issue=ISSUE.__class__(int=8))
        gate = store.fault = Gate(failure=StoreUnavailable("gone"), moment=moment)
        gate.open.set()
        ana.write("hello")
        await settle()
        assert ana.wire.close_code() is not None
        assert bob.wire.close_code() is not None
        assert ana.wire.close_code() == bob.wire.close_code() == close_codes.TRY_LATER
        assert (ana.outcomes, bob.shows(), elsewhere.wire.closed) == ([], "", None)
        gate.failure = None
        again, reader = Peer("ana", client=1), Peer("bob", client=4)
        again.doc.apply_update(ana.doc.get_update())
        await node.join(again)
        await node.join(reader)
        again.send(again.doc.get_update())
        await settle()
        assert reader.shows() == "hello"
        assert [type(outcome) for outcome in again.outcomes] == [Stored]
        assert len(await store.page(node.workspace.id, 0, 10)) == 1


@in_virtual_time
async def test_an_appender_that_takes_nothing_more_sends_everybody_away_to_come_back() -> None:
    async with house() as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        await node.appender.close()
        ana.write("hello")
        await settle()
        assert (ana.wire.close_code(), ana.outcomes) == (close_codes.TRY_LATER, [])
        assert node.counted("loop_failures_total", loop="room turn") == 0


@in_virtual_time
async def test_an_overloaded_appender_is_waited_for_then_given_up() -> None:
    store = MemoryStore()
    limits = HubLimits(room=RoomLimits(overload_timeout=5))
    async with house(limits, store=store, max_queued_bytes=1_000, commit_timeout=600.0) as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob, issue=ISSUE.__class__(int=8))
        gate = store.fault = Gate()
        ana.write("x" * 900)
        await settle()
        bob.write("y" * 900)
        await asyncio.sleep(4)
        assert bob.wire.close_code() is None
        gate.open.set()
        await asyncio.sleep(1)
        assert bob.outcomes == [Stored(2)]
        gate.open.clear()
        ana.write("x" * 900)
        await settle()
        bob.write("y" * 900)
        await asyncio.sleep(6)
        assert bob.wire.close_code() == close_codes.TRY_LATER


@in_virtual_time
async def test_a_defect_in_one_room_costs_that_room_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A10, L24."""

    def explode(*args: object) -> None:
        raise ZeroDivisionError

    async with house() as node:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await node.join(ana)
        await node.join(bob, issue=ISSUE.__class__(int=8))
        with monkeypatch.context() as patch:
            patch.setattr(VirtualClock, "now", explode)
            ana.write("boom")
            await settle()
        bob.write("fine")
        await settle()
        assert ana.wire.close_code() == close_codes.INTERNAL_ERROR
        assert bob.outcomes == [Stored(1)]
        assert node.counted("loop_failures_total", loop="room turn") == 1


@in_virtual_time
async def test_rooms_and_sessions_are_released() -> None:
    """M5, M7, M8: connect, edit, disconnect, at every phase."""
    async with house(HubLimits(idle_timeout=1)) as node:
        for number in range(300):
            peer = Peer("ana", client=number + 1)
            room = await node.join(peer, issue=ISSUE.__class__(int=number % 7))
            if number % 3:
                peer.write("x")
            if number % 2:
                await settle()
                room.present(peer.session, presence(1, 1, b"{}"))
            node.leave(peer)
        del peer, room
        await asyncio.sleep(60)
        gc.collect()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Room | Session | Presence)]
        assert (node.counted("rooms"), node.counted("sessions")) == (0, 0)
