"""A workspace's rows as they stood at one seq, read from a single transaction a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from storage.database import connect, set_workspace, translated
from storage.errors import StoreUnavailable, UnknownWorkspace
from storage.isolation import DIRECTORY, Connection
from storage.store import ProjectedIssue, Workspace
from storage.tables import issues, workspaces

# A repaired row may be ahead of the cursor for a moment: then no seq describes the tables.
_EXTENT: Final = "SELECT count(*), coalesce(max(seq), 0) FROM issues WHERE workspace_id = $1"
_QUARANTINED: Final = "SELECT count(*) FROM documents WHERE workspace_id = $1 AND quarantined_at IS NOT NULL"

# Only ids and sizes go through the sort and the cursor: the texts are read by page, as many as fit.
_ORDER: Final = """
SELECT i.id, octet_length(i.title) + octet_length(i.description) + coalesce((
    SELECT sum(octet_length(c.body)) FROM comments AS c WHERE c.workspace_id = $1 AND c.issue_id = i.id), 0) AS bytes
FROM issues AS i WHERE i.workspace_id = $1 ORDER BY i.created_at NULLS LAST, i.id"""
_USERS: Final = """
SELECT id, name, email, created_at, updated_at, last_sync_at, device_id FROM users
WHERE workspace_id = $1 ORDER BY created_at, id COLLATE "C\""""


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """`page_bytes`: text held at a time; one issue alone may be bigger. `idle_seconds`: how long a reader that takes
    nothing may hold the transaction open."""

    wait_seconds: float = 30.0
    poll_seconds: float = 0.05
    page_issues: int = 64
    page_bytes: int = 1 << 20
    statement_seconds: float = 300.0
    idle_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class User:
    """One row of `users`."""

    id: str
    name: str | None
    email: str | None
    created_at: datetime
    updated_at: datetime
    last_sync_at: datetime | None
    device_id: str | None


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """What is exported: everything of the log through `seq`. `quarantined`: issues whose rows are older than that."""

    workspace_id: int
    workspace: str
    seq: int
    epoch: UUID
    issues: int
    quarantined: int


class Export:
    """An open export. Its rows are those of one moment, however slowly they are read."""

    def __init__(self, connection: Connection, header: ExportHeader, limits: ExportLimits) -> None:
        self.header = header
        self._connection = connection
        self._limits = limits

    async def users(self) -> AsyncIterator[User]:
        """By creation, then id. Raises `StoreUnavailable`."""
        with translated("export users"):
            async for row in self._connection.cursor(_USERS, self.header.workspace_id):
                yield User(*row)

    async def issues(self) -> AsyncIterator[ProjectedIssue]:
        """By creation (unknown last), then id, with their comments. Raises `StoreUnavailable`."""
        with translated("export issues"):
            async for page in self._pages():
                rows = await self._connection.fetch(issues.SELECT, self.header.workspace_id, page)
                comments = await self._connection.fetch(issues.SELECT_COMMENTS, self.header.workspace_id, page)
                found = issues.projected_issues(rows, comments)
                for issue_id in page:
                    yield found.pop(issue_id)

    async def _pages(self) -> AsyncIterator[list[UUID]]:
        page: list[UUID] = []
        held = 0
        async for issue_id, size in self._connection.cursor(_ORDER, self.header.workspace_id, prefetch=1_000):
            if page and (len(page) == self._limits.page_issues or held + size > self._limits.page_bytes):
                yield page
                page, held = [], 0
            page.append(issue_id)
            held += size
        if page:
            yield page


@asynccontextmanager
async def open_export(dsn: str, slug: str, limits: ExportLimits | None = None) -> AsyncIterator[Export]:
    """Wait until all that is committed now is projected, then hold that moment until the block ends.

    On a connection of its own, because a download may take long. Raises `UnknownWorkspace`, and `StoreUnavailable`
    when the projection does not get there within `wait_seconds`.
    """
    limits = limits or ExportLimits()
    connection = await connect(dsn, DIRECTORY)
    try:
        with translated("export"):
            await _bound(connection, limits)
            transaction, header = await _settled(connection, slug, limits)
        try:
            yield Export(connection, header, limits)
        finally:
            if not connection.is_closed():
                with translated("end the export"):
                    await transaction.rollback()
    finally:
        connection.terminate()


async def _bound(connection: Connection, limits: ExportLimits) -> None:
    for name, seconds in (
        ("statement_timeout", limits.statement_seconds),
        ("idle_in_transaction_session_timeout", limits.idle_seconds),
    ):
        await connection.execute("SELECT set_config($1, $2, false)", name, str(round(seconds * 1000)))


async def _settled(
    connection: Connection, slug: str, limits: ExportLimits
) -> tuple[asyncpg.transaction.Transaction, ExportHeader]:
    """A transaction whose view is exactly one seq, at or after the head as it is now."""
    workspace = await _workspace(connection, slug)
    await set_workspace(connection, workspace.id)
    deadline = asyncio.get_running_loop().time() + limits.wait_seconds
    while True:
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        seq = await connection.fetchval(workspaces.CURSOR, workspace.id, workspaces.PROJECTION) or 0
        if seq >= workspace.head:
            header, newest = await _header(connection, await _workspace(connection, slug), seq)
            if newest <= seq:
                return transaction, header
        await transaction.rollback()
        if asyncio.get_running_loop().time() >= deadline:
            raise StoreUnavailable(
                f"the projection of {slug} is at seq {seq} of {workspace.head} after {limits.wait_seconds:g} s;"
                " it advances while a server runs"
            )
        await asyncio.sleep(limits.poll_seconds)


async def _workspace(connection: Connection, slug: str) -> Workspace:
    row = await connection.fetchrow(workspaces.ONE, slug)
    if row is None:
        raise UnknownWorkspace(f"there is no workspace {slug}")
    return workspaces.workspace(row)


async def _header(connection: Connection, workspace: Workspace, seq: int) -> tuple[ExportHeader, int]:
    extent = await connection.fetchrow(_EXTENT, workspace.id)
    assert extent is not None
    count, newest = extent
    quarantined = await connection.fetchval(_QUARANTINED, workspace.id)
    return ExportHeader(workspace.id, workspace.slug, seq, workspace.epoch, count, quarantined), newest
