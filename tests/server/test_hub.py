"""The hub: opening, sharing, dropping and draining rooms, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import gc
from uuid import UUID

import pytest

from crdt.native import Nack, Welcome
from server import close_codes
from server.doors.native.limits import NativeLimits
from server.feeder import Feeder
from server.gaps import Gaps
from server.intake import Intake
from server.limits import HubLimits, RoomLimits
from server.presence import Presence
from server.room import Room
from server.session import Stored
from storage.engine import IssueKey
from storage.errors import Corrupt, StoreUnavailable
from storage.memory import MemoryStore
from storage.store import Snapshot
from tests.conftest import without_collector
from tests.server.house import ISSUE, Peer, house, settle, start_house
from tests.server.native_house import native_house
from tests.simulation.time import START, in_virtual_time


class Fault:
    """Slows one operation down until released, counts it, and may fail it."""

    def __init__(self, operation: str, *, failure: Exception | None = None, moment: str = "before") -> None:
        self.operation = operation
        self.moment = moment
        self.failure = failure
        self.calls = 0
        self.release = asyncio.Event()

    async def __call__(self, moment: str, operation: str) -> None:
        if (moment, operation) == (self.moment, self.operation):
            self.calls += 1
            await self.release.wait()
            if self.failure is not None:
                raise self.failure


async def _filled(store: MemoryStore) -> None:
    async with house(store=store) as node:
        ana = Peer("ana", client=99)
        await node.join(ana)
        ana.write("stored")
        await settle()


@in_virtual_time
async def test_fifty_joins_during_a_slow_load_share_it() -> None:
    """L2, L15."""
    store = MemoryStore()
    await _filled(store)
    async with house(store=store) as node:
        fault = store.fault = Fault("load_many")
        peers = [Peer(f"user{number}", client=number + 1) for number in range(50)]
        joins = [asyncio.create_task(node.join(peer)) for peer in peers]
        await settle()
        assert not any(join.done() for join in joins)
        fault.release.set()
        rooms = await asyncio.gather(*joins)
        assert (fault.calls, len({id(room) for room in rooms})) == (1, 1)
        assert all(peer.shows() == "stored" for peer in peers)


@pytest.mark.parametrize("turns", range(12))
@in_virtual_time
async def test_a_join_at_any_turn_of_a_load_gets_its_room(turns: int) -> None:
    """One that came between the end of the load's task and its callback span for ever."""
    async with house() as node:
        first = asyncio.create_task(node.join(Peer("ana", client=1)))
        for _ in range(turns):
            await asyncio.sleep(0)
        late = await node.join(Peer("bob", client=2))
        assert late is await first


@in_virtual_time
async def test_a_failed_load_fails_the_join_and_is_not_remembered() -> None:
    """L1, L18: never an empty document in its place."""
    store = MemoryStore()
    await _filled(store)
    async with house(store=store) as node:
        fault = store.fault = Fault("load_many", failure=StoreUnavailable("gone"))
        fault.release.set()
        ana = Peer("ana", client=1)
        with pytest.raises(StoreUnavailable):
            await node.join(ana)
        assert (ana.wire.frames, node.hub.rooms) == ([], [])
        fault.failure = None
        await node.join(ana)
        assert ana.shows() == "stored"


@in_virtual_time
async def test_a_load_that_hangs_fails_the_join() -> None:
    store = MemoryStore()
    async with house(HubLimits(load_timeout=3), store=store) as node:
        store.fault = Fault("load_many")
        with pytest.raises(StoreUnavailable):
            await node.join(Peer())


@in_virtual_time
async def test_a_joiner_that_gives_up_does_not_end_the_load_of_the_others() -> None:
    """A11."""
    store = MemoryStore()
    await _filled(store)
    async with house(store=store) as node:
        fault = store.fault = Fault("load_many")
        hasty, patient = Peer("ana", client=1), Peer("bob", client=2)
        first = asyncio.create_task(node.join(hasty))
        second = asyncio.create_task(node.join(patient))
        await settle()
        first.cancel()
        await settle()
        fault.release.set()
        await second
        assert (first.cancelled(), fault.calls, patient.shows()) == (True, 1, "stored")
        assert node.counted("sessions") == 1


@in_virtual_time
async def test_a_damaged_snapshot_is_never_served() -> None:
    store = MemoryStore()
    await _filled(store)
    async with house(store=store) as node:
        damaged = Snapshot(node.workspace.id, ISSUE, 1, 1, b"\x00\x00", b"damaged", START)
        await store.save_snapshot(damaged)
        with pytest.raises(Corrupt):
            await node.join(Peer())


