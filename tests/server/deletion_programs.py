"""Random programs of one issue whose clients come and go, edit, delete and restore it; and an oracle that says which
edits and deletions met without having heard of each other, as docs/conflicts.md has it.

It rests on what can be seen from outside: what clients said they have, what a witness in the room had been sent when a
message came in, and the order of the log. What an issue shows to whoever has heard of this much and no more, real
documents say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias
from uuid import UUID

from pycrdt import Doc, Map, Text

from crdt.shape import FIELD_KEYS
from crdt.sync import SyncStep2, Update
from crdt.update import decode_state_vector, encode_state_vector
from server.dialects import y_websocket
from server.permissions import Identity, Role
from server.room import Room
from server.session import Session
from storage.conflicts import UPDATE_DELETE, Conflict, ConflictQuery
from storage.store import Delta
from tests.server.house import DIALECT, House, Wire, settle

FIELD, TEXT, LABEL, COMMENT, ERASE, DELETE, RESTORE = "field", "text", "label", "comment", "erase", "delete", "restore"
KINDS: Final = [FIELD] * 3 + [TEXT] * 3 + [LABEL, COMMENT, ERASE] + [DELETE] * 2 + [RESTORE]
EDITS: Final = frozenset((FIELD, TEXT, LABEL, COMMENT))
REPLICAS: Final = 3
UNSAID: Final = "what nobody knows any more counts as a deletion"
_PARTS: Final = {TEXT: "description", LABEL: "labels", COMMENT: "comments"}

Struct: TypeAlias = tuple[int, int]
Clocks: TypeAlias = dict[int, int]
Met: TypeAlias = tuple[str, Struct]  # who edited, and the deletion that they met


@dataclass(eq=False)
class Event:
    """Something its author did. `knew`: all they had then · `update`: just that, with its first struct."""

    kind: str
    user: str
    struct: Struct
    knew: Clocks
    update: bytes
    name: str = ""
    value: str | None = None
    unsaid: bytes = b""  # the update with another value, where its author had replaced it when they sent it


@dataclass(eq=False)
class Message:
    """What one session sent at once. `stated`: what it said it has when it came · `arrived`: what others had been told
    by then."""

    user: str
    events: list[Event]
    stated: Clocks
    arrived: Clocks
    update: bytes


class Listener(Wire):
    """Remembers what was ever put on it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Doc[Any] = Doc()

    def send(self, frame: bytes) -> None:
        super().send(frame)
        match y_websocket.decode(frame):
            case Update(update) | SyncStep2(update):
                self.told.apply_update(update)
            case _:
                pass


class Replica:
    """A document of one user."""

    def __init__(self, user: str, client: int, chance: Random) -> None:
        self.user = user
        self.chance = chance
        self.doc: Doc[Any] = Doc(client_id=client)
        self.client = client
        self.unsent: list[Event] = []
        self.room: Room | None = None
        self.at = 0  # of the nodes
        self.session: Session
        self.wire = Wire()
        self.stated: Clocks = {}
        self._values = 0

    @property
    def knows(self) -> Clocks:
        return decode_state_vector(self.doc.get_state())

    def does(self) -> None:
        """One thing, or nothing where there is nothing to erase."""
        before, kind = self.knows, self.chance.choice(KINDS)
        self._values += 1
        value: str | None = f"{self.client} {self._values}"
        unsaid = b""
        name = self.chance.choice(("status", "priority"))
        fields, text = self.doc.get("fields", type=Map), self.doc.get("description", type=Text)
        if kind == FIELD:
            fields[name] = value
        elif kind == TEXT:
            text.insert(self.chance.randrange(len(str(text)) + 1), f"<{value}>")
        elif kind == LABEL:
            self.doc.get("labels", type=Map)[self.chance.choice("ab")] = True
        elif kind == COMMENT:
            self.doc.get("comments", type=Map)[str(value)] = Map({"author": self.user, "body": Text("So?")})
        elif kind == ERASE:
            del text[max(len(str(text)) - 3, 0) : len(str(text))]
        else:
            twin: Doc[Any] = Doc(client_id=self.client)
            twin.apply_update(self.doc.get_update())
            twin.get("fields", type=Map)["deletedAt"] = UNSAID
            unsaid = twin.get_update(encode_state_vector(before))
            value = value if kind == DELETE else None
            fields["deletedAt"] = value
        update = self.doc.get_update(encode_state_vector(before))
        struct = (self.client, before.get(self.client, 0))
        self.unsent.append(Event(kind, self.user, struct, before, update, name, value, unsaid))

    def hears(self, frames: int) -> None:
        """Take in so many of the messages that have come."""
        heard, self.wire.frames = self.wire.frames[:frames], self.wire.frames[frames:]
        for frame in heard:
            match y_websocket.decode(frame):
                case Update(update) | SyncStep2(update):
                    self.doc.apply_update(update)
                case _:
                    pass


