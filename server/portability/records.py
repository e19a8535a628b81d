"""Issues, comments and users under the names the product's clients know them by; dates are ISO 8601 in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from crdt.issue import Comment
from storage.export import ExportHeader, User
from storage.store import ProjectedIssue


def header_record(header: ExportHeader) -> dict[str, Any]:
    """Which state the file holds."""
    return {"workspace": header.workspace, "seq": header.seq, "epoch": str(header.epoch)}


def issue_record(issue: ProjectedIssue, *, with_state: bool = False) -> dict[str, Any]:
    """One issue with its comments: all that an import restores and, `with_state`, what belongs to this workspace and
    this moment."""
    c = issue.content
    record: dict[str, Any] = {
        "id": str(issue.issue_id),
        "title": c.title,
        "description": c.description,
        "status": c.status,
        "priority": c.priority,
        "userId": c.user_id,
        "sessionId": c.session_id,
        "claudeTaskId": c.claude_task_id,
        "labels": list(c.labels),
        "createdBy": c.created_by,
        "createdAt": iso(c.created_at),
        "completedAt": iso(c.completed_at),
        "deletedAt": iso(c.deleted_at),
        "comments": [comment_record(comment) for comment in c.comments],
    }
    if with_state:
        record |= {
            "updatedAt": iso(c.updated_at),
            "version": issue.version,
            "seq": issue.seq,
            "unreadable": list(c.unreadable),
        }
    return record


def comment_record(comment: Comment) -> dict[str, Any]:
    """One comment."""
    return {
        "id": comment.id,
        "author": comment.author,
        "body": comment.body,
        "createdAt": iso(comment.created_at),
        "editedAt": iso(comment.edited_at),
        "deletedAt": iso(comment.deleted_at),
    }


def user_record(user: User) -> dict[str, Any]:
    """One user."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "createdAt": iso(user.created_at),
        "updatedAt": iso(user.updated_at),
        "lastSyncAt": iso(user.last_sync_at),
        "deviceId": user.device_id,
    }


def iso(moment: datetime | None) -> str | None:
    """As JavaScript writes it, `2026-03-01T12:00:00.000Z`; microseconds only where there are any."""
    if moment is None:
        return None
    spec = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def dumped(value: object) -> str:
    """JSON on one line, text as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
