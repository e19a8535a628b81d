"""The relay: what other nodes commit comes here once, in order, and nothing of our own comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from server.limits import RelayLimits
from server.metrics import Metrics
from server.relay import LogRelay
from server.session import Stored
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore
from storage.store import Delta, NewDelta, Workspace
from tests.server.house import Peer, house, settle
from tests.simulation.time import START, in_virtual_time

ISSUE = UUID(int=1)


class Follower:
    """A relay over a store, and the seqs it fed."""

    def __init__(self, store: MemoryStore, workspace: Workspace, interval: float = 0.25) -> None:
        self.store = store
        self.workspace = workspace
        self.metrics = Metrics()
        self.relay = LogRelay(store, RelayLimits(interval=interval, page=3), self.metrics)
        self.relay.deliver_to(self._take)
        self.fed: list[int] = []
        self.task = asyncio.create_task(self.relay.run())

    def _take(self, deltas: Sequence[Delta]) -> None:
        self.fed.extend(delta.seq for delta in deltas)

    async def others_commit(self, count: int = 1) -> list[int]:
        """Another node appends."""
        new = NewDelta(self.workspace.id, ISSUE, b"\x00\x00", "eve", None, START)
        return await self.store.append([new] * count)

    async def commit(self, count: int = 1) -> list[int]:
        """This node appends, and its rooms report it."""
        seqs = await self.others_commit(count)
        self.relay.committed(self.workspace.id, seqs)
        return seqs


async def _follower(interval: float = 0.25) -> Follower:
    store = MemoryStore()
    follower = Follower(store, await store.create_workspace("main", "Main"), interval)
    await follower.others_commit(2)
    await follower.relay.follow(follower.workspace)
    return follower


@in_virtual_time
async def test_what_was_there_before_is_not_fed_and_what_comes_is_fed_once_in_order() -> None:
    follower = await _follower()
    await follower.others_commit(10)
    await asyncio.sleep(1)
    await follower.others_commit(1)
    await asyncio.sleep(1)
    assert follower.fed == list(range(3, 14))


@in_virtual_time
async def test_own_commits_are_not_fed() -> None:
    follower = await _follower()
    await follower.commit(5)
    await follower.others_commit(1)
    await follower.commit(2)
    await asyncio.sleep(1)
    assert follower.fed == [8]


@in_virtual_time
async def test_a_commit_that_reveals_foreign_seqs_wakes_it_at_once() -> None:
    follower = await _follower(interval=3_600)
    await follower.others_commit(1)
    await follower.commit(1)
    await settle()
    assert follower.fed == [3]


@in_virtual_time
async def test_rooms_that_share_a_batch_reveal_nothing_foreign() -> None:
    follower = await _follower(interval=3_600)
    first, second, third = await follower.others_commit(3)
    follower.relay.committed(follower.workspace.id, [first, third])
    follower.relay.committed(follower.workspace.id, [second])
    await settle()
    assert follower.fed == []
    assert follower.metrics.registry.get_sample_value("syncline_relay_pages_total") == 0


@in_virtual_time
async def test_catching_up_returns_when_everything_committed_before_was_fed() -> None:
    follower = await _follower(interval=3_600)
    await follower.others_commit(4)
    await asyncio.gather(*(follower.relay.catch_up(follower.workspace.id) for _ in range(20)))
    assert follower.fed == [3, 4, 5, 6]
    assert follower.metrics.registry.get_sample_value("syncline_relay_pages_total") == 2


@in_virtual_time
async def test_it_backs_off_while_the_store_is_away_and_goes_on_after() -> None:
    follower = await _follower()
    calls = 0

    async def away(moment: str, operation: str) -> None:
        nonlocal calls
        calls += 1
        raise StoreUnavailable("gone")

    seqs = await follower.others_commit(1)
    follower.store.fault = away
    await asyncio.sleep(60)
    assert 10 < calls < 30
    follower.store = follower.store
    follower.store.fault = _fine
    await asyncio.sleep(10)
    assert follower.fed == seqs


async def _fine(moment: str, operation: str) -> None:
    pass


@in_virtual_time
async def test_a_workspace_nobody_is_in_is_not_read() -> None:
    follower = await _follower()
    follower.relay.keep_only([])
    await follower.others_commit(1)
    await asyncio.sleep(5)
    assert follower.fed == []
    await follower.relay.follow(follower.workspace)
    await follower.others_commit(1)
    await asyncio.sleep(5)
    assert follower.fed == [4]


@in_virtual_time
async def test_two_nodes_show_each_others_edits() -> None:
    """D12: node B joins while node A is at work."""
    store = MemoryStore()
    async with house(store=store) as here, house(store=store) as there:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await here.join(ana)
        ana.write("before ")
        await settle()
        await there.join(bob)
        for number in range(20):
            ana.write(f"a{number} ")
            bob.write(f"b{number} ")
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert ana.shows() == bob.shows()
        assert len(ana.shows().split()) == 41
        assert here.counted("foreign_deltas_total") + there.counted("foreign_deltas_total") == 41 - 1


@in_virtual_time
async def test_what_is_committed_elsewhere_during_a_load_is_not_missed() -> None:
    store = MemoryStore()
    async with house(store=store) as here, house(store=store) as there:
        ana, bob = Peer("ana", client=1), Peer("bob", client=2)
        await there.join(bob)
        bob.write("first ")
        await settle()

        async def slow_answer(moment: str, operation: str) -> None:
            if operation == "load_many":
                await asyncio.sleep(0)

        class Late(MemoryStore):
            """Answers a load long after it was read."""

        load_many = store.load_many

        async def late_load(workspace_id: int, issue_ids: Sequence[UUID]) -> object:
            stored = await load_many(workspace_id, issue_ids)
            bob.write("second")
            await asyncio.sleep(3)
            return stored

        store.load_many = late_load  # type: ignore[method-assign,assignment]
        store.fault = slow_answer
        await here.join(ana)
        await asyncio.sleep(1)
        assert ana.shows() == "first second"


@in_virtual_time
async def test_a_foreign_delta_that_breaks_a_room_does_not_stop_the_others() -> None:
    """L24."""
    store = MemoryStore()
    async with house(store=store) as here, house(store=store) as there:
        ana, bob, writer = Peer("ana", client=1), Peer("bob", client=2), Peer("eve", client=3)
        await here.join(ana, issue=UUID(int=1))
        await here.join(bob, issue=UUID(int=2))
        await there.join(writer, issue=UUID(int=2))
        await store.append([NewDelta(here.workspace.id, UUID(int=1), b"\xff\xff", "eve", None, START)])
        writer.write("fine")
        await asyncio.sleep(2)
        assert ana.wire.close_code() is not None
        assert bob.shows() == "fine"


@in_virtual_time
async def test_a_client_that_changes_nodes_does_not_take_over_the_client_ids_of_others() -> None:
    """It brings what it saw elsewhere before the log has brought it here; the owner stays who wrote first."""
    store = MemoryStore()
    async with house(store=store) as here, house(store=store) as there:
        ana, bob, witness = Peer("ana", client=1), Peer("bob", client=2), Peer("eve", client=3)
        await there.join(ana)
        await here.join(witness)
        ana.write("hers ")
        await settle()
        bob.doc.apply_update(ana.doc.get_update())
        await here.join(bob)
        bob.send(bob.doc.get_update())
        await settle()
        there.leave(ana)
        await here.join(ana)
        ana.write("still hers")
        await asyncio.sleep(1)
        assert ana.wire.closed is None
        assert [type(outcome) for outcome in ana.outcomes] == [Stored, Stored]
        assert witness.shows() == bob.shows() == "hers still hers"
