"""Deciding conflicts: by people and by clocks, as ordinary edits, once, whatever was compacted meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from server.decisions import Decided, Decision, Decisions
from server.permissions import Identity, Role
from server.record_errors import Forbidden, Invalid, NotThere, RecordError, Unavailable
from server.records import Records, RecordServices
from server.referee import Referee
from storage.conflicts import (
    CREATE_CREATE,
    LOSING,
    OPEN,
    RESOLVED,
    STANDING,
    SYSTEM,
    UPDATE_DELETE,
    USER_DECISION,
    VALUE,
    Conflict,
    NewConflict,
    Resolution,
    Side,
    Strategy,
)
from storage.memory import MemoryStore
from storage.store import NewDelta
from tests.server.compacted import compact
from tests.server.conflicting import ledger, on, setting
from tests.server.house import ISSUE, House, Peer, settle, start_house
from tests.simulation.time import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLEO = Identity("cleo", "main", Role.MEMBER)


@dataclass
class Node:
    """A house with what decides conflicts in it."""

    house: House
    decisions: Decisions
    referee: Referee

    async def resolve(self, conflict: Conflict, decision: Decision, who: Identity = CLEO) -> Conflict:
        return await self.decisions.resolve(self.house.workspace, who, conflict.id, decision, device="desk")

    async def policy(self, policy: dict[str, Strategy]) -> None:
        await self.house.store.ledger.set_policy(self.house.workspace.id, policy)


async def start(store: MemoryStore) -> Node:
    house, clock = await start_house(store), VirtualClock()
    decisions = Decisions(store.ledger, Records(RecordServices(house.hub, house.engine, clock)), clock)
    return Node(house, decisions, Referee(store, decisions, clock))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[Node]:
    started = await start(store)
    yield started
    await started.house.stop()


@pytest.fixture
async def other_node(store: MemoryStore) -> AsyncIterator[Node]:
    started = await start(store)
    yield started
    await started.house.stop()


async def clash(house: House, *, blocked: int = 0, done: int = 0) -> tuple[Peer, Peer, Conflict]:
    """Two offline writers, the seconds at which they wrote; Yjs shows "done"."""
    ana, bob = on("laptop", "ana", 5), on("phone", "bob", 9)
    await house.join(ana)
    await house.join(bob)
    ana.send(setting(ana, "blocked", at=NOW + timedelta(seconds=blocked)))
    bob.send(setting(bob, "done", at=NOW + timedelta(seconds=done)))
    await settle()
    [row] = await ledger(house)
    return ana, bob, row


class TestPeople:
    @pytest.mark.parametrize(
        ("keep", "value", "shown"), [(STANDING, None, "done"), (LOSING, None, "blocked"), (VALUE, "ready", "ready")]
    )
    async def test_what_they_keep_is_an_ordinary_edit(
        self, node: Node, keep: Resolution, value: str | None, shown: str
    ) -> None:
        await node.policy({"status": USER_DECISION})
        ana, bob, row = await clash(node.house)
        assert (row.strategy, row.state) == (USER_DECISION, OPEN)
        head = (await node.house.store.workspaces())[0].head
        settled = await node.resolve(row, Decision(keep, value))
        assert (settled.state, settled.resolution, settled.resolved_value) == (RESOLVED, keep, value)
        assert (settled.resolved_by, settled.resolved_at is not None) == ("cleo", True)
        assert [peer.hear().fields["status"] for peer in (ana, bob)] == [shown, shown]
        [delta] = await node.house.store.page(node.house.workspace.id, head, 10)
        assert (delta.actor_id, delta.device_id) == ("cleo", "desk")
        assert await ledger(node.house) == [settled]

    async def test_of_two_the_first_decides_and_the_other_is_told(self, node: Node) -> None:
        await node.policy({"*": USER_DECISION})
        ana, _, row = await clash(node.house)
        settled = await node.resolve(row, Decision(LOSING))
        with pytest.raises(Decided) as refused:
            await node.resolve(row, Decision(STANDING))
        assert refused.value.conflict == settled
        assert ana.hear().fields["status"] == "blocked"

    async def test_two_at_once_on_two_nodes_converge(self, node: Node, other_node: Node) -> None:
        await node.policy({"*": USER_DECISION})
        ana, bob, row = await clash(node.house)
        there = Peer("dan", client=2)
        await other_node.house.join(there)
        outcomes = await asyncio.gather(
            node.resolve(row, Decision(LOSING)),
            other_node.resolve(row, Decision(VALUE, "ready"), Identity("dan", "main", Role.MEMBER)),
            return_exceptions=True,
        )
        assert sorted(isinstance(outcome, RecordError) for outcome in outcomes) == [False, True]
        for house in (node.house, other_node.house):
            await house.relay.catch_up(house.workspace.id)
            await settle()
        [settled] = await ledger(node.house)
        shown = {"losing": "blocked", "value": "ready"}[settled.resolution or ""]
        assert {peer.hear().fields["status"] for peer in (ana, bob, there)} == {shown}

    async def test_what_the_clocks_decided_they_may_take_back(self, node: Node) -> None:
        ana, _, row = await clash(node.house, done=1)
        assert (row.state, row.resolution, row.resolved_by) == (RESOLVED, STANDING, SYSTEM)
        settled = await node.resolve(row, Decision(LOSING))
        assert settled.resolved_by == "cleo"
        assert ana.hear().fields["status"] == "blocked"

    async def test_a_losing_value_outlives_compaction_and_trimming(self, node: Node, store: MemoryStore) -> None:
        await node.policy({"*": USER_DECISION})
        ana, bob, row = await clash(node.house)
        await compact(store, node.house.workspace.id)
        await compact(store, node.house.workspace.id)
        stored = await store.load(node.house.workspace.id, ISSUE)
        assert b"blocked" not in b"".join(stored.updates)
        await node.resolve(row, Decision(LOSING))
        assert [peer.hear().fields["status"] for peer in (ana, bob)] == ["blocked", "blocked"]

    async def test_a_viewer_decides_nothing_and_the_next_one_still_can(self, node: Node) -> None:
        await node.policy({"*": USER_DECISION})
        _, _, row = await clash(node.house)
        with pytest.raises(Forbidden):
            await node.resolve(row, Decision(LOSING), Identity("eve", "main", Role.VIEWER))
        with pytest.raises(Invalid):
            await node.resolve(row, Decision(VALUE, "x" * 300))
        assert (await node.resolve(row, Decision(LOSING))).state == RESOLVED

    async def test_an_unknown_one_is_not_there_and_one_being_decided_is_not_available(self, node: Node) -> None:
        await node.policy({"*": USER_DECISION})
        _, _, row = await clash(node.house)
        with pytest.raises(NotThere):
            await node.resolve(replace(row, id=ISSUE), Decision(LOSING))
        now = VirtualClock().now()
        await node.house.store.ledger.claim(row.workspace_id, row.id, now, now + timedelta(seconds=9))
        with pytest.raises(Unavailable):
            await node.resolve(row, Decision(LOSING))

    @pytest.mark.parametrize(("keep", "is_deleted"), [(LOSING, False), (STANDING, True)])
    async def test_a_deleted_issue_is_restored_or_stays_deleted(
        self, node: Node, keep: Resolution, is_deleted: bool
    ) -> None:
        ana = Peer("ana")
        await node.house.join(ana)
        ana.send(setting(ana, "2026-01-01T00:00:00.000Z", "deletedAt"))
        await settle()
        row = await noted(node, UPDATE_DELETE, "deleted_at", "2026-01-01T00:00:00.000Z", {"status": "done"})
        assert row.state == OPEN
        with pytest.raises(Invalid):
            await node.resolve(row, Decision(VALUE, "x"))
        await node.resolve(row, Decision(keep))
        assert (ana.hear().fields["deletedAt"] is not None) == is_deleted

    async def test_an_issue_that_was_begun_twice_is_made_to_read_as_one_of_them(self, node: Node) -> None:
        ana = Peer("ana")
        await node.house.join(ana)
        ana.write("OneOther")
        await settle()
        row = await noted(node, CREATE_CREATE, "", {"title": "One"}, {"title": "Other", "labels": ["bug"]})
        for wrong in (None, "text", {"title": 5}, {"labels": "bug"}):
            with pytest.raises(Invalid):
                await node.resolve(row, Decision(VALUE, wrong))
        await node.resolve(row, Decision(LOSING))
        assert ana.shows() == "Other"


async def noted(node: Node, kind: str, field: str, standing: object, losing: object) -> Conflict:
    found = NewConflict(kind, field, Side("1:1", standing, "ana"), Side("2:1", losing, "bob"))  # type: ignore[arg-type]
    await node.house.store.ledger.note(node.house.workspace.id, ISSUE, 1, [found], NOW)
    [row] = await ledger(node.house)
    return row


class TestClocks:
    async def test_the_newer_write_is_set_where_merging_chose_the_older_and_only_once(self, node: Node) -> None:
        ana, bob, row = await clash(node.house, blocked=1)
        assert row.state == OPEN
        [settled] = await node.referee.decide_due()
        assert (settled.resolution, settled.resolved_by) == (LOSING, SYSTEM)
        assert [peer.hear().fields["status"] for peer in (ana, bob)] == ["blocked", "blocked"]
        [*_, delta] = await node.house.store.page(node.house.workspace.id, 0, 10)
        assert (delta.seq, delta.actor_id) == (3, SYSTEM)
        assert await node.referee.decide_due() == []
        assert (await node.house.store.workspaces())[0].head == 3
        stamp = ana.doc.get("stamps", type=type(ana.fields))["status"]
        assert (stamp["by"], stamp["device"], stamp["at"]) == ("ana", "laptop", "2026-01-01T00:00:01.000Z")

    async def test_a_write_after_both_stands(self, node: Node) -> None:
        ana, bob, row = await clash(node.house, blocked=1)
        bob.hear()
        bob.send(setting(bob, "ready", at=NOW + timedelta(seconds=2)))
        await settle()
        [settled] = await node.referee.decide_due()
        assert (settled.id, settled.resolution) == (row.id, STANDING)
        assert ana.hear().fields["status"] == "ready"

    async def test_of_three_the_last_one_stands_in_whatever_order_they_are_decided(self, node: Node) -> None:
        peers = [on("d", name, client) for name, client in (("cleo", 9), ("bob", 5), ("ana", 7))]
        for seconds, peer in enumerate(peers):
            await node.house.join(peer)
            peer.send(setting(peer, seconds, at=NOW + timedelta(seconds=seconds)))
        await settle()
        rows = await ledger(node.house)
        assert [row.losing.value for row in rows] == [1, 2]
        for row in reversed(rows):
            await node.decisions.let_the_last_stand(node.house.workspace, row.id)
        assert [row.resolution for row in await ledger(node.house)] == [STANDING, LOSING]
        assert [peer.hear().fields["status"] for peer in peers] == [2, 2, 2]

    async def test_two_nodes_set_it_once(self, node: Node, other_node: Node) -> None:
        ana, _, row = await clash(node.house, blocked=1)
        decided = await asyncio.gather(
            node.referee.decide_due(), other_node.referee.decide_due(), return_exceptions=True
        )
        assert sum(len(each) for each in decided if isinstance(each, list)) == 1
        assert (await node.house.store.workspaces())[0].head == 3
        await node.house.relay.catch_up(node.house.workspace.id)
        assert ana.hear().fields["status"] == "blocked"
        [settled] = await ledger(node.house)
        assert (settled.id, settled.state) == (row.id, RESOLVED)

    async def test_a_node_that_died_before_it_decided_leaves_it_to_others(self, store: MemoryStore) -> None:
        died = await start(store)
        _, _, row = await clash(died.house, blocked=1)
        await store.ledger.claim(row.workspace_id, row.id, NOW, NOW + timedelta(seconds=1))
        await died.house.stop()
        survivor = await start(store)
        [settled] = await survivor.referee.decide_due()
        assert settled.resolution == LOSING
        await survivor.house.stop()

    async def test_a_value_that_cannot_be_written_does_not_stop_the_others(
        self, node: Node, store: MemoryStore
    ) -> None:
        long = on("d", "ana", 5)
        update = setting(long, "x" * 300, "priority", at=NOW + timedelta(seconds=5))
        await store.append([NewDelta(node.house.workspace.id, ISSUE, update, "ana", None, NOW)])
        other = on("d", "bob", 9)
        await node.house.join(other)
        other.send(setting(other, "high", "priority", at=NOW))
        await settle()
        [settled] = await node.referee.decide_due()
        assert settled.resolution == STANDING
        assert other.hear().fields["priority"] == "high"
