"""The shape of an issue inside a live document, and the edits that are made to it.

Every edit checks its values first: a document has no rollback, and a string or number that the engine cannot encode
would kill the process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pycrdt import Map, Text

from crdt.issue import MAX_COMMENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_SHORT_CHARS, MAX_TITLE_CHARS
from crdt.text_edits import TextEdit, edits_between, rebased

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


class UnknownComment(Exception):
    """The issue has no such comment."""

    def __init__(self, comment_id: str) -> None:
        super().__init__(f"no comment {comment_id}")
        self.comment_id = comment_id


class NotPlain(Exception):
    """The document holds something in that place which text cannot replace, such as an embedded object."""


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

    @classmethod
    def of(cls, root: Callable[..., Any]) -> Shape:
        """`root` gives a root of the document by name and `type`, as `pycrdt.Doc.get` does."""
        return cls(
            title=root("title", type=Text),
            description=root("description", type=Text),
            fields=root("fields", type=Map),
            labels=root("labels", type=Map),
            comments=root("comments", type=Map),
            stamps=root("stamps", type=Map),
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """What one `update` is asked to do. None and empty mean: leave as it is. `labels`: exactly these.

    `seen_…`: the text over which the new one was written; what others have made of it meanwhile stays.
    """

    title: str | None = None
    description: str | None = None
    fields: Mapping[str, FieldValue] | None = None
    labels: Collection[str] | None = None
    add_labels: tuple[str, ...] = ()
    remove_labels: tuple[str, ...] = ()
    seen_title: str | None = None
    seen_description: str | None = None

    def check(self) -> None:
        """Raises ValueError for what cannot be written or would not be read back."""
        _check_text("title", self.title, MAX_TITLE_CHARS)
        _check_text("description", self.description, MAX_DESCRIPTION_CHARS)
        for name, value in (self.fields or {}).items():
            if isinstance(value, str):
                _check_text(name, value, MAX_SHORT_CHARS)
            elif value is not None:
                iso(value)
        for label in (*self.add_labels, *self.remove_labels, *(self.labels or ())):
            _check_label(label)

    def make(self, shape: Shape, author: Author) -> None:
        """Write them. Fields and labels that have the value already are left alone. Raises NotPlain before anything is
        written."""
        for text, new in ((shape.title, self.title), (shape.description, self.description)):
            if new is not None:
                _expect_plain(text)
        if self.title is not None:
            rewrite(shape.title, self.title, self.seen_title)
        if self.description is not None:
            rewrite(shape.description, self.description, self.seen_description)
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


def rewrite(text: Text, new: str, seen: str | None = None) -> None:
    """Make `text` read `new` with minimal edits; or change in it what `new` changes in `seen`.

    Raises NotPlain when it holds more than characters.
    """
    old = str(text)
    write_edits(text, edits_between(old if seen is None else seen, new), seen)


def write_edits(text: Text, edits: Sequence[TextEdit], seen: str | None = None) -> None:
    """Make edits of `seen` in a text, which others may have changed meanwhile. Raises NotPlain."""
    _expect_plain(text)
    old = str(text)
    for edit in edits if seen in (None, old) else rebased(edits, seen, old):
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


def edit_comment(shape: Shape, comment_id: str, body: str, author: Author, seen: str | None = None) -> None:
    """Make a comment read `body`; or change in it what `body` changes in `seen`."""
    comment = comment_of(shape, comment_id)
    written = comment.get("body")
    if isinstance(written, Text):
        rewrite(written, body, seen)
    else:
        comment["body"] = Text(body)
    comment["editedAt"] = iso(author.at)


def delete_comment(shape: Shape, comment_id: str, author: Author) -> None:
    """Mark a comment as deleted; its text stays in the document."""
    comment = comment_of(shape, comment_id)
    if comment.get("deletedAt") is None:
        comment["deletedAt"] = iso(author.at)


def comment_of(shape: Shape, comment_id: str) -> Map[Any]:
    """The map of one comment. Raises UnknownComment."""
    comment = shape.comments.get(comment_id)
    if not isinstance(comment, Map):
        raise UnknownComment(comment_id)
    return comment


def check_comment(body: str) -> None:
    """Raises ValueError for a body that cannot be written or would not be read back."""
    _check_text("comment", body, MAX_COMMENT_CHARS)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as JavaScript's `toISOString` writes it."""
    if moment.tzinfo is None:
        raise ValueError("a datetime needs a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _expect_plain(text: Text) -> None:
    if any(not isinstance(piece, str) for piece, _ in text.diff()):
        raise NotPlain("the text holds an embedded object")


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
