"""Random programs of one issue, and an oracle that knows who knew what: real Yjs clients, who send and hear as it
happens, and whoever writes without a document. `WRITERS` are the kinds of these; one more is one more function there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from pycrdt import Doc, Map
from starlette.applications import Starlette

from crdt.decisions import SetField
from crdt.shape import FIELD_KEYS
from crdt.sync import SyncStep2, Update
from crdt.update import merge
from server.decisions import Decisions
from server.dialects import y_websocket
from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.conflicts import ConflictServices
from server.doors.rest.frame import Frame
from server.doors.rest.routes import routes_of
from server.metrics import Metrics
from server.permissions import Identity, Role
from server.records import Records, RecordServices
from server.session import Stored
from storage.conflicts import EVERY_FIELD, USER_DECISION, Conflict, ConflictQuery
from tests.js.fields import Replicas, Set, Step
from tests.server.house import House, Peer, settle
from tests.server.rest.asking import NO_ACCOUNTS, NO_FEEDS, NO_OUTBOX, NO_TRANSFER, ask, everywhere, verify
from tests.simulation.time import VirtualClock

FIELDS: Final = ("status", "priority", "user_id")
TITLE: Final = "title"  # replicas type in front of it
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
        self.titles: set[str] = set()  # all that was ever typed there
        self.beginnings: dict[str, int] = {}  # what was typed without knowing of any, and by which client
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
            self.committed.add(edit.value)
            self.reader.apply_update(edit.update)
            if edit.field == TITLE:
                continue
            shown = str(self.reader.get("fields", type=Map).get(FIELD_KEYS[edit.field]))
            stood = self.standing.get(edit.field)
            if stood is not None and stood not in edit.knew:
                lost.add((edit.field, edit.value if shown == stood else stood))
            self.standing[edit.field] = shown
        self.lost |= lost - {(edit.field, edit.replaced) for edit in edits}

    @property
    def lost_beginnings(self) -> set[str]:
        """Of all who began the issue without knowing of another, the lowest client id stands."""
        begun = {value: client for value, client in self.beginnings.items() if value in self.committed}
        return {value for value, client in begun.items() if client != min(begun.values())}


class World:
    """All programs on one node, a round at a time."""

    def __init__(self, node: House, yjs: Replicas, seeds: range) -> None:
        self.node = node
        self.yjs = yjs
        self.records = Records(RecordServices(node.hub, node.engine, VirtualClock()))
        self.decisions = Decisions(node.store.ledger, self.records, VirtualClock())
        self.api = self._api()
        self.programs = [Program(seed) for seed in seeds]

    def _api(self) -> Starlette:
        store, nothing = self.node.store, cast(Any, None)
        conflicts = ConflictServices(store.ledger, self.decisions)
        services = ApiServices(
            nothing, self.records, nothing, NO_TRANSFER, conflicts, NO_ACCOUNTS, NO_OUTBOX, everywhere, NO_FEEDS
        )
        return http_app(Metrics(), ready, routes_of(Frame(store, verify), operations_of(services)))

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
                    name = program.random.choice((*FIELDS, TITLE))
                    step = Step(replica.client, [], FIELD_KEYS.get(name, TITLE), program.next_value())
                    writing.append((program, replica, step))
                case 6 | 7 | 8:
                    acting.append(self.send(program, replica))
                case _:
                    acting.append(self.without_a_document(program, name))
        await self.write(writing)
        await asyncio.gather(*acting)

    async def write(self, writing: list[tuple[Program, Replica, Step]]) -> None:
        names = {TITLE: TITLE} | {key: name for name, key in FIELD_KEYS.items()}
        told = await self.yjs.take([step for _, _, step in writing])
        for (program, replica, step), one in zip(writing, told, strict=True):
            if isinstance(one, Set) and step.key is not None:
                edit = Edit(names[step.key], step.value, replica.knows, one.replaced, one.update)
                replica.unsent.append(edit)
                if edit.field == TITLE:
                    if not replica.knows & program.titles:
                        program.beginnings[edit.value] = replica.client
                    program.titles.add(edit.value)
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

    async def without_a_document(self, program: Program, name: str) -> None:
        """Somebody writes who has none, in whatever way."""
        if program.committed:  # else there is no issue yet
            await program.random.choice(WRITERS)(self, program, name)

    def committed_now(
        self, program: Program, name: str, value: str, knew: frozenset[str], replaced: str | None
    ) -> None:
        """A value is in the log whose author knew so much, and saw `replaced`."""
        room = program.replicas[0].peer.room
        assert room is not None
        program.commit([Edit(name, value, knew, replaced, merge(room.updates()))])

    async def ask(self, method: str, path: str, body: object) -> Any:
        """The answer of `/v1`, which is no problem."""
        sent = json.dumps(body).encode()
        status, answer, _ = await ask(self.api, method, f"/v1/workspaces/main{path}", body=sent)
        assert status == HTTPStatus.OK, answer
        return answer

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

    async def titles(self, program: Program) -> list[str]:
        return await self.yjs.titles([replica.client for replica in program.replicas])

    async def shown(self, program: Program) -> list[dict[str, Any]]:
        return await self.yjs.fields([replica.client for replica in program.replicas])


async def ready() -> None: ...


async def write_record(world: World, program: Program, name: str) -> None:
    """One who knows what is committed."""
    value, knew, replaced = program.next_value(), frozenset(program.committed), program.standing.get(name)
    await world.records.change(world.node.workspace, WRITER, program.issue, SetField(name, value))
    world.committed_now(program, name, value, knew, replaced)


async def patch(world: World, program: Program, name: str) -> None:
    """The same over HTTP."""
    value, knew, replaced = program.next_value(), frozenset(program.committed), program.standing.get(name)
    await world.ask("PATCH", f"/issues/{program.issue}", {name: value})
    world.committed_now(program, name, value, knew, replaced)


async def patch_many(world: World, program: Program, name: str) -> None:
    """Two values of the same field in one request: the second one's author knew the first."""
    first, second = program.next_value(), program.next_value()
    knew = frozenset(program.committed)
    wanted = [{"id": str(program.issue), name: value} for value in (first, second)]
    answer = await world.ask("PATCH", "/issues/bulk", {"issues": wanted})
    assert [each["status"] for each in answer["results"]] == [HTTPStatus.OK] * 2, answer
    program.committed.add(first)
    world.committed_now(program, name, second, knew | {first}, replaced=first)


# Whoever writes without a document: writes one value of that field, and says so to the oracle.
Write: TypeAlias = Callable[[World, Program, str], Awaitable[None]]
WRITERS: Final[list[Write]] = [write_record, patch, patch_many]
