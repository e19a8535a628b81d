"""SQL for `psql -f` into an empty database: three tables and their rows in one transaction, a statement a line."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from server.portability.records import iso
from storage.export import ExportHeader, User
from storage.store import ProjectedIssue

TABLES: Final = """\
CREATE TABLE issues (
    workspace_id bigint NOT NULL, id uuid NOT NULL, seq bigint NOT NULL, version bigint NOT NULL, title text NOT NULL,
    description text NOT NULL, status text NOT NULL, priority text NOT NULL, user_id text, session_id text,
    claude_task_id text, labels text[] NOT NULL, created_by text, created_at timestamptz, updated_at timestamptz,
    completed_at timestamptz, deleted_at timestamptz, unreadable text[] NOT NULL, PRIMARY KEY (workspace_id, id));
CREATE TABLE comments (
    workspace_id bigint NOT NULL, issue_id uuid NOT NULL, id text NOT NULL, author text, body text NOT NULL,
    created_at timestamptz, edited_at timestamptz, deleted_at timestamptz, PRIMARY KEY (workspace_id, issue_id, id));
CREATE TABLE users (
    workspace_id bigint NOT NULL, id text NOT NULL, name text, email text, created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL, last_sync_at timestamptz, device_id text, PRIMARY KEY (workspace_id, id));
"""

_ISSUES: Final = (
    "INSERT INTO issues (workspace_id, id, seq, version, title, description, status, priority, user_id, session_id,"
    " claude_task_id, labels, created_by, created_at, updated_at, completed_at, deleted_at, unreadable) VALUES "
)
_COMMENTS: Final = (
    "INSERT INTO comments (workspace_id, issue_id, id, author, body, created_at, edited_at, deleted_at) VALUES "
)
_USERS: Final = (
    "INSERT INTO users (workspace_id, id, name, email, created_at, updated_at, last_sync_at, device_id) VALUES "
)

# Written as escapes, so that every statement is one line and no tool on the way can change a line end.
_ESCAPED: Final = re.compile(r"[\\\x01-\x1f\x7f]")


async def write(
    header: ExportHeader, users: AsyncIterator[User], issues: AsyncIterator[ProjectedIssue]
) -> AsyncIterator[str]:
    """The file in chunks of whole statements."""
    yield (
        f"-- workspace {_in_comment(header.workspace)}, seq {header.seq}, epoch {header.epoch}\n"
        f"BEGIN;\nSET LOCAL client_encoding = 'UTF8';\n{TABLES}"
    )
    async for user in users:
        yield _USERS + _values(header.workspace_id, user_values(user)) + ";\n"
    async for issue in issues:
        yield _statements(header.workspace_id, issue)
    yield "COMMIT;\n"


def user_values(user: User) -> tuple[object, ...]:
    """In the order of the table, after the workspace."""
    return (
        user.id, user.name, user.email, user.created_at, user.updated_at, user.last_sync_at, user.device_id
    )  # fmt: skip


def _statements(workspace_id: int, issue: ProjectedIssue) -> str:
    c = issue.content
    row = (
        issue.issue_id, issue.seq, issue.version, c.title, c.description, c.status, c.priority, c.user_id, c.session_id,
        c.claude_task_id, c.labels, c.created_by, c.created_at, c.updated_at, c.completed_at, c.deleted_at,
        c.unreadable,
    )  # fmt: skip
    written = _ISSUES + _values(workspace_id, row) + ";\n"
    thread = [
        _values(workspace_id, (issue.issue_id, m.id, m.author, m.body, m.created_at, m.edited_at, m.deleted_at))
        for m in c.comments
    ]
    return written + (_COMMENTS + ", ".join(thread) + ";\n" if thread else "")


def _values(workspace_id: int, row: Iterable[object]) -> str:
    return "(" + ", ".join(literal(value) for value in (workspace_id, *row)) + ")"


def literal(value: object) -> str:
    """A value as Postgres reads it, whatever a text holds. Text has no NUL: the projection took it out."""
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case datetime():
            return f"'{iso(value)}'"
        case UUID():
            return f"'{value}'"
        case str():
            return text_literal(value)
        case tuple() | list():
            return array_literal(value)
    raise TypeError(f"no SQL for {type(value).__name__}")


def text_literal(text: str) -> str:
    """Quotes doubled; with `E` where something has to be written as an escape."""
    quoted = text.replace("'", "''")
    escaped = _ESCAPED.sub(_escape, quoted)
    # Without one, `standard_conforming_strings` does not matter.
    return f"'{quoted}'" if escaped == quoted else f"E'{escaped}'"


def array_literal(values: Sequence[object]) -> str:
    """A `text[]`."""
    return "ARRAY[" + ", ".join(literal(value) for value in values) + "]::text[]"


def _escape(found: re.Match[str]) -> str:
    return "\\\\" if found[0] == "\\" else f"\\x{ord(found[0]):02x}"


def _in_comment(text: str) -> str:
    return " ".join(text.split())
