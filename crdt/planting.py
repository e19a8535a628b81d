"""Whole issues from elsewhere: as one update, the same bytes for the same content, and as edits of what is there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pycrdt import Map, Text

from crdt.issue import MAX_COMMENTS, MAX_LABELS, MAX_SHORT_CHARS, Comment, IssueContent
from crdt.shape import FIELD_KEYS, Author, Changes, FieldValue, Shape, check_comment, rewrite, set_field
from crdt.update import EMPTY_UPDATE
from crdt.writing import CLIENT_ID_BITS, write_update

_DERIVED: Final = ("updated_at", "unreadable")  # nobody writes them


def check_content(content: IssueContent) -> None:
    """Raises ValueError for what cannot be written or would not be read back; the message holds nothing of it."""
    values = {name: getattr(content, name) for name in FIELD_KEYS}
    Changes(content.title, content.description, values, labels=content.labels).check()
    if len(content.labels) > MAX_LABELS:
        raise ValueError(f"{len(content.labels)} labels, at most {MAX_LABELS}")
    if len(content.comments) > MAX_COMMENTS:
        raise ValueError(f"{len(content.comments)} comments, at most {MAX_COMMENTS}")
    for comment in content.comments:
        check_comment(comment.body)
        if not 0 < len(comment.id) <= MAX_SHORT_CHARS or len(comment.author or "") > MAX_SHORT_CHARS:
            raise ValueError(f"a comment's id or author is empty or above {MAX_SHORT_CHARS} characters")
    if any("\0" in text for text in texts_of(content)):
        raise ValueError("it holds a NUL character, which no table can")
    for text in texts_of(content):
        text.encode()


def digest_of(content: IssueContent) -> bytes:
    """What tells one content from another, 32 bytes."""
    digest = hashlib.sha256()
    for name in (field.name for field in fields(IssueContent) if field.name not in _DERIVED):
        encoded = repr(getattr(content, name)).encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


def planted(issue_id: UUID, content: IssueContent) -> bytes:
    """The issue as one update: the same bytes for the same id and content, whoever makes it, however often."""
    named = hashlib.sha256(issue_id.bytes + digest_of(content)).digest()
    client_id = int.from_bytes(named[: CLIENT_ID_BITS // 8], "big") or 1

    def write(shape: Shape) -> None:
        if content.title:
            shape.title.insert(0, content.title)
        if content.description:
            shape.description.insert(0, content.description)
        for name, key in FIELD_KEYS.items():
            value = getattr(content, name)
            if value is not None:
                shape.fields[key] = exact(value)
        for label in sorted(set(content.labels)):
            shape.labels[label] = True
        for comment in sorted(content.comments, key=lambda comment: comment.id):
            shape.comments[comment.id] = _comment_map(comment)

    return write_update(EMPTY_UPDATE, client_id, write)


def says_the_same(present: IssueContent, content: IssueContent) -> bool:
    """Whether an issue reads as `content` wants it. Comments beside those are no difference."""
    there = {comment.id: comment for comment in present.comments}
    if any(there.get(comment.id) != comment for comment in content.comments):
        return False
    ignored = dict.fromkeys(("comments", *_DERIVED), ())
    wanted = replace(content, labels=tuple(sorted(set(content.labels))), **ignored)  # type: ignore[arg-type]
    return replace(present, **ignored) == wanted  # type: ignore[arg-type]


def write_over(shape: Shape, present: IssueContent, content: IssueContent, author: Author) -> None:
    """Make the issue, which reads as `present`, read as `content`, by small edits. Comments beside those stay."""
    changed: dict[str, FieldValue] = {
        name: getattr(content, name) for name in FIELD_KEYS if getattr(content, name) != getattr(present, name)
    }
    Changes(content.title, content.description, labels=content.labels).make(shape, author)
    for name, value in changed.items():
        set_field(shape, name, value, author)
    there = {comment.id: comment for comment in present.comments}
    for comment in content.comments:
        _write_comment(shape, there.get(comment.id), comment)


def exact(value: FieldValue) -> str | None:
    """As it stands in a document. A date keeps its microseconds, where it has any: it comes out as it went in."""
    if not isinstance(value, datetime):
        return value
    spec = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _write_comment(shape: Shape, present: Comment | None, comment: Comment) -> None:
    if present == comment:
        return
    there = shape.comments.get(comment.id)
    if present is None or not isinstance(there, Map):
        shape.comments[comment.id] = _comment_map(comment)
        return
    body = there.get("body")
    if isinstance(body, Text):
        rewrite(body, comment.body)
    else:
        there["body"] = Text(comment.body)
    for key, value in _comment_fields(comment).items():
        if there.get(key) != value:
            there[key] = value


def _comment_map(comment: Comment) -> Map[Any]:
    return Map({**_comment_fields(comment), "body": Text(comment.body)})


def _comment_fields(comment: Comment) -> dict[str, str | None]:
    return {
        "author": comment.author,
        "createdAt": exact(comment.created_at),
        "editedAt": exact(comment.edited_at),
        "deletedAt": exact(comment.deleted_at),
    }


def texts_of(content: IssueContent) -> Sequence[str]:
    """Every text of an issue, its comments' among them."""
    fields_of = [getattr(content, name) for name in FIELD_KEYS]
    own = [content.title, content.description, *content.labels, *(v for v in fields_of if isinstance(v, str))]
    return own + [text for comment in content.comments for text in (comment.id, comment.body, comment.author or "")]
