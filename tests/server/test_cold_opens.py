"""Cold opens: what is asked for together is read together, and nobody suffers for anybody else's issue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from server import close_codes
from server.cold_opens import AT_ONCE, BATCH
from server.limits import HubLimits
from storage.errors import Corrupt, StoreUnavailable
from storage.memory import MemoryStore
from storage.postgres import PostgresStore
from storage.store import NewDelta, Store, StoredIssue
from tests.conftest import execute
from tests.server.house import House, Peer, house, settle
from tests.simulation.time import START, in_virtual_time


class ReadStore(MemoryStore):
    """Keeps what was read together. A read waits while its number is in `held`, then fails if it is in `failing`; an
    issue in `damaged` fails every read it is part of, as one with a wrong checksum does."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[list[int]] = []
        self.held: dict[int, asyncio.Event] = {}
        self.failing: set[int] = set()
        self.damaged: set[int] = set()

    async def load_many(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, StoredIssue]:
        number = len(self.reads)
        self.reads.append([issue.int for issue in issue_ids])
        if number in self.held:
            await self.held[number].wait()
        if number in self.failing:
            raise StoreUnavailable("gone")
        for issue in issue_ids:
            if issue.int in self.damaged:
                raise Corrupt(f"issue {issue.int}")
        return await super().load_many(workspace_id, issue_ids)

    def hold(self, number: int) -> asyncio.Event:
        """Let that read wait for what is returned."""
        return self.held.setdefault(number, asyncio.Event())


def joining(node: House, *issues: int) -> list[asyncio.Task[object]]:
    """Somebody on their way into each of these."""
    return [asyncio.create_task(node.join(Peer(client=number), UUID(int=number))) for number in issues]


async def outcomes(joins: Sequence[asyncio.Task[object]]) -> list[type]:
    """What became of them, by type."""
    return [type(outcome) for outcome in await asyncio.gather(*joins, return_exceptions=True)]


async def write(store: Store, issue: int, *updates: bytes) -> None:
    workspace = await store.create_workspace("main", "Main")
    await store.append([NewDelta(workspace.id, UUID(int=issue), update, "ana", None, START) for update in updates])


def typed(count: int, client: int) -> list[bytes]:
    ana = Peer(client=client)
    return [ana.edit(f"{number} ") for number in range(count)]


@in_virtual_time
async def test_what_is_asked_for_in_one_turn_is_read_at_once() -> None:
    store = ReadStore()
    async with house(store=store) as node:
        await asyncio.gather(*joining(node, *range(1, 41)))
        assert store.reads == [list(range(1, 41))]
        assert node.counted("loads_total", outcome="opened") == 40


@in_virtual_time
async def test_what_is_asked_for_during_reads_is_the_next_batch_and_a_batch_is_bounded() -> None:
    store = ReadStore()
    held = [store.hold(number) for number in range(AT_ONCE)]
    async with house(store=store) as node:
        joins = []
        for issue in range(1, AT_ONCE + BATCH + 11):
            joins += joining(node, issue)
            await settle()
        assert store.reads == [[number + 1] for number in range(AT_ONCE)]
        held[0].set()
        await settle()
        assert [len(read) for read in store.reads[AT_ONCE:]] == [BATCH, 10]
        held[1].set()
        await asyncio.gather(*joins)


@in_virtual_time
async def test_a_failed_read_fails_its_batch_and_no_other() -> None:
    store = ReadStore()
    store.failing = {1}
    async with house(store=store) as node:
        joins = joining(node, *range(1, 2 * BATCH + 1))
        found = await outcomes(joins)
        assert set(found[:BATCH]).isdisjoint({StoreUnavailable})
        assert set(found[BATCH:]) == {StoreUnavailable}
        assert len(node.hub.rooms) == BATCH
        await asyncio.gather(*joining(node, 2 * BATCH))  # it is not remembered


@in_virtual_time
async def test_a_damaged_issue_fails_alone() -> None:
    """It is found by halves: in a batch of 32 that takes eleven reads, not 33."""
    store = ReadStore()
    await write(store, 5, *typed(1, client=99))
    store.damaged = {7}
    async with house(store=store) as node:
        found = await outcomes(joining(node, *range(1, 33)))
        assert [number for number, kind in enumerate(found, start=1) if kind is Corrupt] == [7]
        assert StoreUnavailable not in found
        assert len(node.hub.rooms) == 31
        assert len(store.reads) == 11
        again = Peer(client=100)
        await node.join(again, UUID(int=5))
        assert again.shows() == "0 "


@in_virtual_time
async def test_unsound_bytes_in_a_batch_fail_their_issue_alone() -> None:
    store = ReadStore()
    await write(store, 2, b"\xff\xff")
    await write(store, 3, *typed(100, client=99)[:-1], b"\xff\xff")  # longer than a turn
    async with house(store=store) as node:
        found = await outcomes(joining(node, 1, 2, 3, 4))
        assert [kind is Corrupt for kind in found] == [False, True, True, False]
        assert [len(read) for read in store.reads] == [4]


