"""The shape of an issue: what a row is read out of a document, whatever a client wrote into it.

`read` is total. A field of the wrong type, missing, too long or damaged falls back to its default, and a note says
where and what kind of thing stood there, never the thing itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from crdt.document import Document, Entries, Rich, Unreadable

DEFAULT_STATUS: Final = "pending"
DEFAULT_PRIORITY: Final = "medium"

MAX_SHORT_CHARS: Final = 200  # status, priority, ids, labels: they are indexed, and an index row has a limit
MAX_TITLE_CHARS: Final = 10_000
MAX_DESCRIPTION_CHARS: Final = 4_000_000
MAX_COMMENT_CHARS: Final = 100_000
MAX_COMMENTS_CHARS: Final = 8_000_000  # all bodies together
MAX_LABELS: Final = 1_000
MAX_COMMENTS: Final = 10_000
MAX_DATE_CHARS: Final = 40

_EXACT_INTEGER: Final = 2**53  # JS numbers arrive as floats; above this they no longer name one integer
_VISIBLE_NUL: Final = "\u2400"  # Postgres text cannot hold NUL


@dataclass(frozen=True, slots=True)
class Comment:
    """One entry of the `comments` root. A deleted comment stays, with `deleted_at` set."""

    id: str
    author: str | None
    created_at: datetime | None
    edited_at: datetime | None
    deleted_at: datetime | None
    body: str


@dataclass(frozen=True, slots=True)
class IssueContent:
    """What a document says of its issue. All texts are free of NUL and lone surrogates, all datetimes are UTC.

    `created_at` is what the document says; a projector that knows the time of the first delta fills it when the
    document says nothing. `updated_at` is never in the document: the projector sets it to the newest delta's time.
    `labels` and `comments` are in a stable order. `unreadable` holds notes "path: kind", drawn from a fixed set.
    """

    title: str = ""
    description: str = ""
    status: str = DEFAULT_STATUS
    priority: str = DEFAULT_PRIORITY
    user_id: str | None = None
    session_id: str | None = None
    claude_task_id: str | None = None
    labels: tuple[str, ...] = ()
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    completed_at: datetime | None = None
    deleted_at: datetime | None = None
    comments: tuple[Comment, ...] = ()
    unreadable: tuple[str, ...] = ()


def read(document: Document) -> IssueContent:
    """The issue a document describes. Never raises for anything a client can write."""
    with document.reading():
        return _content(document)


def _content(document: Document) -> IssueContent:
    notes = _Notes()
    fields = _Fields(document.entries("fields"), "fields", notes)
    return IssueContent(
        title=_bounded(document.text("title"), MAX_TITLE_CHARS, "title", notes),
        description=_bounded(document.text("description"), MAX_DESCRIPTION_CHARS, "description", notes),
        status=fields.short("status") or DEFAULT_STATUS,
        priority=fields.short("priority") or DEFAULT_PRIORITY,
        user_id=fields.short("userId"),
        session_id=fields.short("sessionId"),
        claude_task_id=fields.short("claudeTaskId"),
        labels=_labels(document.entries("labels"), notes),
        created_by=fields.short("createdBy"),
        created_at=fields.date("createdAt"),
        completed_at=fields.date("completedAt"),
        deleted_at=fields.date("deletedAt"),
        comments=_comments(document.entries("comments"), notes),
        unreadable=notes.all(),
    )


@dataclass(slots=True)
class _Notes:
    """What could not be read. Paths are ours and kinds are few, so the set is bounded whatever the document holds."""

    found: set[str] = field(default_factory=set)

    def add(self, path: str, kind: str) -> None:
        self.found.add(f"{path}: {kind}")

    def all(self) -> tuple[str, ...]:
        return tuple(sorted(self.found))


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed reads of one map; `path` is where it stands in the issue."""

    entries: Entries
    path: str
    notes: _Notes

    def value(self, key: str) -> object:
        try:
            return self.entries.get(key)
        except Unreadable as error:
            self.notes.add(f"{self.path}.{key}", error.kind)
            return None

    def short(self, key: str) -> str | None:
        """A string of at most `MAX_SHORT_CHARS`, or a number shown as one. Empty means not set."""
        value = self.value(key)
        if value is None:
            return None
        shown = _shown(value)
        if shown is None:
            self.notes.add(f"{self.path}.{key}", _kind(value))
        elif len(shown) > MAX_SHORT_CHARS:
            self.notes.add(f"{self.path}.{key}", "too long")
        else:
            return printable(shown) or None
        return None

    def date(self, key: str) -> datetime | None:
        """An ISO 8601 string as UTC; without an offset it is UTC already."""
        value = self.value(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self.notes.add(f"{self.path}.{key}", _kind(value))
            return None
        try:
            return _utc(value)
        except (ValueError, OverflowError):
            self.notes.add(f"{self.path}.{key}", "not a date")
            return None

    def text(self, key: str, limit: int) -> str:
        """A `Y.Text`, or a plain string where a client wrote one instead."""
        value = self.value(key)
        if value is None:
            return ""
        if not isinstance(value, str | Rich):
            self.notes.add(f"{self.path}.{key}", _kind(value))
            return ""
        return _bounded(value if isinstance(value, str) else value.text, limit, f"{self.path}.{key}", self.notes)


def _labels(entries: Entries, notes: _Notes) -> tuple[str, ...]:
    fields = _Fields(entries, "labels", notes)
    return tuple(sorted({printable(key) for key in _keys(fields, MAX_LABELS) if _is_set(fields, key)}))


def _is_set(labels: _Fields, key: str) -> bool:
    try:
        value = labels.entries.get(key)
    except Unreadable as error:
        labels.notes.add("labels.*", error.kind)
        return False
    if value is not None and not isinstance(value, bool):
        labels.notes.add("labels.*", _kind(value))
    return value is True


def _comments(entries: Entries, notes: _Notes) -> tuple[Comment, ...]:
    comments: dict[str, Comment] = {}
    room = MAX_COMMENTS_CHARS
    for key in _keys(_Fields(entries, "comments", notes), MAX_COMMENTS):
        comment = _comment(entries, key, notes)
        if comment is None:
            continue
        if comment.id in comments:
            notes.add("comments", "ids that differ only in what cannot be stored")
            continue
        room -= len(comment.body)
        if room < 0:
            notes.add("comments", "too long")
            break
        comments[comment.id] = comment
    return tuple(sorted(comments.values(), key=_written))


def _comment(entries: Entries, key: str, notes: _Notes) -> Comment | None:
    try:
        value = entries.get(key)
    except Unreadable as error:
        notes.add("comments.*", error.kind)
        return None
    if value is None:
        return None
    if not isinstance(value, Entries):
        notes.add("comments.*", _kind(value))
        return None
    fields = _Fields(value, "comments.*", notes)
    return Comment(
        id=printable(key),
        author=fields.short("author"),
        created_at=fields.date("createdAt"),
        edited_at=fields.date("editedAt"),
        deleted_at=fields.date("deletedAt"),
        body=fields.text("body", MAX_COMMENT_CHARS),
    )


def _written(comment: Comment) -> tuple[datetime, str]:
    return comment.created_at or datetime.max.replace(tzinfo=UTC), comment.id


def _keys(fields: _Fields, limit: int) -> Iterable[str]:
    """The map's keys in order, those that fit: an engine's map has no order of its own, a row must have one."""
    written = fields.entries.names()
    keys = sorted(key for key in written if 0 < len(key) <= MAX_SHORT_CHARS)
    if len(keys) < len(written):
        fields.notes.add(f"{fields.path}.*", "key empty or too long")
    if len(keys) > limit:
        fields.notes.add(fields.path, "too many")
    return keys[:limit]


def _bounded(text: str, limit: int, path: str, notes: _Notes) -> str:
    if len(text) > limit:
        notes.add(path, "too long")
    return printable(text[:limit])


def printable(text: str) -> str:
    """The text with what Postgres cannot store made visible: NUL as U+2400, lone surrogates as U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", _VISIBLE_NUL)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _shown(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and abs(value) < 2**63:
        return str(value)
    if isinstance(value, float) and abs(value) <= _EXACT_INTEGER:
        return str(int(value)) if value.is_integer() else repr(value)
    return None


def _utc(text: str) -> datetime:
    if len(text) > MAX_DATE_CHARS:
        raise ValueError("too long for a date")
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _kind(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case Rich():
            return "text"
        case Entries():
            return "map"
        case bytes() | bytearray():
            return "bytes"
        case list() | tuple():
            return "array"
        case dict():
            return "object"
    return "other type"
