"""What a room takes from whom, and what those hear whom it takes nothing from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from uuid import UUID

import pytest
from pycrdt import Map, Text

from crdt.awareness import AwarenessLimits, Entry, decode, encode
from crdt.edits import AddComment, Begin, EditComment
from crdt.errors import CLIENT_ID, FORBIDDEN
from crdt.native import Nack, Open, State
from server.limits import HubLimits, RoomLimits
from server.permissions import Identity, Role
from server.record_errors import Forbidden
from server.records import Records, RecordServices
from server.session import Rejected, Stored
from tests.server.house import ISSUE, House, Peer, house, settle
from tests.server.native_house import native_house
from tests.server.test_native import welcome
from tests.simulation.time import VirtualClock, in_virtual_time

INLINE = HubLimits()
BY_ENGINE = HubLimits(room=RoomLimits(max_inline_update_bytes=1))  # every update is big


def comment(peer: Peer, author: str, body: str = "hello") -> bytes:
    """An update that adds a comment named like its author."""
    before = peer.doc.get_state()
    comments: Map[object] = peer.doc.get("comments", type=Map)
    comments[author] = Map({"author": author, "body": Text(body)})
    return peer.doc.get_update(before)


async def two(node: House, role: Role) -> tuple[Peer, Peer]:
    """The member ana and somebody of another role, in one issue."""
    ana, cob = Peer("ana", client=1), Peer("cob", client=2, role=role)
    for peer in (ana, cob):
        await node.join(peer)
    return ana, cob


def reasons(peer: Peer) -> list[str]:
    return [outcome.refused.reason for outcome in peer.outcomes if isinstance(outcome, Rejected)]


@pytest.mark.parametrize("limits", [INLINE, BY_ENGINE])
@in_virtual_time
async def test_a_commenter_comments_and_does_not_edit(limits: HubLimits) -> None:
    async with house(limits) as node:
        ana, cob = await two(node, Role.COMMENTER)
        cob.send(comment(cob, "cob"))
        await settle()
        assert isinstance(cob.outcomes[0], Stored)
        assert "cob" in ana.hear().doc.get("comments", type=Map)
        cob.write("graffiti")
        await settle()
        assert reasons(cob) == [FORBIDDEN]
        assert ana.shows() == ""


@pytest.mark.parametrize("limits", [INLINE, BY_ENGINE])
@in_virtual_time
async def test_a_member_does_not_comment_as_another(limits: HubLimits) -> None:
    async with house(limits) as node:
        ana, cob = await two(node, Role.MEMBER)
        cob.send(comment(cob, "ana"))
        await settle()
        assert reasons(cob) == [FORBIDDEN]
        assert "ana" not in ana.hear().doc.get("comments", type=Map)


@in_virtual_time
async def test_whoever_types_in_the_title_without_being_allowed_to_is_not_heard_however_fast() -> None:
    async with house() as node:
        ana, cob = await two(node, Role.MEMBER)
        cob.write("a")
        await settle()
        cob.session.renew(Identity("cob", "main", Role.COMMENTER))
        for letter in "bcd":
            cob.write(letter)
        await settle()
        assert reasons(cob)[0] == FORBIDDEN
        assert len(cob.outcomes) == 4
        assert ana.shows() == "a"


# Presence.


def announced(peer: Peer, client: int, state: Mapping[str, object]) -> None:
    assert peer.room is not None
    peer.room.present(peer.session, encode([Entry(client, 1, json.dumps(state).encode())]))


def seen(peer: Peer) -> dict[int, dict[str, object]]:
    limits = AwarenessLimits()
    return {
        entry.client: json.loads(entry.state) for update in peer.hear().presence for entry in decode(update, limits)
    }


@in_virtual_time
async def test_presence_says_whose_it_is_whatever_it_claims() -> None:
    async with house() as node:
        ana, cob = await two(node, Role.COMMENTER)
        claim = {"user": {"name": "Ana", "color": "#f00", "id": "ana"}, "syncline": {"user": "ana", "role": "owner"}}
        announced(cob, 2, claim)
        announced(ana, 1, {"cursor": 3})
        await settle()
        assert (
            seen(ana)
            == seen(cob)
            == {
                1: {"cursor": 3, "syncline": {"user": "ana", "role": "member"}},
                2: {
                    "user": {"name": "Ana", "color": "#f00", "id": "cob"},
                    "syncline": {"user": "cob", "role": "commenter"},
                },
            }
        )


@pytest.mark.parametrize("limits", [INLINE, BY_ENGINE])
@in_virtual_time
async def test_a_client_id_seen_in_presence_cannot_be_used_by_another(limits: HubLimits) -> None:
    """Presence names it before its user has written a word: whoever wrote with it first would lock them out."""
    async with house(limits) as node:
        ana, thief = Peer("ana", client=1), Peer("thief", client=1)
        for peer in (ana, thief):
            await node.join(peer)
        announced(ana, 1, {})
        await settle()
        thief.write("burnt")
        await settle()
        assert reasons(thief) == [CLIENT_ID]
        ana.write("mine")
        await settle()
        assert isinstance(ana.outcomes[0], Stored)


@in_virtual_time
async def test_a_client_id_is_free_again_when_its_user_is_long_gone() -> None:
    async with house() as node:
        ana, ben = Peer("ana", client=1), Peer("ben", client=1)
        room = await node.join(ana)
        await node.join(ben)
        announced(ana, 1, {})
        node.leave(ana)
        for _ in range(2):
            await asyncio.sleep(100)
            room.expire_presence()
        ben.write("mine now")
        await settle()
        assert isinstance(ben.outcomes[0], Stored)


# Bringing copies back in line.


@in_virtual_time
async def test_behind_a_refusal_an_open_issue_is_told_as_it_is() -> None:
    async with native_house() as node:
        ana, cob = await welcome(node.client()), await welcome(node.client("cob", 2), "cob:commenter")
        ana.write(ISSUE, "as it is")
        cob.say(Open(ISSUE, None))
        await cob.until(State)
        cob.write(ISSUE, "graffiti")
        assert (await cob.until(Nack)).code == FORBIDDEN
        await settle()
        cob.hear()
        nack, state = cob.heard[-2:]  # in this order
        assert isinstance(nack, Nack)
        assert isinstance(state, State)
        fresh = Peer()
        fresh.doc.apply_update(state.update)
        assert str(fresh.text) == "as it is"


@in_virtual_time
async def test_a_refused_record_says_that_it_is_forbidden() -> None:
    async with house() as node:
        records = Records(RecordServices(node.hub, node.engine, VirtualClock()))
        ana, cob = Identity("ana", "main", Role.MEMBER), Identity("cob", "main", Role.COMMENTER)
        await records.change(node.workspace, ana, ISSUE, Begin("Title"))
        await records.change(node.workspace, ana, ISSUE, AddComment("hers", "by ana"))
        await records.change(node.workspace, cob, ISSUE, AddComment("his", "by cob"))
        await records.change(node.workspace, cob, ISSUE, EditComment("his", "by cob, edited"))
        for edit in (EditComment("hers", "by cob"), Begin("Another")):
            with pytest.raises(Forbidden):
                await records.change(node.workspace, cob, UUID(int=8) if isinstance(edit, Begin) else ISSUE, edit)
