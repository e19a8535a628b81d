"""Edits of deleted issues, and deletions of edited ones: conflicts where the two had not heard of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from crdt.edits import Delete
from crdt.unaware import MAX_AUTHORS
from crdt.update import decode_state_vector, encode_state_vector
from server.decisions import Decision, Decisions
from server.feeder import MAX_STATED_STRANGERS
from server.limits import HubLimits, RoomLimits
from server.permissions import Identity, Role
from server.records import Records, RecordServices
from server.session import Session
from storage.conflicts import LOSING, SYSTEM, UPDATE_DELETE, Conflict, ConflictQuery
from storage.memory import MemoryStore
from tests.server.compacted import compact
from tests.server.house import DIALECT, ISSUE, House, Peer, Wire, house, settle
from tests.simulation.time import VirtualClock, in_virtual_time

AT = "2026-01-02T10:00:00.000Z"


async def met(node: House) -> list[Conflict]:
    rows = await node.store.ledger.page(node.workspace.id, ConflictQuery(limit=100, issue_id=ISSUE))
    return [row for row in rows if row.kind == UPDATE_DELETE]


def sets(peer: Peer, key: str, value: object) -> bytes:
    before = peer.doc.get_state()
    peer.fields[key] = value
    return peer.doc.get_update(before)


async def leave(node: House, *peers: Peer) -> None:
    """They lose the connection, with what was on its way."""
    for peer in peers:
        node.leave(peer)
        peer.wire.frames.clear()
    await settle()


async def come_back(node: House, peer: Peer) -> None:
    """A new session of the same document, as y-websocket does it: it says what it has, is asked, and answers."""
    peer.wire = Wire()
    peer.session = Session(Identity(peer.session.identity.user_id, "main", Role.MEMBER), peer.wire, DIALECT)
    room = await node.join(peer)
    peer.send(peer.doc.get_update(room.state_vector()))
    await settle()


async def two(node: House) -> tuple[Peer, Peer]:
    """Ana and Ben have an issue open, and both know it."""
    ana, ben = Peer("ana", client=1), Peer("ben", client=2)
    for peer in (ana, ben):
        await node.join(peer)
    ana.write("Search is slow")
    await settle()
    ben.hear()
    ana.hear()
    return ana, ben


@in_virtual_time
async def test_who_edits_offline_what_is_deleted_meanwhile_finds_their_edit_flagged() -> None:
    async with house() as node:
        ana, ben = await two(node)
        await leave(node, ben)
        ben.edit(" today")
        sets(ben, "status", "done")
        ben.doc.get("labels", type=Map)["bug"] = True
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        await come_back(node, ben)
        [row] = await met(node)
        assert (row.field, row.state, row.strategy) == ("deleted_at", "open", "user_decision")
        assert (row.standing.value, row.standing.actor_id) == (AT, "ana")
        assert (row.losing.value, row.losing.actor_id) == ({"status": "done", "touched": ["labels", "title"]}, "ben")
        assert ana.hear().fields["deletedAt"] == AT, "the deletion stands"
        assert str(ana.text) == "Search is slow today", "the edit is kept"
        assert row.seq == 3
        await come_back(node, ben)
        assert len(await met(node)) == 1, "once"


@in_virtual_time
async def test_who_deletes_offline_what_is_edited_meanwhile_is_told_of_each_editor() -> None:
    async with house() as node:
        ana, ben = await two(node)
        carl = Peer("carl", client=3)
        await node.join(carl)
        await leave(node, ben)
        sets(ben, "deletedAt", AT)
        ana.send(sets(ana, "priority", "high"))
        comments = carl.hear().doc.get("comments", type=Map)
        before = carl.doc.get_state()
        comments["c"] = Map({"author": "carl", "body": Text("So?")})
        carl.send(carl.doc.get_update(before))
        await settle()
        await come_back(node, ben)
        told = {row.losing.actor_id: row.losing.value for row in await met(node)}
        assert told == {"ana": {"priority": "high"}, "carl": {"touched": ["comments"]}}


@pytest.mark.parametrize("is_deleted_first", [True, False])
@in_virtual_time
async def test_what_is_sent_in_one_turn_is_unheard_of(is_deleted_first: bool) -> None:
    async with house() as node:
        ana, ben = await two(node)
        deletes, edits = sets(ana, "deletedAt", AT), sets(ben, "status", "done")
        sent = [(ana, deletes), (ben, edits)]
        for peer, update in sent if is_deleted_first else reversed(sent):
            peer.send(update)
        await settle()
        [row] = await met(node)
        assert (row.standing.actor_id, row.losing.actor_id) == ("ana", "ben")
        assert row.losing.value == {"status": "done"}


@in_virtual_time
async def test_what_waits_for_a_commit_was_sent_before_anybody_was_told() -> None:
    store, begun, may_end = MemoryStore(), asyncio.Event(), asyncio.Event()

    async def hold(moment: str, operation: str) -> None:
        if operation == "append":
            begun.set()
            await may_end.wait()

    async with house(store=store) as node:
        ana, ben = await two(node)
        store.fault = hold
        ana.send(sets(ana, "deletedAt", AT))
        await begun.wait()
        ben.send(sets(ben, "status", "done"))
        may_end.set()
        await settle()
        assert [row.losing.actor_id for row in await met(node)] == ["ben"]


@in_virtual_time
async def test_who_was_told_of_the_deletion_may_have_known_it() -> None:
    """Whether it was on the screen when the edit was made cannot be told."""
    async with house() as node:
        ana, ben = await two(node)
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        ben.send(sets(ben, "status", "done"))
        await settle()
        assert ben.hear().fields["deletedAt"] == AT
        ben.send(sets(ben, "priority", "low"))
        await settle()
        await leave(node, ben)
        sets(ben, "status", "open")
        await come_back(node, ben)
        assert await met(node) == []


@in_virtual_time
async def test_who_restores_it_or_deletes_it_too_makes_no_conflict() -> None:
    async with house() as node:
        ana, ben = await two(node)
        await leave(node, ben)
        sets(ben, "deletedAt", "2026-01-01T09:00:00.000Z")
        sets(ben, "status", "done")
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        await come_back(node, ben)
        assert await met(node) == []
        ana.hear()
        ana.send(sets(ana, "deletedAt", None))
        await settle()
        ben.send(sets(ben.hear(), "status", "open"))
        await settle()
        assert await met(node) == []


@in_virtual_time
async def test_who_knew_the_first_deletion_knew_that_it_was_deleted() -> None:
    async with house() as node:
        ana, ben = await two(node)
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        ben.hear()
        await leave(node, ben)
        sets(ben, "status", "done")
        ana.send(sets(ana, "deletedAt", "2026-01-03T10:00:00.000Z"))
        await settle()
        await come_back(node, ben)
        assert await met(node) == []


@in_virtual_time
async def test_a_deletion_after_a_restoration_is_another_one() -> None:
    async with house() as node:
        ana, ben = await two(node)
        for value in (AT, None):
            ana.send(sets(ana, "deletedAt", value))
            await settle()
        ben.hear()
        await leave(node, ben)
        sets(ben, "status", "done")
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        await come_back(node, ben)
        assert [row.losing.value for row in await met(node)] == [{"status": "done"}]


@in_virtual_time
async def test_tabs_of_one_user_may_have_told_each_other() -> None:
    async with house() as node:
        ana = Peer("ana", client=1)
        tab = Peer("ana", client=2)
        await node.join(ana)
        await node.join(tab)
        ana.write("Search")
        await settle()
        tab.hear()
        ana.send(sets(ana, "deletedAt", AT))
        tab.send(sets(tab, "status", "done"))
        await settle()
        assert await met(node) == []


@in_virtual_time
async def test_who_says_nothing_of_what_they_have_is_not_judged_by_it() -> None:
    """A document that is loaded from the device behind the first SyncStep1 was not empty before."""
    async with house() as node:
        ana, ben = await two(node)
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        await leave(node, ben)
        sets(ben, "status", "done")
        whole: Doc[Any] = ben.doc
        ben.doc = Doc()
        await come_back(node, ben)
        ben.send(whole.get_update())
        await settle()
        assert await met(node) == []


@in_virtual_time
async def test_one_call_restores_what_was_kept_whatever_was_compacted() -> None:
    store = MemoryStore()
    async with house(store=store) as node:
        ana, ben = await two(node)
        await leave(node, ben)
        ben.edit(" today")
        sets(ben, "status", "done")
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        await come_back(node, ben)
        for _ in range(2):
            await compact(store, node.workspace.id)
        [row] = await met(node)
        records = Records(RecordServices(node.hub, node.engine, VirtualClock()))
        decisions = Decisions(store.ledger, records, VirtualClock())
        await decisions.resolve(
            node.workspace, Identity("cleo", "main", Role.MEMBER), row.id, Decision(LOSING), device="desk"
        )
        for peer in (ana, ben):
            assert peer.shows() == "Search is slow today"
            assert peer.fields.to_py() == {"deletedAt": None, "status": "done"}


@pytest.mark.parametrize("is_deleted_first", [True, False])
@in_virtual_time
async def test_what_an_engine_checks_is_judged_alike(is_deleted_first: bool) -> None:
    async with house(HubLimits(room=RoomLimits(max_inline_update_bytes=5))) as node:
        ana, ben = await two(node)
        deletes, edits = sets(ana, "deletedAt", AT), sets(ben, "status", "done")
        sent = [(ana, deletes), (ben, edits)]
        for peer, update in sent if is_deleted_first else reversed(sent):
            peer.send(update)
        await settle()
        [row] = await met(node)
        assert (row.standing.actor_id, row.losing.actor_id, row.losing.value) == ("ana", "ben", {"status": "done"})


@in_virtual_time
async def test_a_deletion_over_http_has_not_heard_of_what_is_not_committed() -> None:
    store, begun, may_end = MemoryStore(), asyncio.Event(), asyncio.Event()

    async def hold(moment: str, operation: str) -> None:
        if operation == "append":
            begun.set()
            await may_end.wait()

    async with house(store=store) as node:
        ana, ben = await two(node)
        ana.send(sets(ana, "priority", "high"))
        await settle()
        store.fault = hold
        ben.send(sets(ben, "status", "done"))
        await begun.wait()
        records = Records(RecordServices(node.hub, node.engine, VirtualClock()))
        cleo = Identity("cleo", "main", Role.MEMBER)
        deleting = asyncio.create_task(records.change(node.workspace, cleo, ISSUE, Delete()))
        await settle()
        may_end.set()
        await deleting
        [row] = await met(node)
        assert (row.standing.actor_id, row.losing.actor_id, row.losing.value) == ("cleo", "ben", {"status": "done"})


@in_virtual_time
async def test_who_removes_the_mark_restores_the_issue() -> None:
    async with house() as node:
        ana, ben = await two(node)
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        before = ana.doc.get_state()
        del ana.fields["deletedAt"]
        ana.send(ana.doc.get_update(before))
        await settle()
        await leave(node, ben)
        ben.edit(" today")
        await come_back(node, ben)
        assert await met(node) == []


@in_virtual_time
async def test_a_value_that_its_author_has_forgotten_counts_as_a_deletion() -> None:
    """Ben restored the issue, or deleted it anew: he heard of Ana's value before he sent his own, and it is gone."""
    async with house() as node:
        ana, ben = await two(node)
        await leave(node, ben)
        sets(ben, "deletedAt", None)
        sets(ben, "status", "done")
        carl = Peer("carl", client=3)
        await node.join(carl)
        deletes = sets(carl, "deletedAt", AT)
        carl.send(deletes)
        stated = ben.doc.get_state()
        ben.doc.apply_update(deletes)
        await settle()
        ben.wire = Wire()
        ben.session = Session(Identity("ben", "main", Role.MEMBER), ben.wire, DIALECT)
        ben.room = await node.hub.join(node.workspace, ISSUE, ben.session)
        ben.room.answer(ben.session, stated)
        ben.send(ben.doc.get_update(ben.room.state_vector()))
        await settle()
        assert ana.hear().fields["deletedAt"] == AT
        assert ana.fields["status"] == "done"
        assert await met(node) == []


