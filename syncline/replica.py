"""A live issue on this device: the only file of the SDK that imports `pycrdt.Doc`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

from pycrdt import Doc, Map, Text, TransactionEvent

from crdt.update import EMPTY_UPDATE
from syncline.cuts import repaired
from syncline.shape import Shape

LiveDoc: TypeAlias = Doc[Any]

CLIENT_ID_BITS: Final = 32  # as Yjs has them. A map's winner is the higher id: wider ones would beat every browser


class Replica:
    """One document that writes with one client id. Whoever writes must keep what `on_edit` is given, in order.

    Not for several threads. Updates come in causal order, which is the order of the log.
    """

    __slots__ = ("_doc", "_is_applying", "_on_edit", "_subscription", "shape")

    def __init__(self, state: bytes, client_id: int, on_edit: Callable[[bytes], None]) -> None:
        """`state`: the whole issue as one update. `on_edit` gets the update of every local transaction."""
        self._doc: Doc[Any] = Doc(client_id=client_id)
        self._doc.apply_update(repaired(state))
        self.shape = _shape_of(self._doc)
        self._is_applying = False
        self._on_edit = on_edit
        self._subscription = self._doc.observe(self._changed)

    @property
    def doc(self) -> LiveDoc:
        """The document itself."""
        return self._doc

    def apply(self, update: bytes) -> None:
        """Merge in what came from elsewhere."""
        self._is_applying = True
        try:
            self._doc.apply_update(update)
        finally:
            self._is_applying = False

    def edit(self, write: Callable[[Shape], None]) -> None:
        """Run `write` in one transaction, so that its update is one. What it wrote before raising stays written."""
        with self._doc.transaction():
            write(self.shape)

    def state(self) -> bytes:
        """The whole document as one update."""
        return self._doc.get_update()

    def state_vector(self) -> bytes:
        """What the document holds, encoded."""
        return self._doc.get_state()

    def release(self) -> None:
        """Stop watching. An observed document is never freed."""
        self._doc.unobserve(self._subscription)

    def _changed(self, event: TransactionEvent) -> None:
        # The event is only readable in here, and nothing else of the document is.
        if not self._is_applying:
            self._on_edit(event.update)


def write_update(state: bytes, client_id: int, write: Callable[[Shape], None]) -> bytes:
    """The update that `write` makes to a document nobody has open; EMPTY_UPDATE when it changes nothing."""
    made: list[bytes] = []
    replica = Replica(state, client_id, made.append)
    try:
        replica.edit(write)
    finally:
        replica.release()
    return made[0] if made else EMPTY_UPDATE


def seed(issue_id: UUID, title: str, description: str, labels: Sequence[str]) -> bytes:
    """The beginning of an issue: the same bytes for the same id and content, whoever makes it, however often.

    The client id is derived from the content too. Two devices that begin one issue with different texts then write as
    two authors, and merging shows both; under one id their documents would differ for ever without anybody noticing
    (docs/adr/0006).
    """
    digest = hashlib.sha256(issue_id.bytes)
    for part in (title, description, *sorted(labels)):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    client_id = int.from_bytes(digest.digest()[: CLIENT_ID_BITS // 8], "big") or 1

    def write(shape: Shape) -> None:
        if title:
            shape.title.insert(0, title)
        if description:
            shape.description.insert(0, description)
        for label in sorted(labels):
            shape.labels[label] = True

    return write_update(EMPTY_UPDATE, client_id, write)


def _shape_of(doc: Doc[Any]) -> Shape:
    return Shape(
        title=doc.get("title", type=Text),
        description=doc.get("description", type=Text),
        fields=doc.get("fields", type=Map),
        labels=doc.get("labels", type=Map),
        comments=doc.get("comments", type=Map),
        stamps=doc.get("stamps", type=Map),
    )
