"""Rows to store. The bytes need not be Yjs updates: the store does not look into them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from crdt.issue import Comment, IssueContent
from storage.store import NewDelta, ProjectedIssue, Snapshot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUE = UUID(int=1)
OTHER_ISSUE = UUID(int=2)


def new_delta(
    workspace_id: int, issue_id: UUID = ISSUE, update: bytes = b"update", *, minutes: int = 0, device: str | None = None
) -> NewDelta:
    return NewDelta(workspace_id, issue_id, update, "ana", device, NOON + timedelta(minutes=minutes))


def snapshot(workspace_id: int, seq: int, issue_id: UUID = ISSUE, version: int = 0) -> Snapshot:
    return Snapshot(workspace_id, issue_id, seq, version or seq, b"state %d" % seq, b"index %d" % seq, NOON)


def projected(seq: int, issue_id: UUID = ISSUE, title: str = "title", *comments: Comment) -> ProjectedIssue:
    return ProjectedIssue(issue_id, seq, seq, IssueContent(title=title, comments=comments))


def comment(name: str, body: str = "body", minutes: int | None = 0) -> Comment:
    at = None if minutes is None else NOON + timedelta(minutes=minutes)
    return Comment(name, "ana", at, None, None, body)
