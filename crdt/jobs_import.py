"""The jobs of an import: bring a whole issue in, or take out again what nobody has touched since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from crdt.edits import Delete
from crdt.gate import index_of
from crdt.issue import IssueContent, read
from crdt.loading import load_whole
from crdt.planting import planted, says_the_same, write_over
from crdt.resident import Resident
from crdt.shape import Author, NotPlain, Shape
from crdt.update import EMPTY_UPDATE, merge

# What became of an issue.
CREATED: Final = "created"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
KEPT: Final = "kept"  # it differs, and was edited here
NOT_PLAIN: Final = "not plain"  # an embedded object stands where text should be written


@dataclass(frozen=True, slots=True)
class Planted:
    """EMPTY_UPDATE unless the issue was created or changed. `is_untouched`: it is what an import made of it."""

    update: bytes
    outcome: str
    is_untouched: bool


@dataclass(frozen=True, slots=True)
class PlantIssue:
    """Make an issue that is all of `updates`, or nothing yet, read as `content`. `may_change`: if it is there and reads
    otherwise."""

    issue: str
    updates: Sequence[bytes]
    client_id: int
    author: Author
    content: IssueContent
    may_change: bool

    def run(self, resident: Resident) -> Planted:
        """The update, causally closed over `updates`."""
        document, index = load_whole(merge(self.updates), self.client_id)
        seed = planted(UUID(self.issue), self.content)
        if not index.state_vector:
            return Planted(seed, CREATED, is_untouched=True)
        present = read(document)
        if says_the_same(present, self.content):
            made = index_of(seed, {})
            is_seed = (index.state_vector, index.deleted) == (made.state_vector, made.deleted)
            return Planted(EMPTY_UPDATE, UNCHANGED, is_untouched=is_seed)
        if not self.may_change:
            return Planted(EMPTY_UPDATE, KEPT, is_untouched=False)
        try:
            update = document.edit(lambda roots: write_over(Shape.of(roots), present, self.content, self.author))
        except NotPlain:
            return Planted(EMPTY_UPDATE, NOT_PLAIN, is_untouched=False)
        return Planted(update, CHANGED, is_untouched=True)


@dataclass(frozen=True, slots=True)
class Uproot:
    """Mark an issue as deleted, `if_untouched`."""

    updates: Sequence[bytes]
    client_id: int
    author: Author
    if_untouched: bool

    def run(self, resident: Resident) -> Planted:
        """UNCHANGED: it is deleted already."""
        if not self.if_untouched:
            return Planted(EMPTY_UPDATE, KEPT, is_untouched=False)
        document, _ = load_whole(merge(self.updates), self.client_id)
        update = document.edit(lambda roots: Delete().make(Shape.of(roots), self.author))
        return Planted(update, UNCHANGED if update == EMPTY_UPDATE else CHANGED, is_untouched=True)