@dataclass
class Truth:
    """What the log amounts to. `met`: with what is told of the edits that came first · `concurrent`: all that met, had
    everybody told at once what they knew."""

    reader: Doc[Any] = field(default_factory=Doc)
    log: list[Event] = field(default_factory=list)
    met: dict[Met, dict[str, object]] = field(default_factory=dict)
    concurrent: set[Met] = field(default_factory=set)

    def commit(self, message: Message) -> None:
        """One message is in the log."""
        stood = self._deletion()
        self.reader.apply_update(message.update)
        self.log += message.events
        deletion = self._deletion()
        if deletion is None:
            return
        if deletion not in message.events:
            edits = [each for each in message.events if each.kind in EDITS]
            self._meet(
                message.user, deletion, [each for each in edits if not self._knew_deleted(message, each, deletion)]
            )
            self.concurrent |= {(each.user, deletion.struct) for each in edits if not _has(each.knew, deletion.struct)}
        elif stood is None:
            edits = [each for each in self.log if each.kind in EDITS and each not in message.events]
            for user in {each.user for each in edits}:
                theirs = [each for each in edits if each.user == user]
                self._meet(user, deletion, [each for each in theirs if not self._knew(message, deletion, each)])
            unknown = {each.user for each in edits if not _has(deletion.knew, each.struct)}
            self.concurrent |= {(user, deletion.struct) for user in unknown}

    def met_on_any_node(self) -> set[Met]:
        """All edits and deletions whose authors did not know of each other, whatever stood when."""
        edits = [each for each in self.log if each.kind in EDITS]
        deletions = [each for each in self.log if each.kind == DELETE]
        return {
            (edit.user, deletion.struct)
            for edit in edits
            for deletion in deletions
            if not _has(edit.knew, deletion.struct) and not _has(deletion.knew, edit.struct)
        }

    def _meet(self, user: str, deletion: Event, edits: Sequence[Event]) -> None:
        if edits and (user, deletion.struct) not in self.met:
            self.met[(user, deletion.struct)] = self._told(edits)

    def _deletion(self) -> Event | None:
        return self._shown_by(self.reader)

    def _shown_by(self, doc: Doc[Any]) -> Event | None:
        shown = doc.get("fields", type=Map).get("deletedAt")
        return next((each for each in self.log if each.kind == DELETE and each.value == shown), None)

    def _knew(self, message: Message, one: Event, other: Event) -> bool:
        """Whether `one`, which is in a message, counts as having heard of `other`."""
        if _has(message.stated, one.struct):
            return _has(message.stated, other.struct)
        heard = (message.arrived, message.stated)
        return other.user == message.user or any(_has(clocks, other.struct) for clocks in heard)

    def _knew_deleted(self, message: Message, edit: Event, deletion: Event) -> bool:
        if self._knew(message, edit, deletion):
            return True
        view: Doc[Any] = Doc()
        for event in self.log:
            if self._knew(message, edit, event):
                view.apply_update(event.update)
        return view.get("fields", type=Map).get("deletedAt") is not None

    def _told(self, edits: Sequence[Event]) -> dict[str, object]:
        fields, told = self.reader.get("fields", type=Map), dict[str, object]()
        parts = {_PARTS[each.kind] for each in edits if each.kind in _PARTS}
        for name in {each.name for each in edits if each.kind == FIELD}:
            shown = fields.get(FIELD_KEYS[name])
            if any(each.value == shown for each in edits if each.kind == FIELD and each.name == name):
                told[name] = shown
            else:
                parts.add(name)
        return told | ({"touched": sorted(parts)} if parts else {})


