"""Edits of an issue as plain records: what a program asks for, and how a document is made to say it.

Beside these, `crdt.shape.Changes` is one. Each is made whole or, where it does not fit the document, not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

from pycrdt import Map, Text

from crdt.decisions import SetField
from crdt.document import Document
from crdt.gate import index_of
from crdt.issue import MAX_SHORT_CHARS
from crdt.novelty import says_something_new
from crdt.records import UNBOUNDED
from crdt.shape import (
    FIELD_KEYS,
    Author,
    Changes,
    FieldValue,
    NotPlain,
    Shape,
    UnknownComment,
    add_comment,
    check_comment,
    delete_comment,
    edit_comment,
    set_field,
)
from crdt.update import EMPTY_UPDATE, merge
from crdt.writing import seed

# What became of an edit.
MADE: Final = "made"
UNCHANGED: Final = "unchanged"  # the document says so already
NOT_THERE: Final = "not there"  # nothing was ever written to the issue
OTHER_BEGINNING: Final = "other beginning"  # the issue is there and began with other text or labels
NO_COMMENT: Final = "no comment"
OTHER_COMMENT: Final = "other comment"  # the id is taken
LEFT_OUT: Final = "left out"  # the issue is at another version than it was asked for
NOT_PLAIN: Final = "not plain"  # an embedded object stands where text should be written


class _OtherComment(Exception):
    """The id of a new comment is taken."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Create the issue. Where it began with the same text and labels already, nothing happens."""

    title: str
    description: str = ""
    labels: Sequence[str] = ()
    fields: Mapping[str, FieldValue] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ValueError for what cannot be written or would not be read back."""
        if not self.title:
            raise ValueError("title is empty")
        Changes(self.title, self.description, self.fields, labels=self.labels).check()

    def seed(self, issue_id: UUID) -> bytes:
        """The same bytes whoever creates it."""
        return seed(issue_id, self.title, self.description, sorted(set(self.labels)))

    def make(self, shape: Shape, author: Author) -> None:
        """Write what is not the same whoever creates it."""
        beginning: dict[str, FieldValue] = {"created_at": author.at, "created_by": author.user}
        Changes(fields=beginning | dict(self.fields)).make(shape, author)


@dataclass(frozen=True, slots=True)
class Delete:
    """Mark the issue as deleted."""

    def check(self) -> None:
        """Nothing can be wrong with it."""

    def make(self, shape: Shape, author: Author) -> None:
        """Write it; who deleted it first stays who did."""
        if shape.fields.get(FIELD_KEYS["deleted_at"]) is None:
            set_field(shape, "deleted_at", author.at, author)


@dataclass(frozen=True, slots=True)
class AddComment:
    """A new comment. Repeating it changes nothing."""

    comment_id: str
    body: str

    def check(self) -> None:
        """Raises ValueError for what cannot be written or would not be read back."""
        if not self.comment_id:
            raise ValueError("comment id is empty")
        if len(self.comment_id) > MAX_SHORT_CHARS:
            raise ValueError(f"comment id has {len(self.comment_id)} characters, at most {MAX_SHORT_CHARS}")
        self.comment_id.encode()
        check_comment(self.body)

    def make(self, shape: Shape, author: Author) -> None:
        """Write it at the end."""
        present = shape.comments.get(self.comment_id)
        if present is None:
            add_comment(shape, self.comment_id, self.body, author)
        elif not self._is(present, author):
            raise _OtherComment

    def _is(self, present: object, author: Author) -> bool:
        if not isinstance(present, Map) or present.get("author") != author.user:
            return False
        body = present.get("body")
        return isinstance(body, Text) and str(body) == self.body


@dataclass(frozen=True, slots=True)
class EditComment:
    """Make a comment read `body`. `seen_body`: over which that was written; what others have made of it stays."""

    comment_id: str
    body: str
    seen_body: str | None = None

    def check(self) -> None:
        """Raises ValueError for what cannot be written or would not be read back."""
        check_comment(self.body)

    def make(self, shape: Shape, author: Author) -> None:
        """Write it, by small edits."""
        edit_comment(shape, self.comment_id, self.body, author, self.seen_body)


@dataclass(frozen=True, slots=True)
class DeleteComment:
    """Mark a comment as deleted."""

    comment_id: str

    def check(self) -> None:
        """Nothing can be wrong with it."""

    def make(self, shape: Shape, author: Author) -> None:
        """Write it."""
        delete_comment(shape, self.comment_id, author)


RESTORE: Final = Changes(fields={"deleted_at": None})
Edit: TypeAlias = Begin | Changes | SetField | Delete | AddComment | EditComment | DeleteComment


def make(document: Document, issue_id: UUID, author: Author, edit: Edit) -> tuple[bytes, str]:
    """Make an edit in a document; its update and what became of it."""
    is_there = bool(document.state_vector())
    begun = EMPTY_UPDATE
    if isinstance(edit, Begin):
        begun = edit.seed(issue_id)
        if is_there:
            known = index_of(document.snapshot(), {})
            return EMPTY_UPDATE, OTHER_BEGINNING if says_something_new(known, begun, UNBOUNDED) else UNCHANGED
        document.apply(begun)
    elif not is_there:
        return EMPTY_UPDATE, NOT_THERE
    try:
        update = merge([begun, document.edit(lambda roots: edit.make(Shape.of(roots), author))])
    except UnknownComment:
        return EMPTY_UPDATE, NO_COMMENT
    except _OtherComment:
        return EMPTY_UPDATE, OTHER_COMMENT
    except NotPlain:
        return EMPTY_UPDATE, NOT_PLAIN
    return update, UNCHANGED if update == EMPTY_UPDATE else MADE
