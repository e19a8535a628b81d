"""Strokes that come faster than turns are judged and stored as one; whatever is odd among them is judged by itself."""

from __future__ import annotations

from crdt.errors import CLIENT_ID
from crdt.parser import parse
from crdt.records import UNBOUNDED
from server.session import Incomplete, Rejected, Stored
from tests.server.house import House, Peer, house, settle


async def strings(node: House) -> list[int]:
    """How many characters each struct of each delta has."""
    deltas = await node.store.page(node.workspace.id, 0, 1_000)
    return [s.length for d in deltas for c in parse(d.update, UNBOUNDED).sections for s in c.structs]


async def test_what_was_typed_within_a_turn_is_one_string_in_the_log() -> None:
    async with house() as node:
        ana, ben = Peer("ana", client=1), Peer("ben", client=2)
        for peer in (ana, ben):
            await node.join(peer)
        ana.write("a")
        await settle()
        for letter in "bcdefgh":
            ana.write(letter)
        await settle()
        assert await strings(node) == [1, 7]
        assert ben.shows() == "abcdefgh"
        assert [type(outcome) for outcome in ana.outcomes] == [Stored] * 8
        assert {outcome.seq for outcome in ana.outcomes[1:] if isinstance(outcome, Stored)} == {2}


async def test_strokes_under_another_ones_client_id_are_refused_each() -> None:
    async with house() as node:
        ana, eve = Peer("ana", client=1), Peer("eve", client=2)
        for peer in (ana, eve):
            await node.join(peer)
        ana.write("a")
        await settle()
        forged = [ana.edit(letter) for letter in "xyz"]
        for update in forged:
            eve.send(update)
        await settle()
        assert [type(outcome) for outcome in eve.outcomes] == [Rejected] * 3
        assert {outcome.refused.reason for outcome in eve.outcomes if isinstance(outcome, Rejected)} == {CLIENT_ID}
        assert await strings(node) == [1]


async def test_strokes_behind_a_missing_one_wait_as_they_would_alone() -> None:
    async with house() as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        ana.write("a")
        await settle()
        missing = ana.edit("b")
        for letter in "cde":
            ana.write(letter)
        await settle()
        assert [type(outcome) for outcome in ana.outcomes] == [Stored] + [Incomplete] * 3
        ana.send(missing)
        await settle()
        assert await strings(node) == [1, 1], "what had a gap was not kept"


async def test_strokes_the_log_holds_already_are_acknowledged_and_not_kept_again() -> None:
    async with house() as node:
        ana = Peer("ana", client=1)
        await node.join(ana)
        ana.write("a")
        await settle()
        updates = [ana.edit(letter) for letter in "bcdef"]
        for update in updates[:3]:
            ana.send(update)
        await settle()
        for update in updates:
            ana.send(update)
        await settle()
        assert [type(outcome) for outcome in ana.outcomes] == [Stored] * 9
        assert await strings(node) == [1, 3, 2]
