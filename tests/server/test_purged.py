"""An issue that is purged: everybody who has it, follows it or comes late with edits of it gets a clear answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from crdt.edits import Begin, Delete
from crdt.issue import IssueContent
from crdt.native import PURGED, Closed, Nack, Open
from crdt.native_entries import TOMBSTONE
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.permissions import Identity, Role
from server.record_errors import Gone
from server.records import Records, RecordServices
from storage.errors import Purged
from storage.memory import MemoryStore
from storage.postgres import PostgresStore
from storage.store import ProjectedIssue, Store
from tests.server.house import ISSUE, House, Peer, house
from tests.server.native_house import NativeHouse, native_house
from tests.server.test_hocuspocus import ISSUE as HOCUSPOCUS_ISSUE
from tests.server.test_hocuspocus import READ_WRITE, auth, setting, world
from tests.simulation.time import VirtualClock, in_virtual_time
from tests.storage.compacting import project

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANA = Identity("ana", "main", Role.MEMBER)


def records_of(home: House) -> Records:
    return Records(RecordServices(home.hub, home.engine, VirtualClock()))


async def delete(home: House, issue: UUID = ISSUE) -> None:
    """Begin an issue and mark it as deleted."""
    await records_of(home).change(home.workspace, ANA, issue, Begin("secret"))
    await records_of(home).change(home.workspace, ANA, issue, Delete())


async def purge(store: Store, issue: UUID = ISSUE) -> None:
    await project(store)
    workspace = (await store.workspaces())[0]
    await store.purge(workspace.id, issue, by="system", at=NOW)


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def until_closed(peer: Peer) -> int | None:
    await until(lambda: peer.wire.closed is not None)
    return peer.wire.close_code()


async def test_a_room_on_another_node_hears_of_the_purge_and_ends(store: PostgresStore) -> None:
    async with house(store=store) as one, house(store=store) as other:
        await delete(one)
        peer = Peer("ben")
        await other.join(peer)
        await purge(store)
        assert await until_closed(peer) == close_codes.GONE
        assert not other.hub.rooms


async def test_a_room_that_has_not_heard_of_it_yet_cannot_write_the_issue_back(store: PostgresStore) -> None:
    async with house(store=store) as one, house(store=store) as other:
        await delete(one)
        peer, innocent = Peer("ben"), Peer("eve", client=2)
        await other.join(peer)
        await other.join(innocent, UUID(int=99))
        other.relay.deliver_to(lambda deltas: None)  # deaf: only the append itself can tell
        await purge(store)
        peer.write("late")
        innocent.write("of something else")
        assert await until_closed(peer) == close_codes.GONE
        assert peer.outcomes == []
        await until(lambda: bool(innocent.outcomes))
        workspace = (await store.workspaces())[0]
        assert [delta.is_tombstone for delta in await store.tail(workspace.id, ISSUE, 0)] == [True]


async def test_who_comes_late_is_told_by_close_code_and_problem(store: PostgresStore) -> None:
    async with house(store=store) as home:
        await delete(home)
        await purge(store)
        await home.relay.catch_up(home.workspace.id)
        peer = Peer("ben")
        with pytest.raises(Purged):
            await home.join(peer)
        assert peer.wire.closed == (close_codes.GONE, PURGED)
        for edit in (Begin("again"), Delete()):
            with pytest.raises(Gone):
                await records_of(home).change(home.workspace, ANA, ISSUE, edit)


async def purged_by_another(node: NativeHouse) -> None:
    await delete(node.house)
    await purge(node.house.store)


@in_virtual_time
async def test_a_native_push_is_nacked_for_good_and_an_open_is_closed() -> None:
    async with native_house() as node:
        await purged_by_another(node)
        client = node.client()
        client.connect()
        await client.until_live(3)
        number = client.write(ISSUE, "late")
        nack = await client.until(Nack)
        assert (nack.client_seq, nack.code) == (number, PURGED)
        client.say(Open(ISSUE, None))
        assert (await client.until(Closed)).code == PURGED


@in_virtual_time
async def test_who_has_it_open_and_pushes_in_flight_gets_both_answers() -> None:
    store = MemoryStore()
    async with native_house(store=store) as node:
        await delete(node.house)
        client = node.client()
        client.connect()
        await client.until_live(2)
        client.say(Open(ISSUE, None))
        await purge(store)
        closed = await client.until(Closed)
        assert (closed.issue, closed.code) == (ISSUE, PURGED)


@pytest.mark.parametrize("mode", ["updates", "rows"])
@pytest.mark.parametrize("cursor", [0, 1, 2, None])
@in_virtual_time
async def test_a_follower_passes_the_holes_and_is_told(mode: str, cursor: int | None) -> None:
    async with native_house() as node:
        await purged_by_another(node)
        await project(node.house.store)
        client = node.client(mode=mode)
        client.epoch, client.cursor = node.house.workspace.epoch if cursor is not None else None, cursor
        client.connect()
        await client.until_live(3)
        assert [(entry.issue, entry.kind, entry.seq) for entry in client.entries] == [(ISSUE, TOMBSTONE, 3)]


async def test_a_hocuspocus_provider_is_refused_and_denied() -> None:
    async with world() as node:
        issue = UUID(HOCUSPOCUS_ISSUE.partition("/")[2])
        member = await node.entered("ana", "4.8.0")
        workspace = (await node.store.workspaces())[0]
        member.say(y_websocket.update(setting()))
        await member.hears(hocuspocus.STORED)
        await mark_purged(node.store, workspace.id, issue)
        await node.relay.catch_up(workspace.id)
        denial = [
            hocuspocus.REFUSED,
            hocuspocus.stateless('{"refused":"purged"}'),
            hocuspocus.denied(PURGED),
            hocuspocus.close(PURGED),
        ]
        await member.hears(*denial)
        late = node.connect()
        late.say(auth("ana"))
        await late.hears(READ_WRITE, *denial[:3])


async def mark_purged(store: Store, workspace_id: int, issue: UUID) -> None:
    """Without an engine: the row says that it is deleted, as if it had been projected."""
    async with store.projection(workspace_id) as turn:
        assert turn is not None
        content = IssueContent(deleted_at=NOW)
        await turn.save([ProjectedIssue(issue, 1, 1, content)], await store.page_by_issue(workspace_id, 0, 10))
    await store.purge(workspace_id, issue, by="system", at=NOW)
