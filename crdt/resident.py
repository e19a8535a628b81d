"""Live documents an engine process keeps between jobs, least recently used out first, bounded by count and weight."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from crdt.document import Document
from crdt.index import Index

# A heavily edited issue of 6.5 kB takes 137 kB as a live document, a fresh one of 1.6 kB takes 12.9 kB.
LIVE_BYTES_PER_BYTE: Final = 24
_EMPTY_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class ResidentIssue:
    """A document, its index and the seq both are at. `update_bytes`: what went in, from which its weight is guessed."""

    document: Document
    index: Index
    seq: int
    update_bytes: int

    @property
    def weight_bytes(self) -> int:
        """About how much memory it takes."""
        return _EMPTY_BYTES + LIVE_BYTES_PER_BYTE * self.update_bytes

    def grown(self, seq: int, update_bytes: int) -> ResidentIssue:
        """The same document, now at `seq`."""
        return replace(self, seq=seq, update_bytes=self.update_bytes + update_bytes)


class Resident:
    """The issues one process holds, by a name that says nothing to it."""

    __slots__ = ("_issues", "_max_bytes", "_max_issues", "_weight_bytes")

    def __init__(self, *, max_issues: int, max_bytes: int) -> None:
        self._issues: OrderedDict[str, ResidentIssue] = OrderedDict()
        self._max_issues = max_issues
        self._max_bytes = max_bytes
        self._weight_bytes = 0

    def __len__(self) -> int:
        return len(self._issues)

    def take(self, issue: str, seq: int) -> ResidentIssue | None:
        """Remove and return the issue if it is here and at `seq`; an issue at another seq is dropped."""
        entry = self._issues.pop(issue, None)
        if entry is None:
            return None
        self._weight_bytes -= entry.weight_bytes
        return entry if entry.seq == seq else None

    def put(self, issue: str, entry: ResidentIssue) -> None:
        """Keep an issue; the least recently used ones beyond the bounds go, itself too if it alone is too big."""
        self.take(issue, entry.seq)
        self._issues[issue] = entry
        self._weight_bytes += entry.weight_bytes
        while len(self._issues) > self._max_issues or self._weight_bytes > self._max_bytes:
            _, dropped = self._issues.popitem(last=False)
            self._weight_bytes -= dropped.weight_bytes
