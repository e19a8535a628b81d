"""An issue, or a workspace, that is full: what each dialect tells whoever would add to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from pycrdt import Doc, Text

from crdt.errors import FULL
from crdt.native import Ack, Nack, Open, PushEntry, State
from crdt.native import Push as Pushed
from crdt.records import Capacity, Limits
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.limits import HubLimits, RoomLimits
from server.session import Outcome, Rejected, Stored
from storage.memory import MemoryStore
from tests.server import test_hocuspocus as providers
from tests.server.house import ISSUE, House, Peer, house, settle
from tests.server.native_house import native_house
from tests.server.test_native import welcome
from tests.simulation.time import in_virtual_time


def holding(issues: int = 0, inline: int = 64 * 1024, **capacity: int) -> HubLimits:
    """Limits of an issue, and of a workspace."""
    update = Limits(capacity=Capacity(**capacity))
    return HubLimits(max_workspace_issues=issues, room=RoomLimits(update=update, max_inline_update_bytes=inline))


SMALL = holding(max_bytes=300)


def reasons(outcomes: list[Outcome]) -> list[str]:
    return [outcome.refused.reason if isinstance(outcome, Rejected) else "" for outcome in outcomes]


class Writer:
    """A replica that is no session."""

    @classmethod
    def of(cls, doc: Doc[Any]) -> Writer:
        """With the document of a session."""
        writer = cls(0)
        writer.doc = doc
        return writer

    def __init__(self, client: int, *known: bytes) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        for update in known:
            self.doc.apply_update(update)
        self.title: Text = self.doc.get("title", type=Text)

    def made(self, edit: Callable[[], None]) -> bytes:
        before = self.doc.get_state()
        edit()
        return self.doc.get_update(before)

    def writes(self, text: str) -> bytes:
        return self.made(lambda: self.title.insert(0, text))

    def clears(self) -> bytes:
        return self.made(self.title.clear)


BEGUN = Writer(11).writes("x" * 200)
TOO_MUCH = Writer(22, BEGUN).writes("y" * 200)


def shrinking() -> bytes:
    return Writer(23, BEGUN).clears()


# The room.


@in_virtual_time
async def test_an_edit_too_many_is_refused_alone_and_deletions_are_taken() -> None:
    for limits in (SMALL, holding(inline=1, max_bytes=300)):  # judged here, and by an engine
        async with house(limits) as node:
            ana, bob = Peer("ana", client=1), Peer("bob", client=2)
            for peer in (ana, bob):
                await node.join(peer)
            ana.write("x" * 200)
            await asyncio.sleep(1)
            bob.hear().write("y" * 200)
            await asyncio.sleep(1)
            assert reasons(bob.outcomes) == [FULL]
            ana.send(Writer(24, ana.doc.get_update()).clears())
            await asyncio.sleep(1)
            assert reasons(ana.outcomes) == ["", ""]
            joiner = Peer("cid", client=3)
            await node.join(joiner)
            await asyncio.sleep(1)
            assert (joiner.shows(), bob.wire.closed) == ("", None)
            assert node.counted("refusals_total", reason=FULL) == 1


@in_virtual_time
async def test_what_was_overwritten_while_an_issue_was_open_is_no_reason_to_refuse() -> None:
    """Merged bytes never shrink, snapshots do: such a room is opened anew, and its peers come back to it."""
    limits = holding(max_bytes=4_000)
    async with house(replace(limits, room=replace(limits.room, max_inline_bytes=1))) as node:
        ana = Peer("ana", client=1)
        room = await node.join(ana)
        for number in range(400):
            ana.send(Writer.of(ana.doc).made(lambda: ana.fields.update({"status": str(number)})))  # noqa: B023
            ana.send(Writer.of(ana.doc).made(lambda: ana.fields.update({"notes": str(number)})))  # noqa: B023
            await asyncio.sleep(1)
            if ana.wire.closed is not None:
                assert ana.wire.closed == (close_codes.RESTART, "opened anew")
                node.leave(ana)
                ana.wire.closed = None
                ana.session = Peer("ana").session
                room = await node.join(ana)
                ana.send(ana.doc.get_update())
        assert set(reasons(ana.outcomes)) == {""}
        assert node.counted("reopened_rooms_total") > 1
        assert room.size_bytes <= 4_000


async def _begin(node: House, issue: int, user: str = "ana") -> Peer:
    peer = Peer(user, client=issue)
    await node.join(peer, UUID(int=issue))
    peer.write("a new issue")
    await asyncio.sleep(1)
    return peer


@in_virtual_time
async def test_a_workspace_takes_so_many_issues_whichever_node_they_begin_on() -> None:
    store = MemoryStore()
    async with house(holding(issues=3), store) as one, house(holding(issues=3), store) as other:
        begun = [await _begin(node, number) for number, node in enumerate((one, other, one), start=1)]
        assert [reasons(peer.outcomes) for peer in begun] == [[""]] * 3
        for node in (one, other):
            late = await _begin(node, 7)
            assert reasons(late.outcomes) == [FULL]
            assert late.wire.closed is None
        begun[0].write(" goes on")
        await settle()
        assert isinstance(begun[0].outcomes[-1], Stored)


@in_virtual_time
async def test_issues_that_begin_at_once_are_counted_one_by_one() -> None:
    async with house(holding(issues=3)) as node:
        peers = [Peer("ana", client=number) for number in range(1, 7)]
        for number, peer in enumerate(peers, start=1):
            await node.join(peer, UUID(int=number))
        for peer in peers:
            peer.write("a new issue")
        await asyncio.sleep(1)
        assert sorted(reason for peer in peers for reason in reasons(peer.outcomes)) == ["", "", "", FULL, FULL, FULL]


@in_virtual_time
async def test_there_is_room_again_when_issues_are_gone_for_good() -> None:
    async with house(holding(issues=1)) as node:
        await _begin(node, 1)
        assert reasons((await _begin(node, 2)).outcomes) == [FULL]
        node.store._workspaces[node.workspace.id].purged.add(UUID(int=1))  # type: ignore[attr-defined]
        waiting = Peer("ana", client=3)
        await node.join(waiting, UUID(int=3))
        await asyncio.sleep(2)
        waiting.write("a new issue")
        await asyncio.sleep(2)
        assert reasons(waiting.outcomes) == [""]


# The dialects.


@in_virtual_time
async def test_native_clients_get_a_nack_and_what_the_issue_is() -> None:
    async with native_house(hub_limits=SMALL) as node:
        ana, ben = await welcome(node.client()), await welcome(node.client("ben", 2))
        ana.say(Pushed((PushEntry(1, ISSUE, BEGUN),)))
        await ana.until(Ack)
        ben.say(Open(ISSUE, None))
        await ben.until(State)
        ben.say(Pushed((PushEntry(1, ISSUE, TOO_MUCH), PushEntry(2, ISSUE, shrinking()))))
        nack = await ben.until(Nack)
        assert (nack.client_seq, nack.code) == (1, FULL)
        assert "bytes" in nack.message
        assert isinstance(ben.heard[ben.heard.index(nack) + 1], State)
        assert 2 in {number for frame in ben.heard if isinstance(frame, Ack) for number, _ in frame.acked}
        assert ben.socket.closed is None


async def test_providers_are_refused_and_told_why() -> None:
    async with providers.world(SMALL) as node:
        ana, ben = await node.entered("ana", "4.8.0"), await node.entered("ben", "4.8.0")
        ana.say(y_websocket.update(BEGUN))
        await ana.hears(hocuspocus.STORED)
        await ben.hears(y_websocket.update(BEGUN))
        ben.say(y_websocket.update(TOO_MUCH))
        await ben.hears(hocuspocus.REFUSED)
        await ben.hears(hocuspocus.stateless('{"refused":"full"}'))


async def test_y_websocket_clients_are_closed_for_good_and_those_who_delete_are_not() -> None:
    async with providers.world(SMALL) as node:
        ana, ben, cid = (
            providers.Client(node.yjs, f"/yjs/{providers.ISSUE}", token) for token in ("ana", "ben", "cid")
        )
        ana.peer.received(y_websocket.update(BEGUN))
        await settle()
        ben.peer.received(y_websocket.update(TOO_MUCH))
        cid.peer.received(y_websocket.update(shrinking()))
        await settle()
        assert await ben.close_code() == close_codes.TOO_MUCH
        assert not cid.connection.closing.done()
        assert await node.head() == 2
