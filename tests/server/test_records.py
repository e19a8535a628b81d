"""Records through real rooms over Postgres: what is committed, what is refused, and what a writer hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from crdt.document import Document
from crdt.edits import AddComment, Begin, Delete, Edit, EditComment
from crdt.issue import IssueContent, read
from crdt.shape import Changes
from crdt.update import merge
from server.permissions import Identity, Role
from server.record_errors import Exists, Forbidden, Invalid, NotThere, Unavailable
from server.records import Records, RecordServices
from server.session import Outcome
from storage.postgres import PostgresStore
from tests.server.house import ISSUE, House, Peer, house, settle
from tests.simulation.time import VirtualClock

ANA = Identity("ana", "main", Role.MEMBER)


@pytest.fixture
async def home(store: PostgresStore) -> AsyncIterator[House]:
    async with house(store=store) as started:
        yield started


@pytest.fixture
def records(home: House) -> Records:
    return Records(RecordServices(home.hub, home.engine, VirtualClock()))


async def content(home: House, issue: UUID = ISSUE) -> IssueContent:
    return read(Document.load(merge((await home.store.load(home.workspace.id, issue)).updates)))


async def test_a_record_is_committed_before_its_writer_hears_of_it(home: House, records: Records) -> None:
    written = await records.change(home.workspace, ANA, ISSUE, Begin("Slow search"), device="script")
    (delta,) = (await home.store.load(home.workspace.id, ISSUE)).tail
    assert (written.seq, written.is_new) == (delta.seq, True)
    assert (delta.actor_id, delta.device_id) == ("ana", "script")


async def test_who_has_the_issue_open_sees_the_edit_of_a_record(home: House, records: Records) -> None:
    await records.change(home.workspace, ANA, ISSUE, Begin("Slow search"))
    peer = Peer("ben")
    await home.join(peer)
    await records.change(home.workspace, ANA, ISSUE, Changes(title="Slow search, always"))
    assert peer.shows() == "Slow search, always"


async def test_a_record_edit_keeps_what_somebody_types_at_once(home: House, records: Records) -> None:
    await records.change(home.workspace, ANA, ISSUE, Begin("Slow search"))
    peer = Peer("ben")
    room = await home.join(peer)
    peer.hear()
    change = asyncio.create_task(records.change(home.workspace, ANA, ISSUE, Changes(title="Fast search")))
    stored: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    room.submit(peer.session, peer.edit("!"), stored.set_result)
    await change
    await asyncio.wait_for(stored, 5)
    assert (await content(home)).title == "Fast search!"


async def test_edits_at_once_are_all_there_and_use_one_client_id(home: House, records: Records) -> None:
    await records.change(home.workspace, ANA, ISSUE, Begin("x"))
    await asyncio.gather(
        *(records.change(home.workspace, ANA, ISSUE, Changes(add_labels=(str(n),))) for n in range(20))
    )
    assert set((await content(home)).labels) == {str(n) for n in range(20)}
    stored = await home.store.load(home.workspace.id, ISSUE)
    assert len(Document.load(merge(stored.updates)).state_vector()) == 2  # its beginning, and ana


async def test_a_repeated_creation_changes_nothing_and_another_one_is_told(home: House, records: Records) -> None:
    first = await records.change(home.workspace, ANA, ISSUE, Begin("x"))
    again = await records.change(home.workspace, ANA, ISSUE, Begin("x"))
    assert (again.seq, again.is_new) == (first.seq, False)
    with pytest.raises(Exists):
        await records.change(home.workspace, ANA, ISSUE, Begin("y"))


async def test_of_several_edits_the_one_that_fails_is_left_out(home: House, records: Records) -> None:
    wanted: list[Edit] = [Begin("x"), EditComment("none", "x"), AddComment("c", "hello")]
    begun, missing, added = await records.change_issue(home.workspace, ANA, ISSUE, wanted)
    assert isinstance(missing, NotThere)
    assert begun == added  # both began here, in one commit
    assert len((await home.store.load(home.workspace.id, ISSUE)).tail) == 1
    assert [comment.body for comment in (await content(home)).comments] == ["hello"]


async def test_what_may_not_or_cannot_be_written_is_refused(home: House, records: Records) -> None:
    viewer = Identity("vic", "main", Role.VIEWER)
    with pytest.raises(Forbidden):
        await records.change(home.workspace, viewer, ISSUE, Begin("x"))
    with pytest.raises(Invalid):
        await records.change(home.workspace, ANA, ISSUE, Begin(""))
    with pytest.raises(NotThere):
        await records.change(home.workspace, ANA, ISSUE, Delete())
    assert (await home.store.load(home.workspace.id, ISSUE)).seq == 0


async def test_a_room_that_ends_is_no_promise_and_its_client_id_is_not_used_again(
    home: House, records: Records
) -> None:
    await records.change(home.workspace, ANA, ISSUE, Begin("x"))
    (room,) = home.hub.rooms
    room.seal()  # as a node that stops does: nothing is taken in any more
    change = asyncio.create_task(records.change(home.workspace, ANA, ISSUE, Changes(title="y")))
    await settle()
    room.close(1012, "server restart")
    with pytest.raises(Unavailable):
        await change
    await records.change(home.workspace, ANA, ISSUE, Changes(title="z"))
    stored = await home.store.load(home.workspace.id, ISSUE)
    assert (await content(home)).title == "z"
    assert len(Document.load(merge(stored.updates)).state_vector()) == 3
