"""A live document: the only file that imports `pycrdt.Doc`, and only engine processes (and the client SDK) use it.

The engine can panic (a `BaseException` nobody here catches), crash, hang or exhaust memory on bytes that passed
every check; whoever holds a `Document` must be able to die of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias

from pycrdt import Array, Doc, Map, Subscription, Text

from crdt.update import EMPTY_UPDATE, decode_state_vector

# Gives a root by name and `type`, as `pycrdt.Doc.get` does.
Roots: TypeAlias = Callable[..., Any]

# What a read of one poisoned value was seen to raise; the other values of that map are fine.
_READ_ERRORS: Final = (ValueError, KeyError, TypeError, RuntimeError, AttributeError, AssertionError, OverflowError)


class Unreadable(Exception):
    """A value that cannot be turned into a Python one; `kind` says why, without content."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Rich:
    """A nested `Y.Text`, read as plain text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Entries:
    """A map of a document, read one key at a time, so that one poisoned value costs that value only."""

    __slots__ = ("_map",)

    def __init__(self, shared: Map[object]) -> None:
        self._map = shared

    def names(self) -> list[str]:
        """Every key, in no particular order."""
        return list(self._map.keys())

    def get(self, key: str) -> object:
        """A plain value, a `Rich` text or nested `Entries`; None when there is none. Raises `Unreadable`.

        A nested array is not part of any shape we read, and reading one can hang the engine: it is `Unreadable`.
        """
        try:
            value = self._map.get(key)
            if isinstance(value, Text):
                return Rich(str(value))
        except _READ_ERRORS:
            raise Unreadable("unreadable") from None
        if isinstance(value, Map):
            return Entries(value)
        if isinstance(value, Array):
            raise Unreadable("array")
        if value is None or isinstance(value, _PLAIN):
            return value
        raise Unreadable("other type")


_PLAIN: Final = (bool, int, float, str, bytes, bytearray, list, dict)


class Document:
    """One issue as the engine holds it. Give it causally closed updates, in log order or merged, and nothing else."""

    __slots__ = ("_doc",)

    def __init__(self, client_id: int | None = None) -> None:
        self._doc: Doc[Any] = Doc(client_id=client_id)

    @classmethod
    def load(cls, update: bytes, client_id: int | None = None) -> Document:
        """A document that holds one update, and writes with `client_id` if it is written to. Raises ValueError or
        RuntimeError when the engine refuses the bytes."""
        document = cls(client_id)
        document.apply(update)
        return document

    def apply(self, update: bytes) -> None:
        """Merge one update in. After a RuntimeError part of it may be in: drop the document."""
        self._doc.apply_update(update)

    def apply_telling(self, update: bytes, roots: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Merge one update in, and tell what it did to these texts: by root, as retain, delete and insert. They count
        UTF-8 bytes, and one for an embedded object. A text it did nothing to is missing."""
        told: dict[str, list[dict[str, Any]]] = {}

        def listen(name: str) -> tuple[Text, Subscription]:
            text = self._doc.get(name, type=Text)
            return text, text.observe(lambda event: told.__setitem__(name, event.delta))

        watching = [listen(name) for name in roots]
        try:
            self._doc.apply_update(update)
        finally:
            for text, subscription in watching:
                text.unobserve(subscription)
        return told

    def edit(self, write: Callable[[Roots], None]) -> bytes:
        """Run `write` in one transaction and return its update, EMPTY_UPDATE when it changes nothing."""
        made: list[bytes] = []
        watching = self._doc.observe(lambda event: made.append(event.update))
        try:
            with self._doc.transaction():
                write(self._doc.get)
        finally:
            self._doc.unobserve(watching)  # an observed document is never freed
        return made[0] if made else EMPTY_UPDATE

    def state_vector(self) -> dict[int, int]:
        """Client → clock, of what is integrated."""
        return decode_state_vector(self._doc.get_state())

    def snapshot(self) -> bytes:
        """Everything integrated, as one update; deleted content is gone. Pending structs are not in it."""
        return self._doc.get_update()

    def reading(self) -> AbstractContextManager[object]:
        """One transaction for all that is read inside. Without it each value that is read takes its own: a quarter more
        time for an issue."""
        return self._doc.transaction()

    def text(self, root: str) -> str:
        """A root read as plain text; a root of another type reads as the text it holds, mostly none."""
        return str(self._doc.get(root, type=Text))

    def entries(self, root: str) -> Entries:
        """A root read as a map; a root of another type has no entries."""
        return Entries(self._doc.get(root, type=Map))
