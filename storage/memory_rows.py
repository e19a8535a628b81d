"""What the store in memory holds of one workspace, and a turn at its projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from storage.errors import NotPurgeable, Purged
from storage.store import Delta, DocumentStatus, IssueDeltas, ProjectedIssue, Snapshot, StoredIssue, Workspace, through
from storage.tables.documents import counted
from storage.tables.issues import newer


@dataclass(slots=True)
class Rows:
    """One workspace's rows."""

    workspace: Workspace
    log: list[Delta] = field(default_factory=list)  # ascending seq
    snapshots: dict[UUID, list[Snapshot]] = field(default_factory=dict)  # newest first
    documents: dict[UUID, DocumentStatus] = field(default_factory=dict)
    issues: dict[UUID, ProjectedIssue] = field(default_factory=dict)
    cursor: int = 0
    is_projected: bool = False  # somebody has the turn
    purged: set[UUID] = field(default_factory=set)
    holes: set[int] = field(default_factory=set)
    marks: set[tuple[UUID, str, str]] = field(default_factory=set)

    def deltas(self, issue_id: UUID, after: int, until: int | None = None) -> list[Delta]:
        end = self.workspace.head if until is None else until
        return [d for d in self.log if d.issue_id == issue_id and after < d.seq <= end]

    def stored_issue(self, issue_id: UUID) -> StoredIssue:
        kept = self.snapshots.get(issue_id)
        newest = kept[0] if kept else None
        return StoredIssue(newest, self.deltas(issue_id, newest.seq if newest else 0))

    def expect_there(self, issue_id: UUID) -> None:
        if issue_id in self.purged:
            raise Purged(f"issue {issue_id} was purged")

    def expect_purgeable(self, issue_id: UUID, untouched_since: datetime | None) -> datetime:
        """When it was deleted. Raises `NotPurgeable`."""
        row = self.issues.get(issue_id)
        if row is None or row.content.deleted_at is None:
            raise NotPurgeable("it is not deleted")
        touched_at = self.status(issue_id).updated_at or row.content.deleted_at
        if untouched_since is not None and max(row.content.deleted_at, touched_at) >= untouched_since:
            raise NotPurgeable("it was touched since")
        if self.deltas(issue_id, self.cursor):
            raise NotPurgeable(f"a reader of the log is still at seq {self.cursor}")
        return row.content.deleted_at

    def status(self, issue_id: UUID) -> DocumentStatus:
        unknown = DocumentStatus(self.workspace.id, issue_id, 0, 0, 0, 0, 0, None, None)
        return self.documents.get(issue_id, unknown)


class Turn:
    """Holds what is saved until the turn ends."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._cursor = rows.cursor
        self._page: Sequence[IssueDeltas] = ()
        self._projected: list[ProjectedIssue] = []

    @property
    def cursor(self) -> int:
        return self._cursor

    async def save(self, rows: Sequence[ProjectedIssue], page: Sequence[IssueDeltas]) -> None:
        self._projected.extend(rows)
        if page:
            self._page = page
            self._cursor = through(page)

    def commit(self) -> None:
        self._count()
        for row in self._projected:
            stored = self._rows.issues.get(row.issue_id)
            if row.issue_id not in self._rows.purged and newer([row], {row.issue_id: stored.seq} if stored else {}):
                self._rows.issues[row.issue_id] = self._dated(row)
        self._rows.cursor = self._cursor

    def _count(self) -> None:
        snapshot_seqs = {issue_id: status.snapshot_seq for issue_id, status in self._rows.documents.items()}
        for count in counted(self._page, snapshot_seqs):
            status = self._rows.status(count.issue_id)
            self._rows.documents[count.issue_id] = replace(
                status,
                version=status.version + count.deltas,
                last_seq=count.last_seq,
                tail_updates=status.tail_updates + count.tail_updates,
                tail_bytes=status.tail_bytes + count.tail_bytes,
                created_at=status.created_at or count.first_at,
                updated_at=count.last_at,
            )

    def _dated(self, row: ProjectedIssue) -> ProjectedIssue:
        status = self._rows.status(row.issue_id)
        content = row.content
        return replace(
            row,
            content=replace(
                content,
                created_at=content.created_at or status.created_at,
                updated_at=content.updated_at or status.updated_at,
            ),
        )


def by_issue(page: Sequence[Delta]) -> list[IssueDeltas]:
    """See `storage.store.Store.page_by_issue`."""
    found: dict[UUID, list[Delta]] = {}
    for delta in page:
        found.setdefault(delta.issue_id, []).append(delta)
    return [
        IssueDeltas(
            issue_id,
            [delta.seq for delta in deltas],
            [delta.update for delta in deltas],
            deltas[0].created_at,
            deltas[-1].created_at,
        )
        for issue_id, deltas in found.items()
    ]