@in_virtual_time
async def test_a_join_waits_for_the_last_commit_of_a_room_that_is_gone() -> None:
    """L6, L21: reading before it has landed would lose it."""
    store = MemoryStore()
    async with house(store=store) as node:
        ana, again = Peer("ana", client=1), Peer("bob", client=2)
        room = await node.join(ana)
        fault = store.fault = Fault("append")
        ana.write("on its way")
        await settle()
        room.close(close_codes.RESTART, "as a test wants it")
        join = asyncio.create_task(node.join(again))
        await settle()
        assert not join.done()
        fault.release.set()
        await join
        await asyncio.sleep(1)
        assert again.shows() == "on its way"


@pytest.mark.parametrize("turns", range(0, 40, 3))
@in_virtual_time
async def test_reconnecting_at_any_point_of_an_unload_loses_nothing(turns: int) -> None:
    """L3, L4."""
    store = MemoryStore()
    async with house(HubLimits(idle_timeout=1, sweep_interval=1), store=store) as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        ana.write("one ")
        node.leave(ana)
        for _ in range(turns):
            await asyncio.sleep(0.1 if turns > 20 else 0)
        again, reader = Peer("ana", client=2), Peer("bob", client=3)
        again.doc.apply_update(ana.doc.get_update())
        await asyncio.gather(node.join(again), node.join(reader))
        again.write("two")
        again.send(again.doc.get_update())
        await settle()
        assert reader.shows() == "one two"
        assert len([room for room in node.hub.rooms if room.key.issue_id == ISSUE]) == 1


@in_virtual_time
async def test_an_idle_room_is_dropped_and_the_compactor_hears_of_it() -> None:
    async with house(HubLimits(idle_timeout=10)) as node:
        ana = Peer()
        room = await node.join(ana)
        ana.write("hello")
        node.leave(ana)
        assert node.idle == []
        await settle()
        assert node.idle == [IssueKey(node.workspace.id, ISSUE)]
        await asyncio.sleep(5)
        assert node.hub.rooms == [room]
        await asyncio.sleep(20)
        assert node.hub.rooms == []
        await node.join(ana)
        assert ana.shows() == "hello"


@in_virtual_time
async def test_nothing_of_a_dropped_room_waits_for_the_collector_of_cycles() -> None:
    with without_collector():
        async with house(HubLimits(idle_timeout=10)) as node:
            ana, bob = Peer(), Peer("bob", client=2)
            await node.join(ana)
            await node.join(bob)
            ana.write("hello")
            ana.edit("is lost on the way")
            ana.write(" again")  # a gap: ana is asked
            await settle()
            for peer in (ana, bob):
                node.leave(peer)
                peer.room = None
            await asyncio.sleep(60)
            assert node.hub.rooms == []
            assert not [one for one in gc.get_objects() if isinstance(one, (Room, Intake, Gaps, Feeder, Presence))]


@in_virtual_time
async def test_a_room_with_somebody_in_it_is_never_dropped() -> None:
    async with house(HubLimits(idle_timeout=1, max_resident_bytes=0)) as node:
        ana = Peer()
        room = await node.join(ana)
        await asyncio.sleep(100)
        assert node.hub.rooms == [room]


@in_virtual_time
async def test_the_least_recently_used_idle_room_makes_room() -> None:
    async with house(HubLimits(max_rooms=2, idle_timeout=1_000)) as node:
        for number in (1, 2, 3):
            peer = Peer(client=number)
            await node.join(peer, issue=UUID(int=number))
            node.leave(peer)
        assert [room.key.issue_id.int for room in node.hub.rooms] == [2, 3]


@in_virtual_time
async def test_a_room_whose_sessions_only_linger_makes_room() -> None:
    async with house(HubLimits(max_rooms=2, idle_timeout=1_000)) as node:
        staying, lingering, busy = Peer(client=1), Peer(client=2), Peer(client=3)
        for number, peer in enumerate((staying, lingering), start=1):
            await node.join(peer, issue=UUID(int=number))
        lingering.session.is_lingering = True
        lingering.write("hello")
        await settle()
        await node.join(busy, issue=UUID(int=3))
        assert [room.key.issue_id.int for room in node.hub.rooms] == [1, 3]
        assert lingering.outcomes == [Stored(1)]
        assert lingering.wire.close_code() == close_codes.RESTART
        assert node.idle == []  # the compactor hears of issues that nobody is in


@in_virtual_time
async def test_a_session_that_has_something_to_do_again_keeps_its_room() -> None:
    async with house(HubLimits(max_rooms=1, idle_timeout=1_000)) as node:
        ana, bob = Peer(client=1), Peer(client=2)
        room = await node.join(ana)
        ana.session.is_lingering = True
        ana.write("hello")
        await settle()
        ana.session.is_lingering = False
        with pytest.raises(StoreUnavailable):
            await node.join(bob, issue=UUID(int=3))
        assert node.hub.rooms == [room]


