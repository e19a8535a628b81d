"""The seam between the server and its durable store: records and the methods both twins implement.

`postgres.py` is the product; `memory.py` is the twin the simulation runs on. One contract suite
(`tests/storage/test_store_contract.py`) holds both to this text.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from crdt.issue import IssueContent
from storage.conflicts import Ledger, NewConflict
from storage.errors import Purged

# The update of the log row that says that an issue is gone for good. It is the issue's only row, for ever.
TOMBSTONE: Final = b""


class Mark(NamedTuple):
    """Says, once its delta is committed, that a request is done in that issue. `outcomes`: of the edits in it."""

    user_id: str
    key: str
    outcomes: tuple[str, ...]


class NewDelta(NamedTuple):
    """One accepted update on its way into the log. `update` is causally closed Yjs v1 bytes, all of it new.

    `conflicts`: what it overwrote, or what overwrote it; recorded in the same transaction · `after`: the newest seq of
    its issue, where it may be committed only as the next one · `mark`: recorded in the same transaction, and only there
    where it was not yet.
    """

    workspace_id: int
    issue_id: UUID
    update: bytes
    actor_id: str
    device_id: str | None
    created_at: datetime
    conflicts: Sequence[NewConflict] = ()
    after: int | None = None
    mark: Mark | None = None


class Delta(NamedTuple):
    """One committed log row. `seq` is dense per workspace; `update` passed its checksum when it was read."""

    workspace_id: int
    seq: int
    issue_id: UUID
    update: bytes
    actor_id: str
    device_id: str | None
    created_at: datetime

    @property
    def is_tombstone(self) -> bool:
        """Whether this says that the issue was purged."""
        return self.update == TOMBSTONE


class IssueDeltas(NamedTuple):
    """What a page of the log holds of one issue, by columns and ascending. Times are of its first and last delta."""

    issue_id: UUID
    seqs: Sequence[int]
    updates: Sequence[bytes]
    first_at: datetime
    last_at: datetime

    @property
    def is_tombstone(self) -> bool:
        """Whether this says that the issue was purged."""
        return self.updates[-1] == TOMBSTONE


def through(page: Sequence[IssueDeltas]) -> int:
    """The last seq of a page that is not empty."""
    return max(deltas.seqs[-1] for deltas in page)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole issue as one update: everything the log says of it through `seq`.

    `version`: deltas merged so far · `index`: the gate's `Index.encode()` for exactly this state.
    """

    workspace_id: int
    issue_id: UUID
    seq: int
    version: int
    state: bytes
    index: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredIssue:
    """Snapshot and tail from one consistent read. Neither there (`snapshot is None and not tail`): never written."""

    snapshot: Snapshot | None
    tail: Sequence[Delta]  # ascending seq, all > snapshot.seq

    @property
    def is_purged(self) -> bool:
        """Whether the issue is gone for good. Then `updates` are none that could be merged."""
        return bool(self.tail) and self.tail[-1].is_tombstone

    @property
    def seq(self) -> int:
        """The newest seq merged in here, 0 for an issue nobody wrote."""
        if self.tail:
            return self.tail[-1].seq
        return self.snapshot.seq if self.snapshot else 0

    @property
    def version(self) -> int:
        """How many deltas are merged in here."""
        return (self.snapshot.version if self.snapshot else 0) + len(self.tail)

    @property
    def updates(self) -> list[bytes]:
        """Snapshot state and tail in log order, ready for `crdt.update.merge`."""
        head = [self.snapshot.state] if self.snapshot else []
        return head + [delta.update for delta in self.tail]


