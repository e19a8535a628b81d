"""A live issue on this device: the only file of the SDK that imports `pycrdt.Doc`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from pycrdt import Doc, TransactionEvent

from crdt import writing
from crdt.shape import NotPlain, Shape, UnknownComment
from syncline.cuts import repaired
from syncline.errors import CommentNotFound, NotEditable

LiveDoc: TypeAlias = Doc[Any]


class Replica:
    """One document that writes with one client id. Whoever writes must keep what `on_edit` is given, in order.

    Not for several threads. Updates come in causal order, which is the order of the log.
    """

    __slots__ = ("_doc", "_is_applying", "_on_edit", "_subscription", "shape")

    def __init__(self, state: bytes, client_id: int, on_edit: Callable[[bytes], None]) -> None:
        """`state`: the whole issue as one update. `on_edit` gets the update of every local transaction."""
        self._doc: Doc[Any] = Doc(client_id=client_id)
        self._doc.apply_update(repaired(state))
        self.shape = Shape.of(self._doc.get)
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
        with self._doc.transaction(), _told():
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
    with _told():
        return writing.write_update(repaired(state), client_id, write)


@contextmanager
def _told() -> Iterator[None]:
    """What an edit of the shape raises, as one of the SDK's own errors."""
    try:
        yield
    except UnknownComment as error:
        raise CommentNotFound(error.comment_id) from None
    except NotPlain as error:
        raise NotEditable(str(error)) from None