@in_virtual_time
async def test_whoever_types_fast_is_judged_as_well() -> None:
    async with house() as node:
        ana, ben = await two(node)
        deletes = sets(ana, "deletedAt", AT)
        ana.send(deletes)
        for letter in "now":
            ben.write(letter)
        await settle()
        [row] = await met(node)
        assert row.losing.value == {"touched": ["title"]}


@pytest.mark.parametrize("is_deleted_first", [True, False])
@in_virtual_time
async def test_what_the_system_decides_makes_no_conflict(is_deleted_first: bool) -> None:
    async with house() as node:
        ana, _ = await two(node)
        system = Peer(SYSTEM, client=9)
        await node.join(system)
        await settle()
        system.hear()
        sent = [(ana, sets(ana, "deletedAt", AT)), (system, sets(system, "status", "done"))]
        for peer, update in sent if is_deleted_first else reversed(sent):
            peer.send(update)
        await settle()
        assert ana.hear().fields.to_py() == {"deletedAt": AT, "status": "done"}
        assert await met(node) == []


@in_virtual_time
async def test_one_deletion_is_told_of_a_bounded_number_of_authors() -> None:
    async with house() as node:
        ana, _ = await two(node)
        crowd = [Peer(f"user{number}", client=10 + number) for number in range(MAX_AUTHORS + 5)]
        for peer in crowd:
            await node.join(peer)
            sets(peer, "status", peer.session.identity.user_id)
            peer.send(peer.doc.get_update())
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        query = ConflictQuery(limit=1_000, issue_id=ISSUE, kind=UPDATE_DELETE)
        assert len(await node.store.ledger.page(node.workspace.id, query)) == MAX_AUTHORS


