"""Users with documents of their own, whose edits pass one gate: what it takes in is told to all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycrdt import Doc, Map, Text

from crdt.errors import Refused
from crdt.gate import check, index_of
from crdt.index import Index
from crdt.records import Limits, Mandate
from crdt.update import EMPTY_UPDATE, merge

LIMITS = Limits()


class Issue:
    """The gate's side: an index, and all it accepted."""

    def __init__(self) -> None:
        self.index = Index()
        self.log: list[bytes] = []
        self.writers: list[Writer] = []

    def writer(self, name: str, client: int, *, comments_only: bool = False, may_attribute: bool = False) -> Writer:
        """Somebody who has seen everything so far."""
        writer = Writer(self, name, client, Mandate((name,), comments_only, may_attribute))
        self.writers.append(writer)
        writer.doc.apply_update(merge(self.log))
        return writer

    def take(self, update: bytes, writer: Writer) -> str:
        """Judge an update: "" when it was taken in, else the reason why not; then nobody hears of it."""
        before = self.index.encode()
        try:
            verdict = check(self.index, update, writer.name, LIMITS, writer.mandate)
        except Refused as refused:
            assert self.index.encode() == before, "a refusal left a trace"
            return refused.reason
        assert not verdict.gap
        if verdict.update:
            self.log.append(verdict.update)
            for other in self.writers:
                other.doc.apply_update(verdict.update)
        return ""

    def reload(self) -> None:
        """The index as it is after a cold open, and as an engine is given it."""
        self.index = Index.decode(index_of(merge(self.log), self.index.owners).encode())


class Writer:
    """One user, one replica."""

    def __init__(self, issue: Issue, name: str, client: int, mandate: Mandate) -> None:
        self.issue = issue
        self.name = name
        self.mandate = mandate
        self.doc: Doc[Any] = Doc(client_id=client)

    def map(self, root: str) -> Map[Any]:
        """A root map."""
        found: Map[Any] = self.doc.get(root, type=Map)
        return found

    def text(self, root: str) -> Text:
        """A root text."""
        found: Text = self.doc.get(root, type=Text)
        return found

    def comment(self, key: str) -> Map[Any]:
        """The map of a comment."""
        found = self.map("comments")[key]
        assert isinstance(found, Map)
        return found

    def made(self, write: Callable[[], object]) -> bytes:
        """The update of one transaction."""
        updates: list[bytes] = []
        subscription = self.doc.observe(lambda event: updates.append(event.update))
        with self.doc.transaction():
            write()
        self.doc.unobserve(subscription)
        return updates[0] if updates else EMPTY_UPDATE

    def writes(self, write: Callable[[], object]) -> str:
        """Send one transaction; what the gate says to it."""
        return self.issue.take(self.made(write), self)

    def says(self, key: str, body: str, **values: object) -> str:
        """Add a comment."""
        comment = {"author": self.name, "createdAt": "2026-01-01", "editedAt": None, "deletedAt": None} | values
        return self.writes(lambda: self.map("comments").update({key: Map(comment | {"body": Text(body)})}))
