"""The job that makes the operations of a client's queue: each an update of its own, with the clock of its author."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from crdt.edits import Edit, make
from crdt.loading import load_whole
from crdt.resident import Resident
from crdt.shape import Author
from crdt.update import EMPTY_UPDATE, merge


@dataclass(frozen=True, slots=True)
class Dated:
    """An edit, and when its author made it, by their clock."""

    edit: Edit
    at: datetime


@dataclass(frozen=True, slots=True)
class MadeDated:
    """One update an edit, EMPTY_UPDATE where nothing changes, and what became of each (see `crdt.edits`)."""

    updates: Sequence[bytes]
    outcomes: Sequence[str]

    @property
    def update(self) -> bytes:
        """All of them as one."""
        return merge([update for update in self.updates if update != EMPTY_UPDATE])


@dataclass(frozen=True, slots=True)
class MakeDated:
    """Edit an issue that is all of `seen`, in order; a later edit sees what the earlier ones made.

    Nobody else may write with `client_id` meanwhile.
    """

    issue: str
    seen: Sequence[bytes]
    client_id: int
    author: Author
    edits: Sequence[Dated]

    def run(self, resident: Resident) -> MadeDated:
        """The updates; each is causally closed over `seen` and those before it."""
        document, _ = load_whole(merge(self.seen), self.client_id)
        issue = UUID(self.issue)
        made = [make(document, issue, replace(self.author, at=each.at), each.edit) for each in self.edits]
        return MadeDated([update for update, _ in made], [outcome for _, outcome in made])
