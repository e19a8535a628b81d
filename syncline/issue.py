"""An issue as a program reads it, and the JSON it is kept and printed as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from crdt.issue import Comment, IssueContent

_DATES: Final = frozenset({"created_at", "updated_at", "edited_at", "completed_at", "deleted_at"})


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as this device knows it, edits that are not committed yet included.

    `seq`: the newest committed delta in it, 0 when nothing of it is committed · `pending`: edits of this device that
    wait for their commit · `updated_at`: when this device last saw it change · `revision`: grows with every change
    seen by this device, see `Issues.watch`. Times are UTC.
    """

    id: UUID
    seq: int
    pending: int
    revision: int
    updated_at: datetime | None
    title: str
    description: str
    status: str
    priority: str
    user_id: str | None
    session_id: str | None
    claude_task_id: str | None
    labels: tuple[str, ...]
    comments: tuple[Comment, ...]
    created_by: str | None
    created_at: datetime | None
    completed_at: datetime | None
    deleted_at: datetime | None

    @property
    def is_deleted(self) -> bool:
        """Marked as deleted; it stays in the log and can be brought back."""
        return self.deleted_at is not None

    def to_json(self) -> dict[str, Any]:
        """Plain values: ids as text, times in ISO 8601."""
        return {name: _plain(value) for name, value in asdict(self).items()}


_CONTENT: Final = tuple(
    field.name for field in fields(Issue) if field.name not in {"id", "seq", "pending", "revision", "updated_at"}
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store knows of an issue beside its content; the fields are those of `Issue`."""

    id: UUID
    seq: int
    pending: int
    revision: int
    updated_at: datetime | None


def issue_of(standing: Standing, content: IssueContent) -> Issue:
    """Join the two."""
    return Issue(
        standing.id,
        standing.seq,
        standing.pending,
        standing.revision,
        standing.updated_at,
        **{name: getattr(content, name) for name in _CONTENT},
    )


def encode_content(content: IssueContent) -> str:
    """Content as JSON text."""
    return json.dumps({name: _plain(getattr(content, name)) for name in _CONTENT}, ensure_ascii=False)


def decode_content(text: str) -> IssueContent:
    """What `encode_content` wrote."""
    values = _dated(json.loads(text))
    values["labels"] = tuple(values["labels"])
    values["comments"] = tuple(Comment(**_dated(comment)) for comment in values["comments"])
    return IssueContent(**values)


def _dated(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name in _DATES and value is not None else value
        for name, value in values.items()
    }


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case Comment():
            return {name: _plain(part) for name, part in asdict(value).items()}
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
    return value