@pytest.mark.parametrize(("strangers", "found"), [(MAX_STATED_STRANGERS, ["ben"]), (MAX_STATED_STRANGERS + 1, [])])
@in_virtual_time
async def test_who_claims_to_know_a_crowd_that_nobody_has_met_states_nothing(strangers: int, found: list[str]) -> None:
    async with house() as node:
        ana, ben = await two(node)
        await leave(node, ben)
        sets(ben, "status", "done")
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        crowd = dict.fromkeys(range(1_000, 999 + strangers), 1)  # and Ben's own
        ben.session = Session(Identity("ben", "main", Role.MEMBER), Wire(), DIALECT)
        ben.room = await node.hub.join(node.workspace, ISSUE, ben.session)
        ben.room.answer(ben.session, encode_state_vector({**decode_state_vector(ben.doc.get_state()), **crowd}))
        ben.send(ben.doc.get_update(ben.room.state_vector()))
        await settle()
        assert [row.losing.actor_id for row in await met(node)] == found


@in_virtual_time
async def test_who_has_nothing_that_is_not_committed_states_nothing_that_is_kept() -> None:
    async with house() as node:
        ana, ben = await two(node)
        await leave(node, ben)
        await come_back(node, ben)
        assert not ben.session.stated
        assert not ana.session.stated


