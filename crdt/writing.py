"""Writing to an issue nobody has open: the update that an edit makes, and the beginning of an issue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from crdt.document import Document
from crdt.shape import Shape
from crdt.update import EMPTY_UPDATE

CLIENT_ID_BITS: Final = 32  # as Yjs has them. A map's winner is the higher id: wider ones would beat every browser


def write_update(state: bytes, client_id: int, write: Callable[[Shape], None]) -> bytes:
    """The update that `write` makes to a whole document, without cut surrogate pairs (`crdt.update.repair_cuts`);
    EMPTY_UPDATE when it changes nothing."""
    return Document.load(state, client_id).edit(lambda roots: write(Shape.of(roots)))


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
