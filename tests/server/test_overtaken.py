"""Edits at a version: made right after it or not at all, whoever else writes, through whichever node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count as count_from
from uuid import UUID

import pytest

from crdt.document import Document
from crdt.edits import Begin
from crdt.gate import fold
from crdt.index import Index
from crdt.issue import IssueContent, read
from crdt.shape import Changes
from crdt.update import merge
from server.permissions import Identity, Role
from server.record_errors import NotThere, Overtaken, Unavailable
from server.records import Records, RecordServices
from server.session import Outcome, Stored
from storage.conflict_findings import arrival_of
from storage.postgres import PostgresStore
from storage.store import NewDelta
from tests.server.house import ISSUE, House, Peer, house
from tests.simulation.time import START, VirtualClock
from tests.storage.appending import append

ANA = Identity("ana", "main", Role.MEMBER)


@dataclass
class Node:
    home: House
    records: Records

    async def set(self, version: int, **fields: str) -> int | None:
        """The version it is then."""
        home, edit = self.home, Changes(fields=dict(fields))
        return (await self.records.change(home.workspace, ANA, ISSUE, edit, only_at=version.__eq__)).version

    async def now(self) -> tuple[int, IssueContent]:
        stored = await self.home.store.load(self.home.workspace.id, ISSUE)
        return stored.version, read(Document.load(merge(stored.updates)))


@pytest.fixture
async def nodes(store: PostgresStore) -> AsyncIterator[list[Node]]:
    """Two over one Postgres. Neither hears of the other but by reading the log."""
    async with AsyncExitStack() as stack:
        homes = [await stack.enter_async_context(house(store=store)) for _ in range(2)]
        made = [Node(home, Records(RecordServices(home.hub, home.engine, VirtualClock()))) for home in homes]
        await made[0].records.change(homes[0].workspace, ANA, ISSUE, Begin("x"))
        yield made


async def joined(node: Node, user: str) -> Peer:
    peer = Peer(user, client=len(user) + 40)
    await node.home.join(peer)
    peer.hear()
    return peer


async def test_an_edit_at_the_version_is_made_and_says_which_one_that_makes(nodes: list[Node]) -> None:
    assert await nodes[0].set(1, status="open") == 2
    assert (await nodes[0].now())[0] == 2
    assert await nodes[0].set(2, status="open") == 2  # it says so already
    with pytest.raises(Overtaken):
        await nodes[0].set(1, status="done")
    home = nodes[0].home
    with pytest.raises(NotThere):
        await nodes[0].records.change(home.workspace, ANA, UUID(int=9), Changes(title="y"), only_at=(1).__eq__)


async def test_a_node_reads_what_others_committed_before_it_says_no(nodes: list[Node]) -> None:
    one, other = nodes
    peer = await joined(other, "ben")  # so that its room is open, and behind
    await one.set(1, status="open")
    assert await other.set(2, status="done") == 3
    with pytest.raises(Overtaken):
        await one.set(2, status="open")
    assert peer.hear().fields["status"] == "done"


async def test_a_node_that_committed_later_itself_reads_what_others_committed_before_that(nodes: list[Node]) -> None:
    """Its newest seq is the log's then, and still it lacks something: an edit made of that would be concurrent."""
    one, other = nodes
    peer = await joined(other, "ben")
    await one.set(1, status="open")
    stored: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    assert peer.room is not None
    peer.room.submit(peer.session, peer.edit("!"), stored.set_result)
    await asyncio.wait_for(stored, 5)
    assert await other.set(3, status="done") == 4
    index, log = Index(), await one.home.store.page(one.home.workspace.id, 0, 10)
    overwrites = [fold(index, delta.update, delta.actor_id, arrival_of(delta)).overwrites for delta in log]
    assert len(log) == 4
    assert not any(overwrites)


async def test_whoever_is_overtaken_in_the_log_changes_nothing_and_its_room_stays(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    peer = await joined(other, "ben")
    append = other.home.store.append

    async def append_behind(batch: list[NewDelta]) -> list[int]:
        """The other node is faster, between our comparison and our commit."""
        monkeypatch.setattr(other.home.store, "append", append)
        await one.set(1, status="open")
        return await append(batch)

    monkeypatch.setattr(other.home.store, "append", append_behind)
    with pytest.raises(Overtaken):
        await other.set(1, status="done")
    assert (await one.now())[1].status == "open"
    stored: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    assert peer.room is not None
    peer.room.submit(peer.session, peer.edit("!"), stored.set_result)
    assert isinstance(await asyncio.wait_for(stored, 5), Stored)
    assert peer.wire.closed is None
    assert (peer.shows(), peer.fields["status"]) == ("x!", "open")
    assert await other.set(3, status="done") == 4
    assert (await one.now())[1].status == "done"


async def test_what_is_sent_while_an_edit_may_be_overtaken_is_taken_in_whatever_becomes_of_it(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    peer = await joined(other, "ben")
    stored: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    append = other.home.store.append

    async def append_behind(batch: list[NewDelta]) -> list[int]:
        monkeypatch.setattr(other.home.store, "append", append)
        assert peer.room is not None
        peer.room.submit(peer.session, peer.edit("!"), stored.set_result)
        await one.set(1, status="open")
        await other.home.relay.catch_up(other.home.workspace.id)  # and the room hears of it before its commit fails
        return await append(batch)

    monkeypatch.setattr(other.home.store, "append", append_behind)
    with pytest.raises(Overtaken):
        await other.set(1, priority="high")
    assert isinstance(await asyncio.wait_for(stored, 5), Stored)
    assert (await one.now())[1].title == "x!"
    assert (peer.shows(), peer.fields["status"]) == ("x!", "open")


@pytest.mark.parametrize("rounds", [5, pytest.param(25, marks=pytest.mark.long)])
async def test_of_a_counter_that_many_writers_keep_no_step_is_lost(nodes: list[Node], rounds: int) -> None:
    """Each reads, adds one and writes at the version it read; and somebody types meanwhile through the other node."""
    done, tried, attempts = False, asyncio.Event(), count_from(1)

    async def count(node: Node) -> None:
        left = rounds
        while left:
            version, issue = await node.now()
            try:
                await node.set(version, claude_task_id=str(int(issue.claude_task_id or 0) + 1))
                left -= 1
            except (Overtaken, Unavailable):
                pass
            if next(attempts) % 5 == 0:  # all the time, and nobody else would ever be in time
                tried.set()

    async def type_along(node: Node) -> Peer:
        peer = await joined(node, "typist")
        while not done:
            await tried.wait()
            tried.clear()
            stored: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            assert peer.room is not None
            peer.room.submit(peer.session, peer.hear().edit("."), stored.set_result)
            assert isinstance(await asyncio.wait_for(stored, 10), Stored)
        return peer

    typing = asyncio.create_task(type_along(nodes[1]))
    await asyncio.gather(*(count(node) for node in nodes for _ in range(2)))
    done = True
    tried.set()
    typist = await typing
    assert (await nodes[0].now())[1].claude_task_id == str(4 * rounds)
    assert typist.wire.closed is None


async def test_a_delta_is_refused_that_would_not_come_right_after_what_it_names(store: PostgresStore) -> None:
    """With others in its batch, which are then committed by themselves."""
    async with house(store=store) as home:
        new = NewDelta(home.workspace.id, ISSUE, b"\x00\x00", "ana", None, START)
        await store.append([new, new])
        late, other = new._replace(after=1), new._replace(issue_id=UUID(int=9))
        refused, taken = append(home.appender, [late]), append(home.appender, [other])
        with pytest.raises(Exception, match="was written to since"):
            await refused
        assert await taken == [3]
