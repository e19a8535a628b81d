"""Pages of `issues` for those who read records: filters, and keysets that writes in between do not disturb."""

# ruff: noqa: S608 -- the statement is built from constants of this module; every value is an argument

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

Sort = Literal["id", "-updated_at"]

_COLUMNS: Final = """id, seq, version, title, description, status, priority, user_id, session_id, claude_task_id,
    labels, created_by, created_at, updated_at, completed_at, deleted_at, unreadable"""
# A descending index scan yields NULL first, and so does the order: a row without a time is on the first page, not lost.
_ORDERS: Final[dict[Sort, str]] = {"id": "id", "-updated_at": "updated_at DESC, id DESC"}


@dataclass(frozen=True, slots=True)
class Keyset:
    """The last row of the page before. `updated_at` is None where that row has none, or the sort is by id."""

    id: UUID
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssueQuery:
    """What to list. A filter that is None does not filter. Datetimes are aware, texts hold no NUL."""

    limit: int = 50
    sort: Sort = "-updated_at"
    after: Keyset | None = None
    status: str | None = None
    priority: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    claude_task_id: str | None = None
    label: str | None = None
    updated_since: datetime | None = None
    is_deleted: bool = False


def statement(workspace_id: int, query: IssueQuery) -> tuple[str, Sequence[object]]:
    """The SQL of a page and its arguments; it asks for one row more than the page, which tells whether one follows."""
    arguments: list[object] = [workspace_id]
    conditions = ["workspace_id = $1", f"deleted_at IS {'NOT ' if query.is_deleted else ''}NULL"]

    def require(condition: str, *values: object) -> None:
        numbers = [f"${len(arguments) + place}" for place in range(1, len(values) + 1)]
        arguments.extend(values)
        conditions.append(condition.format(*numbers))

    for column in ("status", "priority", "user_id", "session_id", "claude_task_id"):
        if (wanted := getattr(query, column)) is not None:
            require(f"{column} = {{}}", wanted)
    if query.label is not None:
        require("{} = ANY (labels)", query.label)
    if query.updated_since is not None:
        require("updated_at >= {}", query.updated_since)
    if query.after is not None:
        require(*_after(query.sort, query.after))
    arguments.append(query.limit + 1)
    where = " AND ".join(conditions)
    order = _ORDERS[query.sort]
    return f"SELECT {_COLUMNS} FROM issues WHERE {where} ORDER BY {order} LIMIT ${len(arguments)}", arguments


def _after(sort: Sort, after: Keyset) -> tuple[str, *tuple[object, ...]]:
    if sort == "id":
        return "id > {}", after.id
    if after.updated_at is None:
        return "(updated_at IS NOT NULL OR id < {})", after.id
    return "(updated_at, id) < ({}, {})", after.updated_at, after.id
