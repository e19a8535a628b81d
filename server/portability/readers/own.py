"""Our own JSON and NDJSON, and what the browser app keeps in `localStorage`: the same records, packed otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, Any, Final, TypeVar

from crdt.issue import DEFAULT_PRIORITY, DEFAULT_STATUS, Comment, IssueContent
from server.portability.fields import Fields
from server.portability.imported import BadRow, ImportedIssue, ImportedUser, Item, NotReadable, Skipped, issue_id_of
from server.portability.json_stream import elements_of
from server.portability.lines import lines_of
from storage.export import User

Made = TypeVar("Made", bound=Item)

_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_json(file: IO[bytes], source: str) -> Iterator[Item]:
    """One object with arrays `users` and `issues`, or an array of issues. `localStorage` holds strings: an array may
    stand in one."""
    for key, number, value in elements_of(file):
        if number >= 0:
            yield from _element(key, number, value, source)
        elif key in ("issues", "users") and isinstance(value, str):
            try:
                packed = json.loads(value)
            except (ValueError, RecursionError):
                raise NotReadable(f"the text of {key} is no JSON") from None
            if not isinstance(packed, list):
                raise NotReadable(f"the text of {key} is no array")
            for place, each in enumerate(packed):
                yield from _element(key, place, each, source)


def read_ndjson(file: IO[bytes], source: str) -> Iterator[Item]:
    """A record a line: `{"user": …}` or an issue; what says which export it is, is passed."""
    for number, line in lines_of(file):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            yield Skipped(place, "not a JSON object")
            continue
        if isinstance(record, dict) and len(record) == 1 and isinstance(record.get("user"), dict):
            yield _either(place, record["user"], lambda fields, where: ImportedUser(where, user_of(fields)))
        elif not (isinstance(record, dict) and record.keys() == {"export"}):
            yield _issue(place, record, source)


def _element(key: str, number: int, value: Any, source: str) -> Iterator[Item]:
    if key == "users":
        place = f"users[{number}]"
        yield _either(place, value, lambda fields, where: ImportedUser(where, user_of(fields)))
    elif key in ("", "issues"):
        yield _issue(f"issues[{number}]", value, source)


def _issue(place: str, value: Any, source: str) -> Item:
    return _either(place, value, lambda fields, where: issue_of(where, fields, source))


def _either(place: str, value: Any, make: Callable[[Fields, str], Made]) -> Made | Skipped:
    try:
        return make(Fields.of(value), place)
    except BadRow as bad:
        return Skipped(place, str(bad))


def issue_of(place: str, fields: Fields, source: str) -> ImportedIssue:
    """An issue under the names that clients know. Raises `BadRow`."""
    key = fields.text("id")
    if not key:
        raise BadRow("it has no id")
    content = IssueContent(
        title=fields.text("title"),
        description=fields.text("description"),
        status=fields.short("status") or DEFAULT_STATUS,
        priority=fields.short("priority") or DEFAULT_PRIORITY,
        user_id=fields.short("userId", "user_id"),
        session_id=fields.short("sessionId", "session_id"),
        claude_task_id=fields.short("claudeTaskId", "claude_task_id"),
        labels=fields.texts("labels"),
        created_by=fields.short("createdBy", "created_by"),
        created_at=fields.moment("createdAt", "created_at"),
        completed_at=fields.moment("completedAt", "completed_at"),
        deleted_at=fields.moment("deletedAt", "deleted_at"),
        comments=comments_of(fields.items("comments")),
    )
    return ImportedIssue(place, issue_id_of(source, key), content)


def comments_of(items: Any) -> tuple[Comment, ...]:
    """The comments of one issue. Raises `BadRow`."""
    found: dict[str, Comment] = {}
    for item in items:
        fields = Fields.of(item)
        key = fields.text("id")
        if not key or key in found:
            raise BadRow("a comment without an id of its own")
        found[key] = Comment(
            id=key,
            author=fields.short("author"),
            created_at=fields.moment("createdAt", "created_at"),
            edited_at=fields.moment("editedAt", "edited_at"),
            deleted_at=fields.moment("deletedAt", "deleted_at"),
            body=fields.text("body"),
        )
    return tuple(found.values())


def user_of(fields: Fields) -> User:
    """A user under the names that clients know. Raises `BadRow`."""
    key = fields.short("id")
    if key is None:
        raise BadRow("a user without an id")
    created_at = fields.moment("createdAt", "created_at") or _UNKNOWN
    return User(
        id=key,
        name=fields.short("name"),
        email=fields.short("email"),
        created_at=created_at,
        updated_at=fields.moment("updatedAt", "updated_at") or created_at,
        last_sync_at=fields.moment("lastSyncAt", "last_sync_at"),
        device_id=fields.short("deviceId", "device_id"),
    )
