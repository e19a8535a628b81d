"""What of one issue is committed, as bytes: grows by one piece a commit, merged lazily and in groups.

Only this is ever shown to anybody; the gate's index may run ahead of it while a commit is in flight.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from crdt.update import EMPTY_STATE_VECTOR, diff, encode_state_vector, merge

_GROUP: Final = 100  # fresh pieces merged into one: keeps the list short at about a microsecond an update
_MAX_ANSWERS: Final = 16


class Committed:
    """The committed updates of one issue. `mark` counts what was ever added; it names a version within this object.

    `state_vector` is replaced, never changed, so whoever holds one holds a version.
    """

    __slots__ = (
        "_answers",
        "_ends",
        "_fresh",
        "_fresh_bytes",
        "_max_inline_bytes",
        "_pieces",
        "mark",
        "size_bytes",
        "state_vector",
    )

    def __init__(self, updates: Sequence[bytes], state_vector: Mapping[int, int], max_inline_bytes: int) -> None:
        self._pieces = list(updates)
        self._ends = list(range(1, len(updates) + 1))  # mark at the end of each piece
        self._fresh = 0
        self._fresh_bytes = 0
        self._max_inline_bytes = max_inline_bytes
        self._answers: dict[bytes, bytes] = {}
        self.mark = len(updates)
        self.size_bytes = sum(map(len, updates))
        self.state_vector = state_vector

    @property
    def is_small(self) -> bool:
        """Whether merging and diffing all of it fits a turn of the loop."""
        return self.size_bytes <= self._max_inline_bytes

    def add(self, update: bytes, state_vector: Mapping[int, int]) -> None:
        """Take in what was just committed; `state_vector` is the one of everything committed now."""
        self.mark += 1
        self._pieces.append(update)
        self._ends.append(self.mark)
        self.size_bytes += len(update)
        self.state_vector = state_vector
        self._answers.clear()
        self._fresh += 1
        self._fresh_bytes += len(update)
        if self._fresh == _GROUP:
            if self._fresh_bytes <= self._max_inline_bytes:
                self._replace(len(self._pieces) - _GROUP, len(self._pieces), merge(self._pieces[-_GROUP:]))
            self._fresh = self._fresh_bytes = 0

    def encoded_state_vector(self) -> bytes:
        """For our SyncStep1."""
        return encode_state_vector(self.state_vector)

    def whole(self) -> bytes:
        """Everything as one update, merged here and now; for what is not small, `first` and an engine."""
        if len(self._pieces) != 1:
            self.settle(self.mark, merge(self._pieces))
        return self._pieces[0]

    def lacking(self, state_vector: bytes) -> bytes:
        """What a peer at `state_vector` lacks, computed here and now, once a version for all who ask alike."""
        if state_vector == EMPTY_STATE_VECTOR:
            return self.whole()
        answer = self._answers.get(state_vector)
        if answer is None:
            answer = diff(self.whole(), state_vector)
            if len(self._answers) < _MAX_ANSWERS:
                self._answers[state_vector] = answer
        return answer

    def first(self) -> tuple[bytes, int]:
        """The oldest piece, after a merge nearly everything, and the mark it reaches."""
        return (self._pieces[0], self._ends[0]) if self._pieces else (self.whole(), self.mark)

    def pieces(self) -> list[bytes]:
        """Everything, to be merged elsewhere."""
        return list(self._pieces)

    def since(self, mark: int) -> list[bytes]:
        """All that was added after `mark`, in order; more than that where pieces were merged across it."""
        return self._pieces[bisect_right(self._ends, mark) :]

    def settle(self, mark: int, merged: bytes) -> None:
        """Everything through `mark` was merged into `merged`."""
        self._replace(0, bisect_right(self._ends, mark), merged, mark)
        fresh = len(self._pieces) - 1
        if fresh < self._fresh:
            self._fresh = fresh
            self._fresh_bytes = sum(map(len, self._pieces[1:]))

    def _replace(self, start: int, end: int, merged: bytes, mark: int | None = None) -> None:
        reached = self.mark if mark is None else mark
        self.size_bytes += len(merged) - sum(map(len, self._pieces[start:end]))
        self._pieces[start:end] = [merged]
        self._ends[start:end] = [reached]
