"""What an import did, or would do: counts, and whatever a person should look at, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from server.portability.vocabulary import Vocabulary

MAX_NOTES: Final = 1_000  # of a report for people; the rest is counted

# What becomes of an item.
CREATED: Final = "created"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
KEPT: Final = "kept"  # it was edited here since, and stays as it is
SKIPPED: Final = "skipped"
USERS_CREATED: Final = "users_created"
USERS_KEPT: Final = "users_kept"  # they are here already


@dataclass(frozen=True, slots=True)
class ImportNote:
    """Something that was not taken over, or not as it stands. `place`: in the file."""

    place: str
    reason: str
    issue_id: UUID | None = None


@dataclass
class ImportReport:
    """`batch_id` None: nothing was written, it was a dry run. `omitted`: notes beyond the bound."""

    vocabulary: Vocabulary
    batch_id: UUID | None = None
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[ImportNote] = field(default_factory=list)
    omitted: int = 0

    def count(self, outcome: str, number: int = 1) -> None:
        """Another one of them."""
        self.counts[outcome] += number

    def note(self, place: str, reason: str, issue_id: UUID | None = None) -> None:
        """Something to look at."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(ImportNote(place, reason, issue_id))
        else:
            self.omitted += 1

    def skip(self, place: str, reason: str, issue_id: UUID | None = None) -> None:
        """An item that is not taken over."""
        self.count(SKIPPED)
        self.note(place, reason, issue_id)
