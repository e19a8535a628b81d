"""Rows of `issues` and `comments`: what SQL tools read of the documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Final
from uuid import UUID

from asyncpg import Record

from crdt.issue import Comment, IssueContent
from storage.store import ProjectedIssue

# Nothing is newer than a tombstone.
_PLAIN: Final = [field.name for field in fields(IssueContent) if field.name not in ("comments", "labels", "unreadable")]

SEQS: Final = """
SELECT id, seq FROM issues WHERE workspace_id = $1 AND id = ANY ($2::uuid[])
UNION ALL
SELECT issue_id, 9223372036854775807 FROM tombstones WHERE workspace_id = $1 AND issue_id = ANY ($2::uuid[])"""

# The last two are the log's word, where the document has none. A row that is not newer never gets here (`newer`).
UPSERT: Final = """
INSERT INTO issues (
    workspace_id, id, seq, version, title, description, status, priority, user_id, session_id, claude_task_id, labels,
    created_by, completed_at, deleted_at, unreadable, created_at, updated_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    coalesce($17, (SELECT created_at FROM documents WHERE workspace_id = $1 AND issue_id = $2)),
    coalesce($18, (SELECT updated_at FROM documents WHERE workspace_id = $1 AND issue_id = $2))
ON CONFLICT (workspace_id, id) DO UPDATE SET
    seq = excluded.seq, version = excluded.version, title = excluded.title, description = excluded.description,
    status = excluded.status, priority = excluded.priority, user_id = excluded.user_id,
    session_id = excluded.session_id, claude_task_id = excluded.claude_task_id, labels = excluded.labels,
    created_by = excluded.created_by, completed_at = excluded.completed_at, deleted_at = excluded.deleted_at,
    unreadable = excluded.unreadable, created_at = excluded.created_at, updated_at = excluded.updated_at"""

DELETE_COMMENTS: Final = """
DELETE FROM comments AS c WHERE workspace_id = $1 AND issue_id = ANY ($2::uuid[]) AND NOT EXISTS (
    SELECT FROM unnest($3::uuid[], $4::text[]) AS kept (issue_id, id)
    WHERE kept.issue_id = c.issue_id AND kept.id = c.id
)"""

# Most comments of a changed issue are as they were: those are compared, not written.
UPSERT_COMMENTS: Final = """
INSERT INTO comments AS c (workspace_id, issue_id, id, author, body, created_at, edited_at, deleted_at)
SELECT $1, * FROM unnest(
    $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[])
ON CONFLICT (workspace_id, issue_id, id) DO UPDATE SET
    author = excluded.author, body = excluded.body, created_at = excluded.created_at, edited_at = excluded.edited_at,
    deleted_at = excluded.deleted_at
WHERE (c.author, c.body, c.created_at, c.edited_at, c.deleted_at)
    IS DISTINCT FROM (excluded.author, excluded.body, excluded.created_at, excluded.edited_at, excluded.deleted_at)"""

SELECT: Final = """
SELECT id, seq, version, title, description, status, priority, user_id, session_id, claude_task_id, labels, created_by,
    created_at, updated_at, completed_at, deleted_at, unreadable
FROM issues WHERE workspace_id = $1 AND id = ANY ($2::uuid[])"""

# Sorted as `crdt.issue.read` sorts them; "C" compares code points, as Python does.
SELECT_COMMENTS: Final = """
SELECT issue_id, id, author, created_at, edited_at, deleted_at, body FROM comments
WHERE workspace_id = $1 AND issue_id = ANY ($2::uuid[]) ORDER BY created_at NULLS LAST, id COLLATE "C\""""


# A page of one issue's comments, deleted or not ($3), behind the one of $5 (its `created_at`, perhaps NULL) and $4.
SELECT_THREAD: Final = """
SELECT id, author, created_at, edited_at, deleted_at, body FROM comments
WHERE workspace_id = $1 AND issue_id = $2 AND (deleted_at IS NOT NULL) = $3 AND (
    $4::text IS NULL OR (created_at, id) > ($5::timestamptz, $4)
    OR created_at IS NULL AND ($5::timestamptz IS NOT NULL OR id > $4))
ORDER BY created_at, id LIMIT $6"""

EXISTS: Final = "SELECT EXISTS (SELECT FROM issues WHERE workspace_id = $1 AND id = $2)"


def newer(rows: Iterable[ProjectedIssue], seqs: Mapping[UUID, int]) -> list[ProjectedIssue]:
    """Those at least as new as what is stored. One turn owns the workspace, so nobody else writes in between."""
    return [row for row in rows if row.seq >= seqs.get(row.issue_id, 0)]


def upsert_arguments(workspace_id: int, row: ProjectedIssue) -> tuple[object, ...]:
    c = row.content
    return (
        workspace_id,
        row.issue_id,
        row.seq,
        row.version,
        c.title,
        c.description,
        c.status,
        c.priority,
        c.user_id,
        c.session_id,
        c.claude_task_id,
        c.labels,
        c.created_by,
        c.completed_at,
        c.deleted_at,
        c.unreadable,
        c.created_at,
        c.updated_at,
    )


def comment_arguments(rows: Sequence[ProjectedIssue]) -> tuple[list[object], ...]:
    """The comments of all rows as columns, in the order `UPSERT_COMMENTS` takes them after the workspace."""
    comments = [
        (row.issue_id, c.id, c.author, c.body, c.created_at, c.edited_at, c.deleted_at)
        for row in rows
        for c in row.content.comments
    ]
    return tuple([comment[column] for comment in comments] for column in range(7))


def projected_issues(rows: Iterable[Record], comments: Iterable[Record]) -> dict[UUID, ProjectedIssue]:
    """What `SELECT` and `SELECT_COMMENTS` returned, by issue."""
    threads: dict[UUID, list[Comment]] = {}
    for issue_id, *columns in comments:
        threads.setdefault(issue_id, []).append(Comment(*columns))
    return {row["id"]: projected_issue(row, threads.get(row["id"], [])) for row in rows}


def projected_issue(row: Record, comments: Sequence[Comment] = ()) -> ProjectedIssue:
    """A row with the columns of `SELECT`, whatever else it holds."""
    content = IssueContent(
        comments=tuple(comments),
        labels=tuple(row["labels"]),
        unreadable=tuple(row["unreadable"]),
        **{name: row[name] for name in _PLAIN},
    )
    return ProjectedIssue(row["id"], row["seq"], row["version"], content)
