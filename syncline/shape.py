"""The shape of an issue inside a live document, and the edits a client makes to it.

Every edit checks its values first: a document has no rollback, and a string or number that the engine cannot encode
would kill the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pycrdt import Map, Text

from crdt.issue import MAX_COMMENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_SHORT_CHARS, MAX_TITLE_CHARS
from syncline.errors import CommentNotFound, NotEditable
from syncline.text_edits import edits_between

# Python name → key in the document's `fields` map.
FIELD_KEYS: Final[Mapping[str, str]] = {
    "status": "status",
    "priority": "priority",
    "user_id": "userId",
    "session_id": "sessionId",
    "claude_task_id": "claudeTaskId",
    "created_by": "createdBy",
    "created_at": "createdAt",
    "completed_at": "completedAt",
    "deleted_at": "deletedAt",
}

FieldValue = str | datetime | None


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes an edit, on which device, and when by their own clock. `user` is None before the server told us."""

    user: str | None
    device: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Shape:
    """The roots of one issue. The texts and maps are pycrdt's own: positions in a text are UTF-8 bytes."""

    title: Text
    description: Text
    fields: Map[Any]
    labels: Map[Any]
    comments: Map[Any]
    stamps: Map[Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one `update` is asked to do. None and empty mean: leave as it is. `labels`: exactly these."""

    title: str | None = None
    description: str | None = None
    fields: Mapping[str, FieldValue] | None = None
    labels: frozenset[str] | None = None
    add_labels: tuple[str, ...] = ()
    remove_labels: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ValueError for what cannot be written or would not be read back."""
        _check_text("title", self.title, MAX_TITLE_CHARS)
        _check_text("description", self.description, MAX_DESCRIPTION_CHARS)
        for name, value in (self.fields or {}).items():
            if isinstance(value, str):
                _check_text(name, value, MAX_SHORT_CHARS)
        for label in (*self.add_labels, *self.remove_labels, *(self.labels or ())):
            _check_label(label)

    def make(self, shape: Shape, author: Author) -> None:
        """Write them. Fields and labels that have the value already are left alone."""
        if self.title is not None:
            rewrite(shape.title, self.title)
        if self.description is not None:
            rewrite(shape.description, self.description)
        for name, value in (self.fields or {}).items():
            set_field(shape, name, value, author)
        self._label(shape.labels)

    def _label(self, labels: Map[Any]) -> None:
        present = set(labels.keys())
        wanted = (present if self.labels is None else set(self.labels)) - set(self.remove_labels) | set(self.add_labels)
        for label in sorted(present - wanted):
            del labels[label]
        for label in sorted(wanted):
            if label not in present or (label in self.add_labels and labels.get(label) is not True):
                labels[label] = True


def set_field(shape: Shape, name: str, value: FieldValue, author: Author) -> None:
    """Set one field with its stamp: a map's winner is chosen by client id, stamps let "last write wins" mean last."""
    key = FIELD_KEYS[name]
    written = iso(value) if isinstance(value, datetime) else value
    if key in shape.fields and shape.fields.get(key) == written:
        return
    shape.fields[key] = written
    shape.stamps[key] = {"at": iso(author.at), "by": author.user, "device": author.device}


def rewrite(text: Text, new: str) -> None:
    """Make `text` read `new` with minimal edits. Raises NotEditable when it holds more than characters."""
    if any(not isinstance(piece, str) for piece, _ in text.diff()):
        raise NotEditable("the text holds an embedded object")
    old = str(text)
    for edit in edits_between(old, new):
        start = len(old[: edit.start].encode())
        deleted = len(old[edit.start : edit.start + edit.deleted].encode())
        if deleted:
            del text[start : start + deleted]
        if edit.inserted:
            text.insert(start, edit.inserted)


def add_comment(shape: Shape, comment_id: str, body: str, author: Author) -> None:
    """A new comment at the end."""
    shape.comments[comment_id] = Map(
        {"author": author.user, "createdAt": iso(author.at), "editedAt": None, "deletedAt": None, "body": Text(body)}
    )


def edit_comment(shape: Shape, comment_id: str, body: str, author: Author) -> None:
    """Make a comment read `body`."""
    comment = comment_of(shape, comment_id)
    written = comment.get("body")
    if isinstance(written, Text):
        rewrite(written, body)
    else:
        comment["body"] = Text(body)
    comment["editedAt"] = iso(author.at)


def delete_comment(shape: Shape, comment_id: str, author: Author) -> None:
    """Mark a comment as deleted; its text stays in the document."""
    comment = comment_of(shape, comment_id)
    if comment.get("deletedAt") is None:
        comment["deletedAt"] = iso(author.at)


def comment_of(shape: Shape, comment_id: str) -> Map[Any]:
    """The map of one comment. Raises CommentNotFound."""
    comment = shape.comments.get(comment_id)
    if not isinstance(comment, Map):
        raise CommentNotFound(comment_id)
    return comment


def check_comment(body: str) -> None:
    """Raises ValueError for a body that cannot be written or would not be read back."""
    _check_text("comment", body, MAX_COMMENT_CHARS)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as JavaScript's `toISOString` writes it."""
    if moment.tzinfo is None:
        raise ValueError("a datetime needs a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_text(name: str, text: str | None, limit: int) -> None:
    if text is None:
        return
    if len(text) > limit:
        raise ValueError(f"{name} has {len(text)} characters, at most {limit}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half of a surrogate pair, which is no character") from None


def _check_label(label: str) -> None:
    if not label:
        raise ValueError("a label is empty")
    _check_text("label", label, MAX_SHORT_CHARS)
