"""Updates that an engine judges: their own session waits for the judgement, and nobody else does."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from pycrdt import Map

from crdt.errors import MALFORMED
from crdt.gate import fold
from crdt.index import Index
from crdt.update import merge
from server.large_updates import ATTEMPTS
from server.limits import HubLimits, RoomLimits
from server.session import Incomplete, Stored
from storage.conflict_findings import arrival_of
from storage.engine import IssueKey
from storage.memory import MemoryStore
from storage.store import Delta
from tests.inline_engine import at_once
from tests.server.house import House, Peer, house, settle
from tests.simulation.time import in_virtual_time

SMALL = HubLimits(room=RoomLimits(max_inline_update_bytes=100))
LARGE = "x" * 200


class Court:
    """Holds the checks of an engine until it is told to let one go."""

    def __init__(self, node: House) -> None:
        self._node = node
        self._may_answer = asyncio.Semaphore(0)
        node.engine.before = self._wait

    async def _wait(self, job: str, key: IssueKey) -> None:
        if job == "Check":
            await self._may_answer.acquire()

    @property
    def checks(self) -> int:
        """How many there were."""
        return self._node.engine.ran.count("Check")

    async def answer(self) -> None:
        """One of them is answered, and what comes of it happens."""
        self._may_answer.release()
        await settle()

    def adjourn(self) -> None:
        """All are answered at once from now on."""
        self._node.engine.before = at_once


async def people(node: House, *names: str) -> list[Peer]:
    """In one issue that has begun, with ids of their own."""
    peers = [Peer(name, client=number) for number, name in enumerate(names, 1)]
    for peer in peers:
        await node.join(peer)
    peers[0].write(".")
    await settle()
    for peer in peers:
        peer.hear()
        peer.outcomes.clear()
    return peers


def set_field(peer: Peer, value: str, padding: int = 0) -> bytes:
    """The status, with so much text beside it; the update says just that."""
    before = peer.doc.get_state()
    with peer.doc.transaction():
        peer.fields["status"] = value
        if padding:
            peer.doc.get("notes", type=Map)["long"] = "x" * padding
    return peer.doc.get_update(before)


async def log_of(node: House) -> list[Delta]:
    return list(await node.store.page(node.workspace.id, 0, 1_000))


@in_virtual_time
async def test_anothers_edit_is_committed_while_a_large_update_is_still_being_judged() -> None:
    async with house(SMALL) as node:
        ana, ben, cleo = await people(node, "ana", "ben", "cleo")
        court = Court(node)
        ana.write(LARGE)
        await settle()
        for word in ("one ", "two "):
            ben.write(word)
            await settle()
        assert (cleo.shows(), ben.outcomes, ana.outcomes) == (".one two ", [Stored(2), Stored(3)], [])
        await court.answer()
        assert ana.outcomes == [Stored(4)]
        assert cleo.shows() == ana.shows() == ben.shows()
        assert court.checks == 1


@in_virtual_time
async def test_an_update_of_many_parts_is_large_and_one_of_many_letters_is_not() -> None:
    async with house(HubLimits(room=RoomLimits(max_inline_update_items=8))) as node:
        ana, ben = await people(node, "ana", "ben")
        court = Court(node)
        court.adjourn()
        ana.write(LARGE)
        await settle()
        assert court.checks == 0
        before = ana.doc.get_state()
        with ana.doc.transaction():
            for number in range(8):
                ana.fields[f"field {number}"] = number
        ana.send(ana.doc.get_update(before))
        await settle()
        assert court.checks == 1
        ben.hear()
        assert ben.fields.to_py() == ana.fields.to_py()


@in_virtual_time
async def test_what_a_session_sends_behind_a_large_update_waits_and_keeps_its_order() -> None:
    async with house(SMALL) as node:
        ana, ben = await people(node, "ana", "ben")
        court = Court(node)
        for text in ("a", LARGE, "b", LARGE, "c"):
            ana.write(text)
        await settle()
        ana.write("d")
        await settle()
        assert (ben.shows(), len(ana.outcomes)) == (".a", 1)
        await court.answer()
        assert (ben.shows(), len(ana.outcomes)) == (f".a{LARGE}b", 3)
        await court.answer()
        assert ben.shows() == f".a{LARGE}b{LARGE}cd" == ana.shows()
        assert ana.outcomes == sorted(ana.outcomes, key=lambda outcome: getattr(outcome, "seq", 0))
        assert [type(outcome) for outcome in ana.outcomes] == [Stored] * 6


@in_virtual_time
async def test_what_waits_for_its_causes_keeps_a_large_update_behind_it_waiting() -> None:
    async with house(SMALL) as node:
        ana, ben = await people(node, "ana", "ben")
        lost = ana.edit("lost on the way ")
        ana.write("small ")
        ana.write(LARGE)
        ana.write(" end")
        await settle()
        assert (ben.shows(), [type(outcome) for outcome in ana.outcomes]) == (".", [Incomplete] * 3)
        for update in (lost, ana.doc.get_update()):
            ana.send(update)
        await settle()
        assert ben.shows() == ana.shows() == f".lost on the way small {LARGE} end"
        assert [type(outcome) for outcome in ana.outcomes[3:]] == [Stored] * 2


@in_virtual_time
async def test_other_nodes_commits_are_told_while_a_large_update_is_being_judged() -> None:
    store = MemoryStore()
    async with house(SMALL, store=store) as here, house(store=store) as there:
        (ana,), ben = await people(here, "ana"), Peer("ben", client=2)
        await there.join(ben)
        court = Court(here)
        ana.write(LARGE)
        await asyncio.sleep(5)
        ben.write("theirs ")
        await asyncio.sleep(5)
        assert (ana.hear().outcomes, "theirs" in ana.shows()) == ([], True)
        await court.answer()
        await asyncio.sleep(5)
        assert ana.outcomes == [Stored(3)]
        assert ana.shows() == ben.shows()


@in_virtual_time
async def test_a_refused_large_update_closes_its_session_alone() -> None:
    async with house(SMALL) as node:
        ana, ben, eve = await people(node, "ana", "ben", "eve")
        court = Court(node)
        assert eve.room is not None
        eve.room.submit(eve.session, eve.edit(LARGE)[:-1] + b"\xff\xff")
        eve.room.submit(eve.session, eve.edit("more"))
        await settle()
        ben.write("meanwhile")
        await settle()
        await court.answer()
        ben.write("!")
        await settle()
        assert eve.wire.closed is not None
        assert eve.wire.closed[1] == MALFORMED
        assert (ana.shows(), ana.wire.closed, ben.wire.closed) == (".meanwhile!", None, None)
        assert len(await log_of(node)) == 3


@in_virtual_time
async def test_large_updates_in_line_keep_nobody_else_from_being_read() -> None:
    limits = HubLimits(room=RoomLimits(max_inline_update_bytes=100, max_waiting_bytes=600))
    async with house(limits) as node:
        ana, *others = await people(node, "ana", *(f"user{number}" for number in range(6)))
        court = Court(node)
        for other in others:
            other.write(LARGE)
        ana.write("first")
        await settle()
        assert ana.outcomes == [Stored(2)]
        assert (ana.wire.is_paused, all(other.wire.is_paused for other in others)) == (False, True)
        court.adjourn()
        await court.answer()
        assert not any(peer.wire.is_paused for peer in (ana, *others))
        assert all(len(peer.outcomes) == 1 for peer in others)
        assert len({peer.shows() for peer in (ana, *others)}) == 1


@in_virtual_time
async def test_a_conflict_with_what_was_written_meanwhile_is_recorded() -> None:
    async with house(SMALL) as node:
        ana, ben = await people(node, "ana", "ben")
        court = Court(node)
        ana.send(set_field(ana, "done", padding=200))
        await settle()
        ben.send(set_field(ben, "open"))
        await settle()
        await court.answer()
        await court.answer()
        assert court.checks == 2
        assert [type(outcome) for outcome in ana.outcomes + ben.outcomes] == [Stored] * 2
        found = [conflict for delta in await log_of(node) for conflict in _folded(delta, await log_of(node))]
        assert [one.key for one in found] == ["status"]
        assert node.counted("conflicts_total", kind="update_update") == 1


@in_virtual_time
async def test_what_two_sessions_bring_is_in_the_log_once() -> None:
    """Tabs of one browser bring each other's edits."""
    async with house(SMALL) as node:
        ana, tab = Peer("ana", client=1), Peer("ana", client=2)
        for peer in (ana, tab):
            await node.join(peer)
        await settle()
        court = Court(node)
        small, large = ana.edit("small"), ana.edit(LARGE)
        ana.send(merge([small, large]))
        await settle()
        tab.doc.apply_update(small)
        tab.send(small)
        await settle()
        court.adjourn()
        await court.answer()
        first, second = await log_of(node)
        assert (first.update, second.update) == (small, large)
        assert tab.shows() == f"small{LARGE}"


