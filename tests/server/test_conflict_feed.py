"""How clients are told of conflicts: who asks, from whatever cursor, ends with exactly what is open in the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from crdt.native import Conflicts, Follow, Refusal
from crdt.native_entries import TOMBSTONE, read_entries
from server.doors.native.limits import NativeLimits
from server.feed import FeedLimits
from server.feed_readers import ConflictLimits
from server.permissions import Role
from storage.conflicts import LOSING, OPEN, UPDATE_UPDATE, USER_DECISION, ConflictQuery, NewConflict, Settlement, Side
from storage.memory import MemoryStore
from storage.store import Workspace
from tests.server.native_client import NativeClient
from tests.server.native_house import NativeHouse, native_house
from tests.server.rest.test_changes import get
from tests.simulation.time import START, in_virtual_time, run_in_virtual_time

ISSUES = [UUID(int=number) for number in range(1, 6)]
SMALL_PAGES = FeedLimits(conflicts=ConflictLimits(rows=2, bytes=300))


class Restored(MemoryStore):
    """Whose history was replaced, once `epoch` is set."""

    epoch: UUID | None = None

    async def workspace(self, slug: str) -> Workspace | None:
        now = await super().workspace(slug)
        return now if now is None or self.epoch is None else replace(now, epoch=self.epoch)


def found(number: int, replaces: int | None = None) -> NewConflict:
    """A conflict that waits for a person."""
    standing = Side("7:3", "done", "ana", "laptop", START)
    losing = Side(f"9:{number}", f"value {number}", "ben", None, START - timedelta(minutes=1))
    supersedes = None if replaces is None else f"9:{replaces}"
    return NewConflict(UPDATE_UPDATE, "status", standing, losing, supersedes, USER_DECISION)


async def record(node: NativeHouse, *numbers: int, issue: UUID = ISSUES[0]) -> None:
    """They are in the ledger."""
    await node.house.store.ledger.note(node.house.workspace.id, issue, 1, [found(one) for one in numbers], START)


async def settle_one(node: NativeHouse, conflict_id: UUID, by: str = "ana") -> None:
    await node.house.store.ledger.settle(node.house.workspace.id, conflict_id, Settlement(LOSING, by, START))


async def open_ones(node: NativeHouse) -> set[str]:
    rows = await node.house.store.ledger.page(node.house.workspace.id, ConflictQuery(limit=10_000, state=OPEN))
    return {str(row.id) for row in rows}


async def ids(node: NativeHouse) -> list[UUID]:
    rows = await node.house.store.ledger.page(node.house.workspace.id, ConflictQuery(limit=10_000))
    return [row.id for row in rows]


async def followed(node: NativeHouse, client: NativeClient | None = None) -> NativeClient:
    """A client that has been told everything."""
    client = client or node.client()
    client.connect()
    await client.follow()
    await client.until_told()
    return client


async def expect_exact(node: NativeHouse, client: NativeClient) -> None:
    await client.until_told()
    assert client.open_conflicts.keys() == await open_ones(node)


@in_virtual_time
async def test_whoever_begins_is_told_what_is_open_and_then_how_it_changes() -> None:
    async with native_house() as node:
        await record(node, 1, 2)
        await settle_one(node, (await ids(node))[0])
        client = await followed(node)
        [told] = client.told_conflicts
        assert (told["state"], told["field"], told["losing"]["value"]) == ("open", "status", "value 2")
        assert told["losing"]["at"] == "2025-12-31T23:59:00Z"
        await record(node, 3)
        await client.until(Conflicts)
        assert client.told_conflicts[-1]["losing"]["value"] == "value 3"
        await settle_one(node, UUID(told["id"]))
        await client.until(Conflicts)
        assert (client.told_conflicts[-1]["resolution"], client.told_conflicts[-1]["resolved_by"]) == ("losing", "ana")
        await expect_exact(node, client)


@in_virtual_time
async def test_who_does_not_ask_is_never_sent_what_it_does_not_know() -> None:
    async with native_house() as node:
        client = node.client()
        client.connect()
        await client.until_live()
        await record(node, 1)
        await asyncio.sleep(10)
        client.hear()
        assert not [frame for frame in client.heard if isinstance(frame, Conflicts)]


@in_virtual_time
async def test_what_is_overwritten_and_decided_at_once_is_told_too() -> None:
    async with native_house() as node:
        client = await followed(node)
        decided = replace(found(1), otherwise="merge_fields")
        await node.house.store.ledger.note(node.house.workspace.id, ISSUES[0], 1, [found(2)], START)
        await client.until(Conflicts)
        await node.house.store.ledger.note(node.house.workspace.id, ISSUES[0], 1, [decided], START)
        await client.until(Conflicts)
        assert [(told["state"], told["resolved_by"]) for told in client.told_conflicts] == [
            ("open", None),
            ("resolved", "system"),
        ]


@in_virtual_time
async def test_what_changed_while_it_was_away_comes_in_pages_from_its_cursor() -> None:
    async with native_house(feed_limits=SMALL_PAGES) as node:
        await record(node, *range(10))
        client = await followed(node)
        client.disconnect()
        for conflict_id in (await ids(node))[:5]:
            await settle_one(node, conflict_id)
        await record(node, *range(10, 15), issue=ISSUES[1])
        frames = len(client.heard)
        await followed(node, client)
        pages = [frame for frame in client.heard[frames:] if isinstance(frame, Conflicts)]
        assert len(pages) == 5
        assert pages[0].from_change == 10
        await expect_exact(node, client)
        assert len(client.open_conflicts) == 10


@in_virtual_time
async def test_conflicts_go_with_their_issue() -> None:
    async with native_house() as node:
        store = node.house.store
        assert isinstance(store, MemoryStore)
        await record(node, 1)
        await record(node, 2, issue=ISSUES[1])
        client = await followed(node)
        store.ledger.forget(node.house.workspace.id, ISSUES[0])
        frame = await client.until(Conflicts)
        assert [entry.kind for entry in read_entries(frame.body, frame.is_packed)] == [TOMBSTONE]
        await expect_exact(node, client)
        assert len(client.open_conflicts) == 1


@pytest.mark.parametrize("place", [(UUID(int=99), 3), (None, 1_000)], ids=["another epoch", "ahead"])
def test_a_cursor_of_another_history_begins_again(place: tuple[UUID | None, int]) -> None:
    async def scenario() -> None:
        async with native_house() as node:
            await record(node, 1, 2, 3, 4)
            client = await followed(node)
            client.open_conflicts["gone"] = {"issue_id": "x"}
            client.disconnect()
            client.conflicts_epoch, client.change = place[0] or client.conflicts_epoch, place[1]
            await followed(node, client)
            await expect_exact(node, client)

    run_in_virtual_time(scenario())


@in_virtual_time
async def test_one_follow_a_socket() -> None:
    async with native_house() as node:
        client = await followed(node)
        client.say(Follow(UUID(int=1), 0))
        assert (await client.until(Refusal)).code == "unexpected"


@in_virtual_time
async def test_a_slow_reader_gets_the_rest_when_it_has_drained() -> None:
    async with native_house(limits=NativeLimits(full_bytes=100)) as node:
        client = await followed(node)
        client.socket.stalled = True
        for number in range(1, 4):
            await record(node, number)
            await asyncio.sleep(5)
        assert len(client.socket.unsent) == 1
        client.socket.flow()
        await asyncio.sleep(5)
        await expect_exact(node, client)
        assert len(client.open_conflicts) == 3


@in_virtual_time
async def test_a_history_that_is_replaced_below_a_follower_begins_again() -> None:
    store = Restored()
    async with native_house(store=store) as node:
        await record(node, 1, 2)
        client = await followed(node)
        store.epoch = UUID(int=99)
        await client.until(Conflicts)
        await expect_exact(node, client)
        assert client.conflicts_epoch == store.epoch


def come_and_go(seed: int) -> None:
    """Clients that come and go while conflicts are recorded, superseded, settled and purged."""

    async def scenario() -> None:
        random = Random(seed)
        async with native_house(feed_limits=SMALL_PAGES) as node:
            store = node.house.store
            assert isinstance(store, MemoryStore)
            clients = [node.client(number=number) for number in range(3)]
            for number in range(60):
                client = random.choice(clients)
                match random.randrange(7):
                    case 0 if client.is_connected:
                        client.disconnect()
                    case 0 | 1 if not client.is_connected:
                        client.connect()
                        await client.follow()
                    case 2 | 3:
                        issue = random.choice(ISSUES)
                        new = found(number, replaces=random.randrange(number + 1))
                        await store.ledger.note(node.house.workspace.id, issue, number, [new], START)
                        node.feeds.wake_conflicts(node.house.workspace.id)
                    case 4 if known := await ids(node):
                        await settle_one(node, random.choice(known), random.choice(["ana", "system"]))
                    case 5 if random.random() < 0.2:
                        store.ledger.forget(node.house.workspace.id, random.choice(ISSUES))
                    case _:
                        await asyncio.sleep(random.random() * 2)
                        client.hear()
            for client in clients:
                if not client.is_connected:
                    client.connect()
                    await client.follow()
            await asyncio.sleep(5)
            for client in clients:
                await expect_exact(node, client)

    run_in_virtual_time(scenario())


def test_whoever_comes_and_goes_ends_with_what_is_open() -> None:
    for seed in range(15):
        come_and_go(seed)


@pytest.mark.long
def test_whoever_comes_and_goes_ends_with_what_is_open_in_many_runs() -> None:
    for seed in range(1_000, 1_300):
        come_and_go(seed)


class TestOverHttp:
    @in_virtual_time
    async def test_the_same_pages_from_a_cursor(self) -> None:
        async with native_house(feed_limits=SMALL_PAGES) as node:
            await record(node, 1, 2, 3)
            status, page, _ = await get(node, "?mode=conflicts")
            assert (status, page["from"], page["to"], page["head"]) == (200, 0, 2, 3)
            assert [change["change"] for change in page["changes"]] == [1, 2]
            assert page["changes"][0]["conflict"]["losing"]["value"] == "value 1"
            _, page, _ = await get(node, page["next"])
            assert [change["conflict"]["losing"]["value"] for change in page["changes"]] == ["value 3"]
            store = node.house.store
            assert isinstance(store, MemoryStore)
            store.ledger.forget(node.house.workspace.id, ISSUES[0])
            _, page, _ = await get(node, page["next"])
            assert page["changes"] == [{"issue": str(ISSUES[0]), "change": 4, "purged": True}]

    @in_virtual_time
    async def test_a_long_poll_ends_with_the_first_conflict(self) -> None:
        async with native_house() as node:
            poll = asyncio.create_task(get(node, "?mode=conflicts&wait=25"))
            await asyncio.sleep(3)
            assert not poll.done()
            await record(node, 1)
            _, page, _ = await poll
            assert len(page["changes"]) == 1
            assert asyncio.get_running_loop().time() < 6

    @in_virtual_time
    async def test_a_cursor_of_another_history_is_gone_and_says_where_to_begin(self) -> None:
        async with native_house() as node:
            await record(node, 1)
            for query in ("since=99", f"since=1&epoch={UUID(int=5)}"):
                status, gone, _ = await get(node, f"?mode=conflicts&{query}")
                assert status == 410
                _, page, _ = await get(node, gone["reload"])
                assert len(page["changes"]) == 1

    @in_virtual_time
    async def test_there_is_no_reload(self) -> None:
        async with native_house() as node:
            assert (await get(node, "?mode=conflicts&reload=1.0"))[0] == 422


def test_every_role_may_read_along() -> None:
    async def scenario() -> None:
        async with native_house() as node:
            await record(node, 1)
            for role in Role:
                client = node.client()
                client.connect(token=f"ana:{role.value}")
                await client.follow()
                await client.until_told()
                assert len(client.open_conflicts) == 1

    run_in_virtual_time(scenario())