class Program:
    """One issue, its replicas, and what they do next. Sometimes two of them are tabs of one user, which tell each
    other."""

    def __init__(self, nodes: Sequence[House], seed: int) -> None:
        self.nodes = nodes
        self.node = nodes[0]
        self.chance = Random(seed)
        self.issue = UUID(int=seed + 1)
        self.has_tabs = self.chance.random() < 0.3
        users = ["ana", "ana" if self.has_tabs else "ben", "carl"]
        clients = self.chance.sample(range(1, 100), REPLICAS)
        self.replicas = [Replica(user, client, self.chance) for user, client in zip(users, clients, strict=True)]
        self.witnesses = [Listener() for _ in nodes]
        self.sent: list[Message] = []
        self.truth = Truth()

    async def run(self, rounds: int) -> None:
        """Afterwards everybody is there and has heard of everything."""
        for node, wire in zip(self.nodes, self.witnesses, strict=True):
            witness = Session(Identity("witness", "main", Role.VIEWER), wire, DIALECT)
            room = await node.hub.join(node.workspace, self.issue, witness)
            room.answer(witness, b"\x00")
        for replica in self.replicas:
            await self.comes(replica)
        for _ in range(rounds):
            for replica in self.chance.choices(self.replicas, k=self.chance.randrange(1, 2 * REPLICAS)):
                await self.step(replica)
            if self.chance.random() < 0.6:
                await settle()
            if self.chance.random() < 0.5:
                await self.relay()
        for replica in self.replicas:
            self.leaves(replica)
            await self.relay()
            await self.comes(replica)
            await self.relay()
        for replica in self.replicas:
            replica.hears(1_000)

    async def relay(self) -> None:
        """Nodes hear of each other, where there are several."""
        await settle()
        if len(self.nodes) > 1:
            for node in self.nodes:
                await node.relay.catch_up(node.workspace.id)
            await settle()

    async def step(self, replica: Replica) -> None:
        luck = self.chance.random()
        if luck < 0.5:
            replica.does()
            self.sends(replica)
        elif replica.room is None:
            if luck < 0.6:
                await settle()
                await self.comes(replica)
        elif luck < 0.8:
            replica.hears(self.chance.randrange(1, 4))
        elif luck < 0.88:
            self.leaves(replica)
        elif self.has_tabs and replica.user == "ana":
            other = next(each for each in self.replicas if each.user == "ana" and each is not replica)
            await settle()
            if not other.unsent and not replica.unsent:
                replica.doc.apply_update(other.doc.get_update(replica.doc.get_state()))

    def leaves(self, replica: Replica) -> None:
        if replica.room is not None:
            self.nodes[replica.at].hub.leave(replica.room, replica.session)
            replica.room = None

    async def comes(self, replica: Replica) -> None:
        """As y-websocket does it: both say what they have, and both answer; the server asks before it answers."""
        replica.wire = Wire()
        replica.session = Session(Identity(replica.user, "main", Role.MEMBER), replica.wire, DIALECT)
        replica.at = self.chance.randrange(len(self.nodes))
        node = self.nodes[replica.at]
        replica.room = await node.hub.join(node.workspace, self.issue, replica.session)
        asked = replica.room.state_vector()
        replica.stated = replica.knows
        replica.room.answer(replica.session, replica.doc.get_state())
        if self.chance.random() < 0.3:
            replica.does()
        self.sends(replica, replica.doc.get_update(asked))

    def sends(self, replica: Replica, update: bytes | None = None) -> None:
        """All that it has not sent yet, in one message."""
        if replica.room is None or (update is None and not replica.unsent):
            return
        events, replica.unsent = replica.unsent, []
        if update is None:
            [event] = events
            update = event.update
        told = decode_state_vector(self.witnesses[replica.at].told.get_state())
        events = [each for each in events if each.kind != ERASE]
        for each in [each for each in events if each.unsaid][:-1]:
            each.update = each.unsaid  # Yjs does not send what it has replaced itself
        if events:
            self.sent.append(Message(replica.user, events, replica.stated, told, update))
        replica.room.submit(replica.session, update)

    async def judge(self) -> None:
        """In the order of the log."""
        waiting = list(self.sent)
        have: Doc[Any] = Doc()
        for delta in await self._log():
            have.apply_update(delta.update)
            state = decode_state_vector(have.get_state())
            for message in list(waiting):
                if message.user == delta.actor_id and all(_has(state, each.struct) for each in message.events):
                    waiting.remove(message)
                    self.truth.commit(message)
        assert not waiting

    async def _log(self) -> list[Delta]:
        log = await self.node.store.page(self.node.workspace.id, 0, 100_000)
        return [delta for delta in log if delta.issue_id == self.issue]

    async def recorded(self) -> list[Conflict]:
        """What the server found."""
        query = ConflictQuery(limit=1_000, issue_id=self.issue, kind=UPDATE_DELETE)
        return await self.node.store.ledger.page(self.node.workspace.id, query)

    def __str__(self) -> str:
        lines = [
            f"{each.user} stated {each.stated} arrived {each.arrived}: "
            + ", ".join(f"{event.kind} {event.struct} {event.value} knew {event.knew}" for event in each.events)
            for each in self.sent
        ]
        return "\n".join(lines)


def met_in(row: Conflict) -> Met:
    """Who edited, and the deletion that they met."""
    client, clock = row.standing.key.split(":")
    return row.losing.actor_id, (int(client), int(clock))


def _has(clocks: Clocks, struct: Struct) -> bool:
    return struct[1] < clocks.get(struct[0], 0)
