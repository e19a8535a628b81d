"""What a reader makes of a file from elsewhere, one item at a time, and how it says no: to one row, or to the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID, uuid5

from crdt.issue import IssueContent
from storage.export import User

NAMESPACE: Final = UUID("5c1a1a1e-6d2f-5a3b-9c4d-1f0e2d3c4b5a")  # never changes: ids of what was imported rest on it


@dataclass(frozen=True, slots=True)
class ImportedIssue:
    """One issue. `place`: where it stands in the file, for people."""

    place: str
    issue_id: UUID
    content: IssueContent


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """One user."""

    place: str
    user: User


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that cannot be taken over. `reason` never repeats what stands there."""

    place: str
    reason: str


Item: TypeAlias = ImportedIssue | ImportedUser | Skipped


class NotReadable(Exception):
    """The file is not what it should be; what was read before stands. The message says where, and what to do."""


class BadRow(Exception):
    """One row is not what it should be; the others are read."""


def issue_id_of(source: str, key: str) -> UUID:
    """The id of an issue whose source calls it `key`: a UUID stays as it is, anything else becomes the same always."""
    try:
        named = UUID(key)
    except ValueError:
        return uuid5(NAMESPACE, f"{source}:{key}")
    return named if str(named) == key.lower() else uuid5(NAMESPACE, f"{source}:{key}")