@in_virtual_time
async def test_a_large_update_that_others_touch_again_and_again_is_stored_all_the_same() -> None:
    async with house(SMALL) as node:
        ben, ana = await people(node, "ben", "ana")
        court = Court(node)
        ana.send(set_field(ana, "done", padding=200))
        for number in range(ATTEMPTS + 3):
            await settle()
            ben.send(set_field(ben, f"open{number}"))
            await settle()
            await court.answer()
        assert [type(outcome) for outcome in ana.outcomes] == [Stored]
        assert court.checks == ATTEMPTS + 1
        assert len(ben.outcomes) == ATTEMPTS + 3
        assert ana.hear().fields["status"] == ben.hear().fields["status"]


@in_virtual_time
async def test_whoever_leaves_while_their_large_update_is_judged_has_written_it() -> None:
    async with house(SMALL) as node:
        ana, ben = await people(node, "ana", "ben")
        court = Court(node)
        ana.write(LARGE)
        ana.write("!")
        await settle()
        node.leave(ana)
        await court.answer()
        assert ben.shows() == f".{LARGE}!"


@pytest.mark.parametrize("seed", range(12))
@in_virtual_time
async def test_the_index_is_what_the_log_says_whatever_came_while_large_updates_were_judged(seed: int) -> None:
    random = Random(seed)
    async with house(SMALL) as node:
        peers = await people(node, "ana", "ben", "cleo", "dan")

        async def take_time(job: str, key: IssueKey) -> None:
            await asyncio.sleep(random.choice((0, 0.001, 0.02)))

        node.engine.before = take_time
        for _ in range(80):
            peer = random.choice(peers)
            if random.random() < 0.5:
                peer.hear()
            _do_something(random, peer)
            await asyncio.sleep(random.choice((0, 0, 0.001, 0.01)))
        await asyncio.sleep(5)
        assert len({peer.shows() for peer in peers}) == 1
        assert all(peer.wire.closed is None for peer in peers)
        log = await log_of(node)
        expected = Index()
        for delta in log:
            assert fold(expected, delta.update, delta.actor_id, arrival_of(delta)).update == delta.update
        assert peers[0].room is not None
        assert _seen(peers[0].room._intake.index) == _seen(expected)
        assert all(isinstance(outcome, Stored) for peer in peers for outcome in peer.outcomes)


