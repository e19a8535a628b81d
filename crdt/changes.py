"""What changed between two readings of an issue, field by field and as small edits of its texts, and which deltas of a
log make up one entry for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from crdt.issue import Comment, IssueContent
from crdt.shape import FIELD_KEYS, FieldValue
from crdt.text_edits import edits_between

# Typing is one entry until it rests this long, and never longer than one of the day's stretches of this length.
REST: Final = timedelta(seconds=60)
STRETCH: Final = timedelta(minutes=10)

ADDED: Final = "added"
EDITED: Final = "edited"
DELETED: Final = "deleted"  # marked; its text is still in the document
RESTORED: Final = "restored"
REMOVED: Final = "removed"  # taken out of the document


@dataclass(frozen=True, slots=True)
class Replacement:
    """In a text, `deleted` was replaced by `inserted`. `at` counts code points of the text as it was before."""

    at: int
    deleted: str
    inserted: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field, by its name in `IssueContent`, got another value."""

    field: str
    old: FieldValue
    new: FieldValue


@dataclass(frozen=True, slots=True)
class TextChange:
    """The title or the description got other characters, first place first."""

    field: str
    edits: Sequence[Replacement]


@dataclass(frozen=True, slots=True)
class LabelsChange:
    """Labels that were put on and taken off."""

    added: Sequence[str]
    removed: Sequence[str]


@dataclass(frozen=True, slots=True)
class CommentChange:
    """A comment was ADDED, EDITED, DELETED, RESTORED or REMOVED; `edits` of its body, of "" where it is new."""

    id: str
    kind: str
    edits: Sequence[Replacement]


@dataclass(frozen=True, slots=True)
class OtherChange:
    """Something that no row shows changed: formats, unknown fields, other roots. `paths`: where, with dots."""

    paths: Sequence[str]


Change: TypeAlias = FieldChange | TextChange | LabelsChange | CommentChange | OtherChange


class Written(Protocol):
    """What is known of a delta without its bytes."""

    @property
    def actor_id(self) -> str:
        """Who wrote it."""

    @property
    def device_id(self) -> str | None:
        """On which device."""

    @property
    def created_at(self) -> datetime:
        """When the server took it."""


def is_one_entry(earlier: Written, later: Written) -> bool:
    """Whether two neighbours in an issue's log belong to one entry, wherever one begins to read."""
    return (
        (earlier.actor_id, earlier.device_id) == (later.actor_id, later.device_id)
        and later.created_at - earlier.created_at <= REST
        and earlier.created_at.timestamp() // STRETCH.total_seconds()
        == later.created_at.timestamp() // STRETCH.total_seconds()
    )


def changes_between(before: IssueContent, after: IssueContent) -> list[Change]:
    """What one reading says and the other does not: fields, texts, labels, then comments."""
    return [
        *_fields(before, after),
        *_texts(before, after),
        *_labels(before, after),
        *_comments(before.comments, after.comments),
    ]


def replacements(old: str, new: str) -> list[Replacement]:
    """What makes `new` of `old`, first place first."""
    return [
        Replacement(edit.start, old[edit.start : edit.start + edit.deleted], edit.inserted)
        for edit in reversed(edits_between(old, new))
    ]


def size_of(change: Change) -> int:
    """About how many characters it takes to tell."""
    edits = change.edits if isinstance(change, TextChange | CommentChange) else ()
    return 100 + sum(20 + len(edit.deleted) + len(edit.inserted) for edit in edits)


def _fields(before: IssueContent, after: IssueContent) -> Iterator[Change]:
    for name in FIELD_KEYS:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield FieldChange(name, old, new)


def _texts(before: IssueContent, after: IssueContent) -> Iterator[Change]:
    for name in ("title", "description"):
        edits = replacements(getattr(before, name), getattr(after, name))
        if edits:
            yield TextChange(name, edits)


def _labels(before: IssueContent, after: IssueContent) -> Iterator[Change]:
    old, new = set(before.labels), set(after.labels)
    if old != new:
        yield LabelsChange(sorted(new - old), sorted(old - new))


def _comments(before: Sequence[Comment], after: Sequence[Comment]) -> Iterator[Change]:
    old = {comment.id: comment for comment in before}
    new = {comment.id: comment for comment in after}
    for comment in after:
        if comment.id not in old:
            yield CommentChange(comment.id, ADDED, replacements("", comment.body))
        elif comment != old[comment.id]:
            yield from _comment(old[comment.id], comment)
    for comment in before:
        if comment.id not in new:
            yield CommentChange(comment.id, REMOVED, replacements(comment.body, ""))


def _comment(old: Comment, new: Comment) -> Iterator[Change]:
    edits = replacements(old.body, new.body)
    if edits or old.edited_at != new.edited_at:
        yield CommentChange(new.id, EDITED, edits)
    if (old.deleted_at is None) != (new.deleted_at is None):
        yield CommentChange(new.id, RESTORED if new.deleted_at is None else DELETED, ())
