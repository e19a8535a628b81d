"""Surrogate pairs that somebody's edit cut in half: pycrdt cannot show them, so they are repaired before it sees them.

Only bytes with a character beyond the basic plane can hold a pair, which is cheap to rule out. The rest is the gate's
index of the document (docs/adr/0003).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from crdt.gate import fold, index_of
from crdt.index import Index
from crdt.update import repair_cuts

_FOUR_BYTES: Final = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")


def repaired(state: bytes) -> bytes:
    """A whole document, safe to load."""
    return repair_cuts(state, index_of(state, {}).cuts) if _FOUR_BYTES.search(state) else state


class CutWatch:
    """Notices when an update cuts a pair of a document that is already loaded."""

    __slots__ = ("_has_pairs", "_index")

    def __init__(self, state: bytes) -> None:
        self._has_pairs = _FOUR_BYTES.search(state) is not None
        self._index: Index | None = None

    def wrote(self, update: bytes) -> None:
        """This device wrote something: it cannot cut a pair, but make one."""
        if self._index is not None:
            fold(self._index, update, "")
        elif not self._has_pairs:
            self._has_pairs = _FOUR_BYTES.search(update) is not None

    def sees_cut(self, update: bytes, state: Callable[[], bytes]) -> bool:
        """True when the document must be loaded anew for `update` to read right. `state`: the document before it."""
        if self._index is None:
            self._has_pairs = self._has_pairs or _FOUR_BYTES.search(update) is not None
            if not self._has_pairs:
                return False
            self._index = index_of(state(), {})
        known = len(self._index.cuts)
        fold(self._index, update, "")
        return len(self._index.cuts) > known
