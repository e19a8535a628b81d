"""Conflicts against an oracle that knows who knew what: random programs of real Yjs clients, who send and hear as it
happens, and of writers of records. No conflict missed, none invented, every losing value there after compaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from pycrdt import Doc, Map

from crdt.decisions import SetField
from crdt.shape import FIELD_KEYS
from crdt.sync import SyncStep2, Update
from crdt.update import merge
from server.decisions import Decision, Decisions
from server.dialects import y_websocket
from server.permissions import Identity, Role
from server.records import Records, RecordServices
from server.session import Stored
from storage.conflicts import EVERY_FIELD, LOSING, USER_DECISION, Conflict, ConflictQuery
from storage.memory import MemoryStore
from tests.js.fields import Replicas, Set, Step, replicas
from tests.server.compacted import compact
from tests.server.house import House, Peer, house, settle
from tests.simulation.time import VirtualClock

FIELDS: Final = ("status", "priority", "user_id")
REPLICAS: Final = 3
WRITER: Final = Identity("writer", "main", Role.MEMBER)


@dataclass(eq=False)
class Edit:
    """One value of a field. `value` names it; `knew`: every value its author had heard of; `replaced`: what stood on
    the author's screen."""

    field: str
    value: str
    knew: frozenset[str]
    replaced: str | None
    update: bytes


@dataclass(eq=False)
class Replica:
    """A client in Node: what it has heard of, and what it has not sent yet."""

    client: int
    peer: Peer
    knows: frozenset[str] = frozenset()
    unsent: list[Edit] = field(default_factory=list)

    def heard(self) -> list[bytes]:
        """The updates that the server sent it since it was asked last."""
        frames, self.peer.wire.frames = self.peer.wire.frames, []
        told = [y_websocket.decode(frame) for frame in frames]
        return [message.update for message in told if isinstance(message, Update | SyncStep2)]