def _do_something(random: Random, peer: Peer) -> None:
    luck = random.random()
    if luck < 0.4:
        peer.write(random.choice("abc"))
    elif luck < 0.55:
        peer.write(LARGE)
    elif luck < 0.7:
        peer.send(set_field(peer, random.choice(("open", "done")), random.choice((0, 200))))
    elif luck < 0.8:
        peer.send(peer.doc.get_update())
    elif len(peer.text) > 3:
        before, at = peer.doc.get_state(), random.randrange(len(peer.text) - 2)
        del peer.text[at : at + 2]
        peer.send(peer.doc.get_update(before))


def _seen(index: Index) -> dict[str, Any]:
    """What must not depend on the order in which updates were judged."""
    chains = {(place.parent.name, place.key): place.chain for place in index.places if place.key is not None}
    heads = {key: (head.client, head.clock, head.value, head.actor) for key, head in index.heads.items()}
    clocks = dict(index.state_vector)
    return {"clocks": clocks, "owners": dict(index.owners), "deleted": index.deleted, "chains": chains, "heads": heads}


def _folded(delta: Delta, log: list[Delta]) -> list[Any]:
    index = Index()
    for each in log:
        verdict = fold(index, each.update, each.actor_id, arrival_of(each))
        if each is delta or each.seq == delta.seq:
            return list(verdict.overwrites)
    raise AssertionError
