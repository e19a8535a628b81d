"""The durable store on Postgres: which statements make up each promise of `storage/store.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from storage.database import Database
from storage.errors import Overtaken, Purged, StoreUnavailable, Trimmed, UnknownWorkspace
from storage.isolation import Connection, turn_to
from storage.log_reader import LogReader
from storage.postgres_ledger import PostgresLedger
from storage.slugs import check_slug
from storage.store import (
    Delta,
    DocumentStatus,
    IssueDeltas,
    IssueExtent,
    NewDelta,
    ProjectedIssue,
    ProjectionTurn,
    Snapshot,
    StoredIssue,
    Workspace,
    through,
    unless_purged,
)
from storage.tables import (
    conflicts,
    deltas,
    documents,
    issue_labels,
    issue_words,
    issues,
    keyed_requests,
    snapshots,
    tombstones,
    workspaces,
)

PAGE_BYTES_MAX: Final = 32 * 1024 * 1024  # of one read, whatever was asked for; the reader goes on from there

_APPEND_ATTEMPTS: Final = 5

_PROBE: Final = """
INSERT INTO probes (id, written_at) VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET written_at = excluded.written_at"""


class PostgresStore:
    """`Store` on a migrated database."""

    def __init__(self, database: Database, *, page_bytes_max: int = PAGE_BYTES_MAX) -> None:
        self._database = database
        self._page_bytes_max = page_bytes_max
        self._append = database.kept("append to the log", deltas.APPEND)
        self._append_to_one = database.kept("append to the log of a workspace", deltas.APPEND_TO_ONE)
        self.ledger = PostgresLedger(database)

    async def append(self, batch: Sequence[NewDelta]) -> list[int]:
        if not batch:
            return []
        for _ in range(_APPEND_ATTEMPTS):
            try:
                return await self._try_to_append(batch)
            except asyncpg.NotNullViolationError:
                await self._expect_places(batch)
        raise StoreUnavailable("issues of the workspace are being purged all the while")

    async def _try_to_append(self, batch: Sequence[NewDelta]) -> list[int]:
        if any(delta.conflicts or delta.after is not None or delta.mark for delta in batch):
            return deltas.numbered(batch, await self._append_with_care(batch))
        workspace_ids, *columns = deltas.append_arguments(batch)
        if len(set(workspace_ids)) > 1:
            return deltas.numbered(batch, await self._append.fetch(workspace_ids, *columns))
        bumped = await self._append_to_one.fetch(workspace_ids[0], *columns)
        before: int = bumped[0]["before"]
        return list(range(before + 1, before + 1 + len(batch)))

    async def _expect_places(self, batch: Sequence[NewDelta]) -> None:
        """Raises what keeps a batch out of the log. Nothing does: a purge came while it waited for the lock."""
        workspace_ids = [delta.workspace_id for delta in batch]
        async with self._database.directory("see why the log refuses") as connection:
            purged = await tombstones.purged_among(connection, workspace_ids, [delta.issue_id for delta in batch])
            known = {row["id"] for row in await connection.fetch(workspaces.ALL)}
        if purged:
            raise Purged(f"issue {purged[0]} was purged")
        if not known.issuperset(workspace_ids):
            raise UnknownWorkspace("a delta names a workspace that does not exist")

    async def _append_with_care(self, batch: Sequence[NewDelta]) -> list[asyncpg.Record]:
        """With conflicts, which are content, with marks, and with what deltas are to come after. So each workspace's
        part runs for itself; in one transaction, and in the order in which every append locks workspaces."""
        parts: dict[int, list[NewDelta]] = {}
        for delta in batch:
            parts.setdefault(delta.workspace_id, []).append(delta)
        bumped: list[asyncpg.Record] = []
        doing = "append to the log, with care"
        async with self._database.directory(doing) as connection, connection.transaction():
            for workspace_id, part in sorted(parts.items()):
                await turn_to(connection, workspace_id)
                await _expect_newest(connection, workspace_id, part)
                rows = await connection.fetch(conflicts.APPEND, *conflicts.append_arguments(part))
                await _note_marks(connection, workspace_id, part, rows)
                bumped += rows
        return bumped

    async def load(self, workspace_id: int, issue_id: UUID) -> StoredIssue:
        return unless_purged((await self.load_many(workspace_id, [issue_id]))[issue_id], issue_id)

    async def version(self, workspace_id: int, issue_id: UUID) -> tuple[int, int]:
        async with self._database.session("read an issue's version", workspace_id) as connection:
            row = await connection.fetchrow(deltas.VERSION, workspace_id, issue_id)
        assert row is not None
        return row["version"], row["seq"]

    async def load_many(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, StoredIssue]:
        async with self._database.session("load issues", workspace_id) as connection:
            rows = await connection.fetch(snapshots.LOAD, workspace_id, issue_ids)
        found = snapshots.stored_issues(rows)
        return {issue_id: found.get(issue_id) or StoredIssue(None, []) for issue_id in issue_ids}

    async def load_log(self, workspace_id: int, issue_id: UUID, until: int | None = None) -> StoredIssue:
        issue = (workspace_id, issue_id)
        async with self._database.session("load the log", workspace_id) as connection, _one_view(connection):
            status = await connection.fetchrow(documents.ONE, *issue)
            floor: int = status["floor"] if status else 0
            if until is None:
                row = await connection.fetchrow(snapshots.ONE, *issue, floor) if floor else None
            else:
                row = await connection.fetchrow(snapshots.NEWEST_UNTIL, *issue, until)
            if row is None and floor:
                raise Trimmed(f"issue {issue_id}: its history starts at seq {floor}")
            start = snapshots.snapshot(row) if row else None
            tail = await connection.fetch(deltas.RANGE, *issue, start.seq if start else 0, until)
            stored = StoredIssue(start, deltas.read(tail))
            if not stored.seq and await tombstones.purged_among(connection, [workspace_id], [issue_id]):
                raise Purged(f"issue {issue_id} was purged")
        return unless_purged(stored, issue_id)

    async def seq_at(self, workspace_id: int, issue_id: UUID, at: datetime) -> int:
        return await LogReader(self._database).seq_at(workspace_id, issue_id, at)

    async def tail(self, workspace_id: int, issue_id: UUID, after: int) -> list[Delta]:
        async with self._database.session("read an issue's tail", workspace_id) as connection:
            return deltas.read(await connection.fetch(deltas.TAIL, workspace_id, issue_id, after))

    async def page(self, workspace_id: int, after: int, limit: int, max_bytes: int | None = None) -> list[Delta]:
        bytes_max = self._page_bytes_max if max_bytes is None else min(max_bytes, self._page_bytes_max)
        async with self._database.session("read a page of the log", workspace_id) as connection:
            rows = await connection.fetch(deltas.PAGE, workspace_id, after, limit, bytes_max)
        return deltas.read(rows)

    async def page_by_issue(self, workspace_id: int, after: int, limit: int) -> list[IssueDeltas]:
        async with self._database.session("read a page of the log", workspace_id) as connection:
            rows = await connection.fetch(deltas.PAGE_BY_ISSUE, workspace_id, after, limit, self._page_bytes_max)
        return deltas.read_by_issue(workspace_id, rows)

    async def issue_ids(self, workspace_id: int, after: UUID | None, limit: int) -> list[UUID]:
        async with self._database.session("list issues", workspace_id) as connection:
            rows = await connection.fetch(documents.ISSUE_IDS, workspace_id, after, limit)
        return [row["issue_id"] for row in rows]

    async def issue_count(self, workspace_id: int) -> int:
        async with self._database.session("count issues", workspace_id) as connection:
            count: int = await connection.fetchval(documents.ISSUE_COUNT, workspace_id, workspaces.PROJECTION)
        return count

    async def changed_extents(self, workspace_id: int, since: int, after: UUID | None, limit: int) -> list[IssueExtent]:
        async with self._database.session("list changed issues and their sizes", workspace_id) as connection:
            rows = await connection.fetch(
                documents.CHANGED_EXTENTS, workspace_id, after, limit, since, workspaces.PROJECTION
            )
        return [IssueExtent(*row) for row in rows]

    async def projected_through(self, workspace_id: int) -> int:
        async with self._database.session("read the projection's cursor", workspace_id) as connection:
            cursor = await connection.fetchval(workspaces.CURSOR, workspace_id, workspaces.PROJECTION)
        return cursor or 0

    async def projected(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, ProjectedIssue]:
        async with self._database.session("read projected issues", workspace_id) as connection, _one_view(connection):
            rows = await connection.fetch(issues.SELECT, workspace_id, issue_ids)
            comments = await connection.fetch(issues.SELECT_COMMENTS, workspace_id, issue_ids)
        return issues.projected_issues(rows, comments)

    async def workspace(self, slug: str) -> Workspace | None:
        async with self._database.directory("look up a workspace") as connection:
            row = await connection.fetchrow(workspaces.ONE, slug)
        return workspaces.workspace(row) if row else None

    async def workspaces(self) -> list[Workspace]:
        async with self._database.directory("list workspaces") as connection:
            return [workspaces.workspace(row) for row in await connection.fetch(workspaces.ALL)]

    async def create_workspace(self, slug: str, name: str) -> Workspace:
        check_slug(slug)
        async with self._database.directory("create a workspace") as connection:
            return await workspaces.create(connection, slug, name)

    @asynccontextmanager
    async def projection(self, workspace_id: int) -> AsyncIterator[ProjectionTurn | None]:
        # The row lock lives as long as the transaction: a node that dies gives up its turn by that alone.
        async with self._database.session("project issues", workspace_id) as connection, connection.transaction():
            cursor = await connection.fetchval(workspaces.TAKE_CURSOR, workspace_id, workspaces.PROJECTION)
            yield None if cursor is None else _Turn(connection, workspace_id, cursor)

    async def document(self, workspace_id: int, issue_id: UUID) -> DocumentStatus | None:
        async with self._database.session("read an issue's status", workspace_id) as connection:
            row = await connection.fetchrow(documents.ONE, workspace_id, issue_id)
        return documents.status(row) if row else None

    async def issues_to_compact(self, updates: int, tail_bytes: int, limit: int) -> list[DocumentStatus]:
        async with self._database.directory("look for issues to compact") as connection:
            rows = await connection.fetch(documents.TO_COMPACT, updates, tail_bytes, limit)
        return [documents.status(row) for row in rows]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        issue = (snapshot.workspace_id, snapshot.issue_id)
        async with (
            self._database.session("save a snapshot", snapshot.workspace_id) as connection,
            connection.transaction(),
        ):
            newest, _ = await _lock(connection, *issue)
            if await tombstones.purged_among(connection, issue[:1], issue[1:]):
                raise Purged(f"issue {snapshot.issue_id} was purged")
            if snapshot.seq > newest:
                await connection.execute(snapshots.INSERT, *snapshots.insert_arguments(snapshot))
                await connection.execute(documents.NOTE_SNAPSHOT, *issue, snapshot.seq)

    async def snapshots(self, workspace_id: int, issue_id: UUID) -> list[Snapshot]:
        async with self._database.session("read snapshots", workspace_id) as connection:
            rows = await connection.fetch(snapshots.ALL, workspace_id, issue_id)
        return [snapshots.snapshot(row) for row in rows]

    async def drop_snapshots(self, workspace_id: int, issue_id: UUID, seqs: Sequence[int]) -> int:
        async with self._database.session("drop snapshots", workspace_id) as connection, connection.transaction():
            newest, floor = await _lock(connection, workspace_id, issue_id)
            if newest in seqs or floor in seqs:
                raise ValueError(f"snapshots {newest} (newest) and {floor} (floor) must stay")
            dropped: int = await connection.fetchval(snapshots.DROP, workspace_id, issue_id, seqs)
        return dropped

    async def trim(self, workspace_id: int, issue_id: UUID, through: int) -> int:
        issue = (workspace_id, issue_id)
        async with self._database.session("trim the log", workspace_id) as connection, connection.transaction():
            await _lock(connection, *issue)
            if await connection.fetchrow(snapshots.ONE, *issue, through) is None:
                raise ValueError(f"no snapshot is kept at seq {through}")
            slowest = await connection.fetchval(workspaces.SLOWEST_CURSOR, workspace_id)
            if slowest is None or through > slowest:
                raise ValueError(f"a reader of the log is still at seq {slowest}")
            trimmed = await connection.fetchrow(deltas.TRIM, *issue, through)
            assert trimmed is not None
            await connection.execute(snapshots.TRIM, *issue, through)
            await connection.execute(documents.NOTE_TRIM, *issue, through)
            # Last, because every writer of the workspace waits from here to COMMIT.
            await connection.execute(workspaces.RAISE_FLOOR, workspace_id, trimmed["floor"])
        rows: int = trimmed["rows"]
        return rows

    async def issues_to_purge(self, untouched_since: datetime, limit: int) -> list[tuple[int, UUID]]:
        async with self._database.directory("look for issues to purge") as connection:
            return [tuple(row) for row in await connection.fetch(tombstones.DUE, untouched_since, limit)]

    async def purge(
        self, workspace_id: int, issue_id: UUID, *, by: str, at: datetime, untouched_since: datetime | None = None
    ) -> int:
        async with self._database.session("purge an issue", workspace_id) as connection, connection.transaction():
            if await tombstones.purged_among(connection, [workspace_id], [issue_id]):
                raise Purged(f"issue {issue_id} was purged")
            return await tombstones.purge(connection, workspace_id, issue_id, by, at, untouched_since)

    async def holes_between(self, workspace_id: int, first: int, last: int) -> int:
        async with self._database.session("look for purged issues", workspace_id) as connection:
            holes: int = await connection.fetchval(tombstones.HOLES_BETWEEN, workspace_id, first, last)
        return holes

    async def quarantine(self, workspace_id: int, issue_id: UUID, reason: str) -> None:
        async with self._database.session("quarantine an issue", workspace_id) as connection:
            await connection.execute(documents.QUARANTINE, workspace_id, issue_id, reason)

    async def release(self, workspace_id: int, issue_id: UUID) -> bool:
        async with self._database.session("release an issue", workspace_id) as connection:
            return await connection.fetchval(documents.RELEASE, workspace_id, issue_id) is not None

    async def quarantined(self) -> list[DocumentStatus]:
        async with self._database.directory("list quarantined issues") as connection:
            return [documents.status(row) for row in await connection.fetch(documents.QUARANTINED)]

    async def check_writable(self) -> None:
        async with self._database.directory("write to the database") as connection:
            await connection.execute(_PROBE)

    async def close(self, deadline: float = 5.0) -> None:
        self._append.drop()
        self._append_to_one.drop()
        await self._database.close(deadline)


class _Turn:
    """One node's turn at a workspace's projection, inside one transaction."""

    def __init__(self, connection: Connection, workspace_id: int, cursor: int) -> None:
        self._connection = connection
        self._workspace_id = workspace_id
        self._cursor = cursor

    @property
    def cursor(self) -> int:
        return self._cursor

    async def save(self, rows: Sequence[ProjectedIssue], page: Sequence[IssueDeltas]) -> None:
        if page:
            await self._count(page)
        if rows:
            await self._upsert(rows)

    async def _count(self, page: Sequence[IssueDeltas]) -> None:
        issue_ids = [deltas.issue_id for deltas in page]
        known = await self._connection.fetch(documents.SNAPSHOT_SEQS, self._workspace_id, issue_ids)
        counts = documents.counted(page, {row["issue_id"]: row["snapshot_seq"] for row in known})
        await self._connection.execute(documents.COUNT, *documents.count_arguments(self._workspace_id, counts))
        last = through(page)
        await self._connection.execute(workspaces.MOVE_CURSOR, self._workspace_id, workspaces.PROJECTION, last)
        self._cursor = last

    async def _upsert(self, rows: Sequence[ProjectedIssue]) -> None:
        stored = await self._connection.fetch(issues.SEQS, self._workspace_id, [row.issue_id for row in rows])
        new = issues.newer(rows, {row["id"]: row["seq"] for row in stored})
        await self._connection.executemany(
            issues.UPSERT, [issues.upsert_arguments(self._workspace_id, row) for row in new]
        )
        columns = issues.comment_arguments(new)
        issue_ids = [row.issue_id for row in new]
        await self._connection.execute(issues.DELETE_COMMENTS, self._workspace_id, issue_ids, *columns[:2])
        await self._connection.execute(issues.UPSERT_COMMENTS, self._workspace_id, *columns)
        await self._connection.execute(issue_labels.DELETE, self._workspace_id, issue_ids)
        await self._connection.execute(issue_labels.UPSERT, self._workspace_id, issue_ids)
        seqs = [row.seq for row in new]
        await self._connection.execute(issue_words.NOTE_DUE, self._workspace_id, seqs, issue_ids)


@asynccontextmanager
async def _one_view(connection: Connection) -> AsyncIterator[None]:
    """Everything read inside is from the same moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def _expect_newest(connection: Connection, workspace_id: int, part: Sequence[NewDelta]) -> None:
    """What is to come right after a delta does, and will until COMMIT. Raises `Overtaken`."""
    expected = {delta.issue_id: delta.after for delta in part if delta.after is not None}
    if expected:
        await connection.execute(deltas.LOCK, workspace_id)
        overtaken = await connection.fetchval(deltas.OVERTAKEN, workspace_id, list(expected), list(expected.values()))
        if overtaken is not None:
            raise Overtaken(f"issue {overtaken} was written to since")


async def _note_marks(
    connection: Connection, workspace_id: int, part: Sequence[NewDelta], bumped: Sequence[asyncpg.Record]
) -> None:
    """Raises `Overtaken`."""
    if any(delta.mark for delta in part):
        seqs = deltas.numbered(part, bumped)
        marked = [(delta.mark, delta.issue_id, seq) for delta, seq in zip(part, seqs, strict=True) if delta.mark]
        rows = [(mark.user_id, mark.key, issue_id, seq, ",".join(mark.outcomes)) for mark, issue_id, seq in marked]
        columns = [list(column) for column in zip(*rows, strict=True)]
        noted = await connection.fetch(keyed_requests.NOTE_EDITS, workspace_id, *columns)
        if len(noted) < len(marked):
            raise Overtaken("a request was done already")


async def _lock(connection: Connection, workspace_id: int, issue_id: UUID) -> tuple[int, int]:
    """Make snapshots and trims of one issue take turns; returns its newest snapshot's seq and its floor."""
    await connection.execute(documents.CREATE, workspace_id, issue_id)
    row = await connection.fetchrow(documents.LOCK, workspace_id, issue_id)
    assert row is not None
    return row["snapshot_seq"], row["floor"]
