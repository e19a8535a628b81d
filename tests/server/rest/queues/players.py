"""Who takes part in a program: devices with a queue of operations, and replicas with a document."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pycrdt import Doc, Map, Text

from crdt.issue import IssueContent
from crdt.shape import FIELD_KEYS, iso
from crdt.update import merge
from server.permissions import Identity, Role
from server.session import Outcome, Session, Stored
from tests.server.house import DIALECT, Wire
from tests.server.rest.conftest import Api
from tests.server.rest.queues.model import DELETED, Done, Kind, Place

BEGAN = datetime(2025, 6, 1, tzinfo=UTC)  # every clock of a program is behind the server's
PAGES = ("title", "description")
NO_CLOCK = float("inf")  # of what a replica says without a stamp: it is as new as its arrival


def moment(clock: float) -> datetime:
    return BEGAN + timedelta(seconds=clock)


@dataclass
class Sent:
    """An operation in a queue, and all that its device was told of it."""

    done: Done
    issue: UUID
    wire: dict[str, Any]
    answers: list[dict[str, Any]] = field(default_factory=list)
    is_answered: bool = False


@dataclass
class Copy:
    """An issue on a device: as it was read at `base`, and as it looks with what was done to it there since."""

    base: int | None = None
    knows: set[str] = field(default_factory=set)
    texts: dict[Place, str] = field(default_factory=dict)
    is_deleted: bool = False
    is_there: bool = False
    queue: list[Sent] = field(default_factory=list)  # since it was read

    @property
    def unanswered(self) -> list[Sent]:
        return [sent for sent in self.queue if not sent.is_answered]

    def read(self, content: IssueContent, head: int, events: set[str]) -> None:
        """The record as it is now. Nothing of it is on its way."""
        assert not self.unanswered
        self.base, self.knows, self.queue = head, set(events), []
        self.texts = {"title": content.title, "description": content.description}
        self.texts |= {comment.id: comment.body for comment in content.comments}
        self.is_deleted, self.is_there = content.deleted_at is not None, True


class Device:
    """A client that keeps records and a queue."""

    def __init__(self, token: str, user: str, name: str, issues: list[UUID]) -> None:
        self.token = token
        self.name = name
        self.author = f"{user}/{name}"
        self.copies = {issue: Copy() for issue in issues}
        self.requests: list[list[Sent]] = []
        self._count = 0

    def do(self, issue: UUID, kind: Kind, columns: list[str], clock: int, *, is_blind: bool) -> None:
        """Change the record here and queue that, where the kind fits the record as it looks here."""
        copy = self.copies[issue]
        is_blind = is_blind or copy.base is None
        needs_base = kind in ("word", "reply") or DELETED in columns
        fits = copy.is_there != (kind == "insert") and not (is_blind and needs_base)
        fits = fits and (kind != "reply" or len(copy.texts) > len(PAGES))
        if not fits or (kind == "delete" and copy.is_deleted) or (DELETED in columns and not copy.is_deleted):
            return
        self._count += 1
        id = f"{self.author}/{self._count}"
        done = self._done(copy, id, kind, columns, clock, is_blind=is_blind)
        copy.queue.append(Sent(done, issue, self._wire(issue, done, None if is_blind else copy.base)))
        copy.knows.add(id)

    def _done(self, copy: Copy, id: str, kind: Kind, columns: list[str], clock: int, *, is_blind: bool) -> Done:
        knew = None if is_blind or kind in ("insert", "comment") else frozenset(copy.knows)
        saw, word, place, label = copy.is_deleted, "", "", ""
        fields = {name: None if name == DELETED else f"v{id}" for name in columns if kind in ("insert", "set")}
        if kind == "insert":
            word, place, fields = id, "title", {name: value for name, value in fields.items() if value}
            copy.is_there, copy.texts = True, {"title": id, "description": ""}
        elif kind == "word":
            word, place = id, PAGES[self._count % 2]
            copy.texts[place] += f" {word} "
        elif kind == "comment":
            word, place = id, id
            copy.texts[place] = word
        elif kind == "reply":
            word, place = id, sorted(copy.texts.keys() - {*PAGES})[0]
            copy.texts[place] += f" {word} "
        elif kind == "label":
            label = id
        elif kind == "delete":
            copy.is_deleted = True
        if DELETED in fields:
            copy.is_deleted = False
        return Done(id, kind, self.author, knew, clock, fields, word, place, label, saw)

    def _wire(self, issue: UUID, done: Done, base: int | None) -> dict[str, Any]:
        wire = {"id": done.id, "table_name": "issues", "record_id": str(issue), "created_at": iso(moment(done.clock))}
        wire["operation"] = done.kind if done.kind in ("insert", "delete") else "update"
        data: dict[str, Any] = dict(done.fields)
        if done.place in PAGES and done.word:
            data[done.place] = self.copies[issue].texts[done.place]
        elif done.word:
            data |= {"issue_id": str(issue), "body": self.copies[issue].texts[done.place]}
            operation = "insert" if done.kind == "comment" else "update"
            wire |= {"table_name": "comments", "record_id": done.place, "operation": operation}
        if done.label:
            data["add_labels"] = [done.label]
        based = {} if base is None or done.kind == "insert" else {"base_seq": base}
        return wire | {"data": data, **based}

    def batch(self, counts: dict[UUID, int]) -> list[Sent]:
        """So many operations that were not answered yet of each issue, in order, behind what they rest on."""
        batch = []
        for issue, count in counts.items():
            queue = self.copies[issue].queue
            through = ([at for at, sent in enumerate(queue, 1) if not sent.is_answered][:count] or [0])[-1]
            batch += queue[:through]
        return batch

    async def send(self, api: Api, batch: list[Sent], *, is_lost: bool = False) -> dict[str, dict[str, Any]]:
        """One request; the answer by id, and heard unless it is lost."""
        body = {"device_id": self.name, "operations": [sent.wire for sent in batch]}
        status, told, _ = await api("POST", "/sync", body, token=self.token)
        assert status == 200, told
        for sent, answer in zip(batch, told["results"], strict=True):
            assert answer["id"] == sent.done.id
            sent.answers.append(answer)
            sent.is_answered |= not is_lost and answer["status"] != "retry"
        return {answer["id"]: answer for answer in told["results"]}


@dataclass
class Set:
    """A field that a replica has set and not sent."""

    id: str
    name: str
    value: str
    knew: frozenset[str]
    clock: float


class Replica:
    """A Yjs client of one issue that is connected now and then."""

    def __init__(self, issue: UUID, number: int) -> None:
        self.issue = issue
        self.user = f"yjs{number}"
        self.client = 1_000 + number
        self.doc: Doc[Any] = Doc(client_id=self.client)
        self.knows: set[str] = set()
        self.sets: list[Set] = []
        self.words: list[tuple[str, Place]] = []
        self._known = self.doc.get_state()
        self._count = 0

    def do(self, name: str, clock: int, *, is_stamped: bool) -> None:
        """Set a field, once before it is sent, or type a word."""
        self._count += 1
        id = f"{self.user}/{self._count}"
        if name in PAGES:
            text = self.doc.get(name, type=Text)
            text.insert(0, f"{id} ")
            self.words.append((id, name))
        elif name not in [each.name for each in self.sets]:
            key = FIELD_KEYS[name]
            with self.doc.transaction():
                self.doc.get("fields", type=Map)[key] = f"v{id}"
                if is_stamped:
                    stamp = {"at": iso(moment(clock)), "by": self.user, "device": "tab"}
                    self.doc.get("stamps", type=Map)[key] = stamp
            at = clock if is_stamped else NO_CLOCK
            self.sets.append(Set(id, name, f"v{id}", frozenset(self.knows), at))
        else:
            return
        self.knows.add(id)

    async def send(self, api: Api) -> None:
        """All that it has not sent yet, as one delta."""
        update = self.doc.get_update(self._known)
        session = Session(Identity(self.user, "main", Role.MEMBER, "tab"), Wire(), DIALECT, self.user)
        room = await api.home.hub.join(api.home.workspace, self.issue, session)
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        room.submit(session, update, answered.set_result)
        outcome = await answered
        assert isinstance(outcome, Stored), outcome
        api.home.hub.leave(room, session)
        self._known = self.doc.get_state()
        self.sets, self.words = [], []

    async def hear(self, api: Api, events: set[str]) -> None:
        """All that is committed."""
        stored = await api.home.store.load(api.workspace, self.issue)
        self.doc.apply_update(merge(stored.updates))
        self.knows |= events
        self._known = self.doc.get_state()
