"""Conflicts in rooms: recorded with the delta that made them, once, on however many nodes, and kept when compacted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from server.session import Stored
from storage.conflicts import SUPERSEDED, USER_DECISION
from storage.memory import MemoryStore
from storage.store import NewDelta
from tests.server.compacted import LATER, compact
from tests.server.conflicting import ledger, on, setting
from tests.server.house import ISSUE, House, Peer, settle, start_house


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[House]:
    started = await start_house(store)
    yield started
    await started.stop()


@pytest.fixture
async def other_node(store: MemoryStore) -> AsyncIterator[House]:
    started = await start_house(store)
    yield started
    await started.stop()


async def test_both_values_are_recorded_before_anybody_hears_of_the_edit(node: House) -> None:
    ana, bob = on("laptop", "ana", 5), on("phone", "bob", 9)
    await node.join(ana)
    await node.join(bob)
    ana.send(setting(ana, "blocked"))
    await settle()
    bob.send(setting(bob, "done"))
    await settle()
    assert bob.outcomes == [Stored(2)]
    assert ana.hear().fields["status"] == "done"
    [row] = await ledger(node)
    assert (row.issue_id, row.seq, row.field) == (ISSUE, 2, "status")
    assert (row.standing.value, row.standing.actor_id, row.standing.device_id) == ("done", "bob", "phone")
    assert (row.losing.value, row.losing.actor_id, row.losing.device_id) == ("blocked", "ana", "laptop")
    assert node.counted("conflicts_total", kind="update_update") == 1


async def test_who_has_seen_the_value_makes_no_conflict(node: House) -> None:
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    ana.send(setting(ana, "blocked"))
    await settle()
    bob.hear()
    bob.send(setting(bob, "done"))
    await settle()
    assert await ledger(node) == []


async def test_values_that_meet_in_one_turn_are_found(node: House) -> None:
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    bob.send(setting(bob, "done"))
    ana.send(setting(ana, "blocked"))
    ana.send(setting(ana, "ready"))
    await settle()
    [row] = await ledger(node)
    assert (row.standing.value, row.losing.value) == ("done", "ready")


async def test_of_a_value_that_lost_and_was_replaced_twice_in_one_turn_only_the_last_is_open(
    node: House, store: MemoryStore
) -> None:
    await store.ledger.set_policy(node.workspace.id, {"status": USER_DECISION})
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    bob.send(setting(bob, "done"))
    ana.send(setting(ana, "blocked"))
    await settle()
    ana.send(setting(ana, "ready"))
    ana.send(setting(ana, "open"))
    await settle()
    rows = await ledger(node)
    assert [(row.losing.value, row.resolution) for row in rows] == [("blocked", SUPERSEDED), ("open", None)]


async def test_a_resent_edit_is_not_recorded_again(node: House) -> None:
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    lost = setting(ana, "blocked")
    bob.send(setting(bob, "done"))
    for _ in range(2):
        ana.send(lost)
        await settle()
    assert len(await ledger(node)) == 1


async def test_clocks_are_the_writers_but_never_far_in_the_future(node: House) -> None:
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    long_ago = datetime(2001, 2, 3, tzinfo=UTC)
    ana.send(setting(ana, "blocked", at=long_ago))
    bob.send(setting(bob, "done", at=LATER))
    await settle()
    [row] = await ledger(node)
    [_, delta] = await node.store.page(node.workspace.id, 0, 10)
    assert (row.losing.at, row.losing.device_id) == (long_ago, "stamped")
    assert row.standing.at is not None
    assert abs(row.standing.at - delta.created_at - timedelta(seconds=60)) < timedelta(seconds=1)


async def test_a_value_too_big_for_the_loop_meets_the_others_too(node: House) -> None:
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    ana.send(setting(ana, "blocked"))
    await settle()
    before = bob.doc.get_state()
    bob.text += "x" * 70_000
    bob.fields["status"] = "done"
    bob.send(bob.doc.get_update(before))
    await settle()
    [row] = await ledger(node)
    assert (row.standing.value, row.losing.value) == ("done", "blocked")


@pytest.mark.parametrize("first", [5, 9])
async def test_two_nodes_that_commit_at_once_find_it_when_they_hear_of_each_other(
    node: House, other_node: House, first: int
) -> None:
    here, there = Peer("ana", client=first), Peer("bob", client=14 - first)
    await node.join(here)
    await other_node.join(there)
    here.send(setting(here, here.doc.client_id))
    await settle()
    there.send(setting(there, there.doc.client_id))
    await settle()
    for house in (other_node, node):
        await house.relay.catch_up(house.workspace.id)
        await settle()
        [row] = await ledger(node)
        assert (row.seq, row.standing.value, row.losing.value) == (2, 9, 5)
    assert here.hear().fields["status"] == there.hear().fields["status"] == 9


async def test_a_room_that_opens_later_records_nothing_again(node: House, other_node: House) -> None:
    ana, bob = Peer("ana", client=5), Peer("bob", client=9)
    await node.join(ana)
    await node.join(bob)
    ana.send(setting(ana, "blocked"))
    bob.send(setting(bob, "done"))
    await settle()
    before = await ledger(node)
    await other_node.join(Peer("cleo", client=3))
    await settle()
    assert await ledger(node) == before


async def test_what_nobody_recorded_is_recorded_before_compaction_destroys_it(node: House, store: MemoryStore) -> None:
    """Two nodes committed at once and died before they heard of each other: only the log knows."""
    workspace_id = node.workspace.id
    for peer, value in ((on("laptop", "ana", 5), "blocked"), (on("phone", "bob", 9), "done")):
        update, user = setting(peer, value), peer.session.identity
        await store.append([NewDelta(workspace_id, ISSUE, update, user.user_id, user.device_id, LATER)])
    await compact(store, workspace_id)
    [row] = await ledger(node)
    assert (row.seq, row.standing.value, row.losing.value) == (2, "done", "blocked")
    assert (row.losing.actor_id, row.losing.device_id, row.losing.at) == ("ana", "laptop", LATER)


async def test_what_stands_is_known_after_compaction(node: House, store: MemoryStore) -> None:
    ana = on("laptop", "ana", 5)
    await node.join(ana)
    ana.send(setting(ana, "blocked"))
    await settle()
    await compact(store, node.workspace.id)
    node.leave(ana)
    await node.stop()
    again = await start_house(store)
    bob = Peer("bob", client=9)
    bob.room = await again.hub.join(again.workspace, ISSUE, bob.session)
    bob.send(setting(bob, "done"))
    await settle()
    [row] = await ledger(again)
    assert (row.losing.value, row.losing.actor_id, row.losing.device_id) == ("blocked", "ana", "laptop")
    await again.stop()