def unless_purged(stored: StoredIssue, issue_id: UUID) -> StoredIssue:
    """The issue as it is. Raises `Purged`."""
    if stored.is_purged:
        raise Purged(f"issue {issue_id} was purged")
    return stored


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant: the unit of sequence, permission and cursor. `floor` is the highest trimmed seq."""

    id: int
    slug: str
    name: str
    head: int
    floor: int
    epoch: UUID


@dataclass(frozen=True, slots=True)
class IssueExtent:
    """How far an issue goes, without its content. `stored_bytes`: newest snapshot and tail together."""

    issue_id: UUID
    seq: int  # of its newest delta
    stored_bytes: int
    is_purged: bool = False


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """What compaction and operators need to know of one issue (row of `documents`)."""

    workspace_id: int
    issue_id: UUID
    version: int
    last_seq: int
    snapshot_seq: int
    tail_updates: int  # deltas since the snapshot
    tail_bytes: int  # their bytes
    quarantined_at: datetime | None
    quarantine_reason: str | None
    floor: int = 0  # its deltas are trimmed through here, where a snapshot stands
    created_at: datetime | None = None  # of the first delta counted
    updated_at: datetime | None = None  # of the last one


@dataclass(frozen=True, slots=True)
class ProjectedIssue:
    """One row of `issues` with its comments, as computed from the document at `seq`."""

    issue_id: UUID
    seq: int
    version: int
    content: IssueContent


class ProjectionTurn(Protocol):
    """Ownership of one workspace's projection, held for one page of the log. What is saved is committed when the turn
    ends without an error, all of it or nothing."""

    @property
    def cursor(self) -> int:
        """The last seq whose projection is saved."""

    async def save(self, rows: Sequence[ProjectedIssue], page: Sequence[IssueDeltas]) -> None:
        """Upsert `rows`, count `page` into `documents` (version, last_seq, tail_updates, tail_bytes) and move the
        cursor to the page's last seq, in one transaction. A row older than the stored one changes nothing.

        `page` starts right after the cursor; it is empty when rows are only repaired, and then no cursor moves.
        Where a row's content does not say when it was created or updated, the first and last delta's times are stored.
        """


class Store(Protocol):
    """Durable truth. Every method raises `StoreUnavailable` when it cannot answer; none answers empty instead."""

    @property
    def ledger(self) -> Ledger:
        """What `append` records of conflicts, and what became of them."""

    async def append(self, batch: Sequence[NewDelta]) -> list[int]:
        """Commit a batch, with the conflicts in it, in one statement and return the seq of each delta, in order. Dense
        per workspace, in commit order. Raises `UnknownWorkspace` when one delta names no workspace, `Purged` when one
        names an issue that is purged and `Overtaken` when one would not come right `after` what it names, or its
        `mark` is there; nothing is committed then."""

    async def load(self, workspace_id: int, issue_id: UUID) -> StoredIssue:
        """Newest snapshot and everything after it, in one consistent read. Raises `Purged`."""

    async def version(self, workspace_id: int, issue_id: UUID) -> tuple[int, int]:
        """How many deltas the issue has had, and the newest seq among them; zeros for one that nobody wrote."""

    async def load_many(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, StoredIssue]:
        """`load` for many issues in one consistent read. Those that are purged say so (`is_purged`)."""

    async def load_log(self, workspace_id: int, issue_id: UUID, until: int | None = None) -> StoredIssue:
        """The oldest kept snapshot (None when the log reaches back to the first edit) and every kept delta after it;
        with `until`, the newest snapshot at or below it and the deltas from there to `until`. Raises `Trimmed` when
        what is asked for lies below the issue's floor, and `Purged`."""

    async def seq_at(self, workspace_id: int, issue_id: UUID, at: datetime) -> int:
        """The seq of the issue's last delta at or before a time, 0 when it did not exist yet; costs the same however
        long its log is. Raises `Trimmed`, and `Purged`."""

    async def tail(self, workspace_id: int, issue_id: UUID, after: int) -> list[Delta]:
        """The issue's deltas with seq > after, ascending."""

    async def page(self, workspace_id: int, after: int, limit: int, max_bytes: int | None = None) -> list[Delta]:
        """The workspace's log with seq > after, ascending, at most `limit` rows and, behind the first one, `max_bytes`
        of updates. Fewer where updates are big: only an empty page is the end."""

    async def page_by_issue(self, workspace_id: int, after: int, limit: int) -> list[IssueDeltas]:
        """The same page, put together by issue, in the order of their first deltas."""

    async def issue_ids(self, workspace_id: int, after: UUID | None, limit: int) -> list[UUID]:
        """Every issue that has a delta, a snapshot or a status, by id, those after `after`; none that is purged."""

    async def issue_count(self, workspace_id: int) -> int:
        """How many issues `issue_ids` would list. Costs what there is."""

    async def changed_extents(self, workspace_id: int, since: int, after: UUID | None, limit: int) -> list[IssueExtent]:
        """Every issue with a seq > since, by id, those after `after`; those that are purged too. Costs what has
        changed, not what there is."""

    async def projected_through(self, workspace_id: int) -> int:
        """The cursor of the projection: rows say everything of the log up to here."""

    async def projected(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, ProjectedIssue]:
        """The stored rows of `issues` and `comments`; an issue without a row is missing."""

    async def workspace(self, slug: str) -> Workspace | None:
        """The workspace of that slug, None when there is none."""

    async def workspaces(self) -> list[Workspace]:
        """All of them, by id, with their current heads."""

    async def create_workspace(self, slug: str, name: str) -> Workspace:
        """Create it, or return the one that is there. Raises `BadSlug`."""

    def projection(self, workspace_id: int) -> AbstractAsyncContextManager[ProjectionTurn | None]:
        """Take the projection of a workspace for one page; None while another node has it (SKIP LOCKED)."""

    async def document(self, workspace_id: int, issue_id: UUID) -> DocumentStatus | None:
        """Its row of `documents`, None before it was first projected."""

    async def issues_to_compact(self, updates: int, tail_bytes: int, limit: int) -> list[DocumentStatus]:
        """Issues whose tail has at least `updates` deltas or `tail_bytes` bytes, longest first, not quarantined."""

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Insert a snapshot and note it in `documents` (tail counters start again). Keeps the earlier ones. A
        snapshot older than the newest changes nothing. Raises `Purged`."""

    async def snapshots(self, workspace_id: int, issue_id: UUID) -> list[Snapshot]:
        """Every kept snapshot of an issue, newest first, checksums verified."""

    async def drop_snapshots(self, workspace_id: int, issue_id: UUID, seqs: Sequence[int]) -> int:
        """Thin the kept history: delete these snapshots and return how many there were. The newest one and the one
        at the issue's floor must stay; naming them raises ValueError and deletes nothing."""

    async def trim(self, workspace_id: int, issue_id: UUID, through: int) -> int:
        """Delete the issue's deltas with seq <= through and its snapshots with seq < through, and raise the
        workspace's floor. `through` must be the seq of a kept snapshot and not above the projection cursor;
        anything else raises ValueError and deletes nothing. Returns the number of deltas deleted."""

    async def issues_to_purge(self, untouched_since: datetime, limit: int) -> list[tuple[int, UUID]]:
        """Workspace and id of issues that were deleted, and last written to, before a time; oldest first, not
        quarantined."""

    async def purge(
        self, workspace_id: int, issue_id: UUID, *, by: str, at: datetime, untouched_since: datetime | None = None
    ) -> int:
        """Delete a deleted issue for good, from log, snapshots and projection. What is left is a tombstone, a row of
        the log by actor `by`; returns its seq. Raises `NotPurgeable`, and deletes nothing, when the issue is not
        deleted, was written to after `untouched_since`, or when a reader of the log is not past it; `Purged` when it is
        purged already."""

    async def holes_between(self, workspace_id: int, first: int, last: int) -> int:
        """How many seqs from `first` through `last` purges have taken out of the log above the floor."""

    async def quarantine(self, workspace_id: int, issue_id: UUID, reason: str) -> None:
        """Flag an issue the engine could not digest: still synced by bytes, not projected or compacted."""

    async def release(self, workspace_id: int, issue_id: UUID) -> bool:
        """Lift the quarantine. False when there was none."""

    async def quarantined(self) -> list[DocumentStatus]:
        """Every quarantined issue."""

    async def check_writable(self) -> None:
        """Commit a probe row; raises `StoreUnavailable` with the reason when the store cannot take edits."""

    async def close(self) -> None:
        """Let go of connections. The store answers nothing afterwards."""