@in_virtual_time
async def test_what_was_written_when_the_issue_was_seen_as_deleted_is_judged_by_that_whatever_came_later() -> None:
    async with house() as node:
        ana, ben = await two(node)
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        ben.hear()
        await leave(node, ben)
        sets(ben, "status", "done")
        ana.send(sets(ana, "deletedAt", None))
        await settle()
        ana.send(sets(ana, "deletedAt", AT))
        await come_back(node, ben)
        assert ana.hear().fields["status"] == "done"
        assert await met(node) == []


@in_virtual_time
async def test_who_said_that_they_know_the_deletion_knew_it_whoever_told_them() -> None:
    async with house() as node:
        ana, ben = await two(node)
        deletes = sets(ana, "deletedAt", AT)
        await leave(node, ben)
        ben.doc.apply_update(deletes)
        ben.wire = Wire()
        ben.session = Session(Identity("ben", "main", Role.MEMBER), ben.wire, DIALECT)
        await node.join(ben)
        ana.send(deletes)
        ben.send(sets(ben, "status", "done"))
        await settle()
        assert ana.hear().fields["status"] == "done"
        assert await met(node) == []


@asynccontextmanager
async def two_nodes(first: Peer, second: Peer) -> AsyncIterator[tuple[House, House]]:
    """Over one store, with a peer each: the first has begun an issue, the second has heard of it."""
    store = MemoryStore()
    async with house(store=store) as node, house(store=store) as other:
        await node.join(first)
        first.write("Search is slow")
        await settle()
        await other.join(second)
        await settle()
        second.hear()
        yield node, other