@in_virtual_time
async def test_a_push_of_more_issues_than_may_be_open_goes_through() -> None:
    """Each is open for a moment: those that were answered make room for those that come."""
    async with native_house(NativeLimits(push_entries=20), hub_limits=HubLimits(max_rooms=30)) as node:
        ana = node.client()
        ana.connect()
        await ana.until(Welcome)
        for window in range(20):
            for number in range(20):
                ana.write(UUID(int=1 + 20 * window + number), "new")
            await settle()
            ana.hear()
        assert len(ana.acked) == 400
        assert not [frame for frame in ana.heard if isinstance(frame, Nack)]
        assert len(node.house.hub.rooms) <= 30


@in_virtual_time
async def test_idle_rooms_above_the_bytes_bound_are_dropped() -> None:
    async with house(HubLimits(max_resident_bytes=3_000, idle_timeout=1_000)) as node:
        for number in (1, 2, 3):
            peer = Peer(client=number)
            await node.join(peer, issue=UUID(int=number))
            peer.write("x" * 1_400)
            await settle()
            node.leave(peer)
        await asyncio.sleep(10)
        assert [room.key.issue_id.int for room in node.hub.rooms] == [2, 3]


@in_virtual_time
async def test_a_full_hub_and_a_full_room_say_so() -> None:
    async with house(HubLimits(max_rooms=1, room=RoomLimits(max_sessions=1))) as node:
        await node.join(Peer(client=1))
        for issue in (ISSUE, UUID(int=8)):
            late = Peer(client=2)
            with pytest.raises(StoreUnavailable):
                await node.join(late, issue=issue)
            assert late.wire.close_code() == close_codes.TRY_LATER


@in_virtual_time
async def test_drain_commits_what_is_here_and_closes_with_1012() -> None:
    """L9."""
    store = MemoryStore()
    async with house(store=store) as node:
        ana, late = Peer("ana", client=1), Peer("late", client=2)
        await node.join(ana)
        fault = store.fault = Fault("append")
        ana.write("one ")
        await settle()
        ana.write("two")
        drain = asyncio.create_task(node.hub.drain("restart", timeout=5))
        await settle()
        ana.write("too late")
        with pytest.raises(StoreUnavailable):
            await node.join(late)
        assert late.wire.closed == (close_codes.RESTART, "server restart")
        assert not drain.done()
        fault.release.set()
        await drain
        assert ana.outcomes == [Stored(1), Stored(2)]
        assert ana.wire.closed == (close_codes.RESTART, "restart")
        assert len(await store.page(node.workspace.id, 0, 10)) == 2


@in_virtual_time
async def test_drain_ends_in_time_even_when_the_store_hangs() -> None:
    store = MemoryStore()
    async with house(store=store, commit_timeout=600.0) as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        store.fault = Fault("append")
        ana.write("hello")
        await settle()
        started = asyncio.get_running_loop().time()
        await node.hub.drain("restart", timeout=5)
        assert asyncio.get_running_loop().time() - started < 6
        assert ana.wire.closed == (close_codes.RESTART, "restart")
        assert ana.outcomes == []


@in_virtual_time
async def test_joins_under_way_are_turned_away_by_a_drain() -> None:
    store = MemoryStore()
    async with house(store=store) as node:
        store.fault = Fault("load_many")
        ana = Peer()
        join = asyncio.create_task(node.join(ana))
        await settle()
        await node.hub.drain("restart", timeout=1)
        with pytest.raises(StoreUnavailable):
            await join
        assert ana.wire.closed == (close_codes.RESTART, "server restart")


@in_virtual_time
async def test_what_was_committed_survives_a_crash_at_any_moment() -> None:
    """L12, L16: whoever was told, or promised, is right."""
    store = MemoryStore()
    text = ""
    for crash in range(20):
        node = await start_house(store)
        ana, bob = Peer("ana", client=2 * crash + 1), Peer("bob", client=2 * crash + 2)
        await node.join(ana)
        await node.join(bob)
        assert ana.shows() == text
        ana.write(f"{crash} ")
        for _ in range(crash):
            await asyncio.sleep(0)
        seen, promised = bob.shows(), bool(ana.outcomes)
        await node.stop()
        stored = [d for d in await store.page(node.workspace.id, 0, 1_000) if d.seq]
        if promised or seen != text:
            assert seen in (text, f"{text}{crash} ")
            text = f"{text}{crash} "
        elif len(stored) > len(text.split()):
            text = f"{text}{crash} "


@in_virtual_time
async def test_a_long_tail_is_folded_by_the_engine() -> None:
    store = MemoryStore()
    async with house(store=store) as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        for _ in range(50):
            ana.write("some more text ")
            await settle()
    async with house(HubLimits(room=RoomLimits(max_inline_bytes=500)), store=store) as node:
        bob = Peer("bob", client=2)
        await node.join(bob)
        await settle()
        assert bob.shows() == ana.shows()
        assert node.engine.ran[0] == "Compact"
        bob.write("!")
        await settle()
        assert bob.outcomes == [Stored(51)]
