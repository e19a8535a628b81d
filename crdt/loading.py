"""Stored bytes on their way into a live document: the gate once more, so that nothing is shown half."""

from __future__ import annotations

from crdt.compaction import STORED
from crdt.document import Document
from crdt.errors import SCHEMA, Refused
from crdt.gate import check
from crdt.index import Index
from crdt.update import repair_cuts


def load_whole(merged: bytes, client_id: int | None = None) -> tuple[Document, Index]:
    """A document of all of `merged`, and its index. Raises `Refused` where something would be left out or pending."""
    index = Index()
    admit(index, merged)
    document = Document.load(repair_cuts(merged, index.cuts), client_id)
    expect_all(document, index)
    return document, index


def admit(index: Index, update: bytes) -> bytes:
    """What of an update is new; b"" when nothing is. What is stored is causally closed, or it is not shown. Raises
    `Refused`."""
    verdict = check(index, update, "", STORED)
    if verdict.gap:
        raise Refused(SCHEMA, "something in the log lacks its causes")
    return verdict.update


def expect_all(document: Document, index: Index) -> None:
    """Raises `Refused` where the document does not show all that the index knows of."""
    if document.state_vector() != index.state_vector:
        raise Refused(SCHEMA, "something in the log never takes effect")