async def at_once(node: House, other: House, sent: Sequence[tuple[Peer, bytes]]) -> None:
    """One after the other, before either node hears of what the other has committed; then both do."""
    had = [len(peer.wire.frames) for peer, _ in sent]
    for (peer, update), frames in zip(sent, had, strict=True):
        assert len(peer.wire.frames) == frames, "nothing came from the other node"
        peer.send(update)
        await settle()
    for _ in range(2):
        for each in (node, other):
            await each.relay.catch_up(each.workspace.id)
        await settle()


@pytest.mark.parametrize("is_deleted_first", [True, False])
@in_virtual_time
async def test_two_nodes_that_commit_at_once_find_it_when_they_hear_of_each_other(is_deleted_first: bool) -> None:
    ana, ben = Peer("ana", client=1), Peer("ben", client=2)
    async with two_nodes(ana, ben) as (node, other):
        sent = [(ana, sets(ana, "deletedAt", AT)), (ben, sets(ben, "status", "done"))]
        await at_once(node, other, sent if is_deleted_first else sent[::-1])
        [row] = await met(node)
        assert (row.standing.actor_id, row.losing.actor_id, row.losing.value) == ("ana", "ben", {"status": "done"})


@in_virtual_time
async def test_two_nodes_agree_where_both_knew_or_both_deleted() -> None:
    ana, ben = Peer("ana", client=1), Peer("ben", client=2)
    async with two_nodes(ana, ben) as (node, other):

        async def go_on() -> None:
            await settle()
            for each in (node, other):
                await each.relay.catch_up(each.workspace.id)
            await settle()
            ana.hear()
            ben.hear()

        ana.send(sets(ana, "deletedAt", AT))
        ben.send(sets(ben, "deletedAt", "2026-01-03T10:00:00.000Z"))
        await go_on()
        ben.send(sets(ben, "status", "done"))
        await go_on()
        ana.send(sets(ana, "deletedAt", None))
        await go_on()
        ben.send(sets(ben, "status", "open"))
        await go_on()
        ana.send(sets(ana, "deletedAt", AT))
        await go_on()
        assert await met(node) == []


@pytest.mark.parametrize("is_deleted_first", [True, False])
@in_virtual_time
async def test_two_nodes_find_nothing_in_a_deletion_of_what_both_knew_to_be_deleted(is_deleted_first: bool) -> None:
    store = MemoryStore()
    async with house(store=store) as node, house(store=store) as other:
        ana, ben = Peer("ana", client=1), Peer("ben", client=2)
        await node.join(ana)
        ana.write("Search is slow")
        ana.send(sets(ana, "deletedAt", AT))
        await settle()
        await other.join(ben)
        await settle()
        assert ben.hear().fields["deletedAt"] == AT
        sent = [(ana, sets(ana, "deletedAt", "2026-01-03T10:00:00.000Z")), (ben, sets(ben, "status", "done"))]
        await at_once(node, other, sent if is_deleted_first else sent[::-1])
        assert ana.hear().fields["status"] == "done"
        assert await met(node) == []


@pytest.mark.parametrize("is_deleted_first", [True, False])
@in_virtual_time
async def test_two_nodes_find_nothing_where_one_user_did_both(is_deleted_first: bool) -> None:
    ana, tab = Peer("ana", client=1), Peer("ana", client=2)
    async with two_nodes(ana, tab) as (node, other):
        sent = [(ana, sets(ana, "deletedAt", AT)), (tab, sets(tab, "status", "done"))]
        await at_once(node, other, sent if is_deleted_first else sent[::-1])
        assert ana.hear().fields["status"] == "done"
        assert await met(node) == []