async def test_a_damaged_row_in_postgres_fails_its_issue_alone(store: PostgresStore, dsn: str) -> None:
    for issue in (1, 2, 3):
        await write(store, issue, *typed(2, client=issue))
    await execute(dsn, "UPDATE deltas SET checksum = checksum + 1 WHERE seq = 4")
    async with house(store=store) as node:
        found = await outcomes(joining(node, 1, 2, 3, 4))
        assert [kind is Corrupt for kind in found] == [False, True, False, False]
        reader = Peer(client=9)
        await node.join(reader, UUID(int=3))
        assert reader.shows() == "0 1 "


@in_virtual_time
async def test_tails_of_any_length_are_opened_whole() -> None:
    store = ReadStore()
    lengths = {1: 0, 2: 1, 3: 63, 4: 64, 5: 65, 6: 300}
    for issue, length in lengths.items():
        await write(store, issue, *typed(length, client=100 + issue))
    async with house(store=store) as node:
        peers = {issue: Peer(client=issue) for issue in lengths}
        await asyncio.gather(*[node.join(peer, UUID(int=issue)) for issue, peer in peers.items()])
        for issue, length in lengths.items():
            assert peers[issue].shows() == "".join(f"{number} " for number in range(length))
        assert len(store.reads) == 1


@in_virtual_time
async def test_a_read_that_hangs_does_not_stop_the_others_and_ends_in_time() -> None:
    store = ReadStore()
    store.hold(0)
    async with house(HubLimits(load_timeout=3), store=store) as node:
        stuck = joining(node, 1)
        await settle()
        await asyncio.gather(*joining(node, 2, 3))
        assert await outcomes(stuck) == [StoreUnavailable]
        assert asyncio.get_running_loop().time() == pytest.approx(3)


@in_virtual_time
async def test_a_join_behind_reads_that_hang_fails_after_its_own_time() -> None:
    """And what was waiting behind them is read when they have been given up."""
    store = ReadStore()
    for number in range(AT_ONCE):
        store.hold(number)
    async with house(HubLimits(load_timeout=3), store=store) as node:
        stuck = []
        for issue in range(AT_ONCE):
            stuck += joining(node, issue + 1)
            await settle()
        await asyncio.sleep(2)
        late = joining(node, 10)
        assert await outcomes(stuck) == [StoreUnavailable] * AT_ONCE
        assert asyncio.get_running_loop().time() == pytest.approx(3)
        await asyncio.gather(*late)
        assert store.reads[AT_ONCE:] == [[10]]


@in_virtual_time
async def test_a_join_that_ran_out_of_time_in_the_queue_is_not_read() -> None:
    store = ReadStore()
    async with house(HubLimits(load_timeout=3), store=store) as node:
        stuck = []
        for number in range(AT_ONCE):
            store.hold(number)
            stuck += joining(node, number + 1)
            await settle()
        await asyncio.sleep(1)
        for number in range(AT_ONCE, 2 * AT_ONCE):  # these are read when the first are given up
            store.hold(number)
            stuck += joining(node, *range(100 * number, 100 * number + BATCH))
        late = joining(node, 9_999)
        assert await outcomes(late) == [StoreUnavailable]
        assert asyncio.get_running_loop().time() == pytest.approx(4)
        assert set(await outcomes(stuck)) == {StoreUnavailable}
        await asyncio.sleep(10)
        assert 9_999 not in [issue for read in store.reads for issue in read]


@in_virtual_time
async def test_what_a_read_answers_after_it_was_given_up_is_nobodys() -> None:
    """A later read is the newer one: what the first answers must not take the place of its room."""
    store = ReadStore()
    held = [store.hold(number) for number in range(AT_ONCE + 1)]
    async with house(HubLimits(load_timeout=3), store=store) as node:
        others = []
        for number in range(AT_ONCE):
            others += joining(node, 100 + number)
            await settle()
        given_up = joining(node, 1)
        await asyncio.sleep(2)
        held[0].set()  # issue 1 is read from now on, for longer than it may wait
        assert await outcomes(given_up) == [StoreUnavailable]
        ana = Peer("ana", client=1)
        room = await node.join(ana, UUID(int=1))
        held[AT_ONCE].set()
        await settle()
        assert store.reads[AT_ONCE:] == [[1], [1]]
        assert [each for each in node.hub.rooms if each.key.issue_id.int == 1] == [room]
        await outcomes(others)


@in_virtual_time
async def test_a_room_that_is_still_leaving_does_not_hold_up_the_batch() -> None:
    store = ReadStore()
    async with house(store=store) as node:
        ana = Peer("ana", client=1)
        room = await node.join(ana, UUID(int=1))
        committing = asyncio.Event()

        async def slow_commit(moment: str, operation: str) -> None:
            if (moment, operation) == ("before", "append"):
                await committing.wait()

        store.fault = slow_commit
        ana.write("on its way")
        await settle()
        room.close(close_codes.RESTART, "as a test wants it")
        waiting, *others = joining(node, 1, 2, 3)
        await asyncio.gather(*others)
        assert not waiting.done()
        committing.set()
        await waiting
        assert store.reads == [[1], [2, 3], [1]]