class Program:
    """One issue: what its replicas do next, and what the oracle says must be in the ledger."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.issue = UUID(int=seed + 1)
        clients = self.random.sample(range(seed * 100 + 1, seed * 100 + 100), REPLICAS)
        self.replicas = [Replica(client, Peer(f"user{client}", client=client)) for client in clients]
        self.committed: set[str] = set()
        self.standing: dict[str, str] = {}
        self.lost: set[tuple[str, str]] = set()  # (field, value)
        self.reader: Doc[Any] = Doc()
        self._values = 0

    def next_value(self) -> str:
        self._values += 1
        return f"v{self._values}"

    def commit(self, edits: list[Edit]) -> None:
        """One delta is in the log. Where an edit meets a value that its author had not heard of, the one that does not
        stand is lost, unless its own author has replaced it in the same delta."""
        lost: set[tuple[str, str]] = set()
        for edit in edits:
            self.reader.apply_update(edit.update)
            shown = str(self.reader.get("fields", type=Map).get(FIELD_KEYS[edit.field]))
            stood = self.standing.get(edit.field)
            if stood is not None and stood not in edit.knew:
                lost.add((edit.field, edit.value if shown == stood else stood))
            self.standing[edit.field] = shown
            self.committed.add(edit.value)
        self.lost |= lost - {(edit.field, edit.replaced) for edit in edits}


class World:
    """All programs on one node, a round at a time."""

    def __init__(self, node: House, yjs: Replicas, seeds: range) -> None:
        self.node = node
        self.yjs = yjs
        self.records = Records(RecordServices(node.hub, node.engine, VirtualClock()))
        self.programs = [Program(seed) for seed in seeds]

    async def begin(self) -> None:
        policy = {EVERY_FIELD: USER_DECISION}
        await self.node.store.ledger.set_policy(self.node.workspace.id, policy)  # type: ignore[arg-type]
        for program in self.programs:
            for replica in program.replicas:
                await self.node.join(replica.peer, program.issue)
        await settle()

    async def round(self) -> None:
        """Each program does one thing: somebody sets a field, hears, sends, or writes a record."""
        writing: list[tuple[Program, Replica, Step]] = []
        acting = []
        for program in self.programs:
            replica = program.random.choice(program.replicas)
            name = program.random.choice(FIELDS)
            match program.random.randrange(10):
                case 0 | 1:
                    step = Step(replica.client, replica.heard())
                    replica.knows |= program.committed
                    writing.append((program, replica, step))
                case 2 | 3 | 4 | 5:
                    step = Step(replica.client, [], FIELD_KEYS[name], program.next_value())
                    writing.append((program, replica, step))
                case 6 | 7 | 8:
                    acting.append(self.send(program, replica))
                case _:
                    acting.append(self.record(program, name))
        await self.write(writing)
        await asyncio.gather(*acting)

    async def write(self, writing: list[tuple[Program, Replica, Step]]) -> None:
        names = {key: name for name, key in FIELD_KEYS.items()}
        told = await self.yjs.take([step for _, _, step in writing])
        for (_, replica, step), one in zip(writing, told, strict=True):
            if isinstance(one, Set) and step.key is not None:
                edit = Edit(names[step.key], step.value, replica.knows, one.replaced, one.update)
                replica.unsent.append(edit)
                replica.knows |= {step.value}

    async def send(self, program: Program, replica: Replica) -> None:
        """All that it has not sent yet, in one turn: one delta."""
        edits, replica.unsent = replica.unsent, []
        if not edits:
            return
        for edit in edits:
            replica.peer.send(edit.update)
        while len(replica.peer.outcomes) < len(edits):
            await settle()
        assert all(isinstance(outcome, Stored) for outcome in replica.peer.outcomes)
        replica.peer.outcomes.clear()
        program.commit(edits)

    async def record(self, program: Program, name: str) -> None:
        """A writer without a document, who knows what is committed."""
        if not program.committed:
            return  # there is no record yet
        value = program.next_value()
        knew, replaced = frozenset(program.committed), program.standing.get(name)
        await self.records.change(self.node.workspace, WRITER, program.issue, SetField(name, value))
        room = program.replicas[0].peer.room
        assert room is not None
        program.commit([Edit(name, value, knew, replaced, merge(room.updates()))])

    async def end(self) -> None:
        """Everybody sends, then everybody hears."""
        for at in range(REPLICAS):
            await asyncio.gather(*(self.send(program, program.replicas[at]) for program in self.programs))
        await self.hear(self.programs)

    async def hear(self, programs: list[Program]) -> None:
        await settle()
        everybody = [replica for program in programs for replica in program.replicas]
        await self.yjs.take([Step(replica.client, replica.heard()) for replica in everybody])

    async def ledger(self, program: Program) -> list[Conflict]:
        query = ConflictQuery(limit=1000, issue_id=program.issue)
        return await self.node.store.ledger.page(self.node.workspace.id, query)

    async def shown(self, program: Program) -> list[dict[str, Any]]:
        return await self.yjs.fields([replica.client for replica in program.replicas])


async def judge(seeds: range, rounds: int, compacted: int) -> int:
    """Run the programs and compare; returns how many conflicts there were. `compacted`: of so many programs the log is
    folded away, and their losing values are given back."""
    store = MemoryStore()
    async with house(store=store) as node, replicas() as yjs:
        world = World(node, yjs, seeds)
        await world.begin()
        for _ in range(rounds):
            await world.round()
        await world.end()
        found = 0
        for program in world.programs:
            rows = await world.ledger(program)
            assert {(row.field, row.losing.value) for row in rows} == program.lost, program.issue
            assert len(rows) == len(program.lost)
            stands = {FIELD_KEYS[name]: value for name, value in program.standing.items()}
            assert await world.shown(program) == [stands] * REPLICAS, program.issue
            found += len(rows)
        with_losers = [program for program in world.programs if program.lost][:compacted]
        assert len(with_losers) == compacted
        for program in with_losers:
            await give_back_after_compaction(world, store, program)
        return found


async def give_back_after_compaction(world: World, store: MemoryStore, program: Program) -> None:
    """The losing values are where they were, and each one can be had: by everybody."""
    workspace = world.node.workspace
    before = await world.ledger(program)
    for _ in range(2):
        await compact(store, workspace.id, program.issue)
    rows = await world.ledger(program)
    assert rows == before
    decisions = Decisions(store.ledger, world.records, VirtualClock())
    for row in rows:
        if row.state == "open":
            await decisions.resolve(workspace, WRITER, row.id, Decision(LOSING), device=None)
            await world.hear([program])
            key = FIELD_KEYS[row.field]
            assert [shown[key] for shown in await world.shown(program)] == [row.losing.value] * REPLICAS


async def test_hundreds_of_programs() -> None:
    assert await judge(range(400), rounds=16, compacted=10) > 400


@pytest.mark.long
@pytest.mark.parametrize("seeds", [range(1000, 2000), range(2000, 3000)])
async def test_thousands_of_programs(seeds: range) -> None:
    assert await judge(seeds, rounds=24, compacted=30) > 2000
