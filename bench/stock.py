"""Issues put into the log the way the appender does it, for sections that need many of them at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from bench.servers import WORKSPACE
from bench.typist import FIRST_CLIENT, Typist
from storage.database import DatabaseLimits, open_database
from storage.postgres import PostgresStore
from storage.store import NewDelta

BATCH = 2_000


@asynccontextmanager
async def opened_store(dsn: str) -> AsyncIterator[PostgresStore]:
    """The store of a migrated database."""
    database = await open_database(dsn, DatabaseLimits())
    try:
        yield PostgresStore(database)
    finally:
        await database.close()


async def stock(dsn: str, issues: int, updates_per_issue: int) -> list[UUID]:
    """Write that many new issues, one letter a delta, the issues' deltas mixed as on a busy day. Their ids."""
    ids = [uuid4() for _ in range(issues)]
    typists = [Typist(FIRST_CLIENT + number) for number in range(issues)]
    async with opened_store(dsn) as store:
        workspace = await store.workspace(WORKSPACE)
        if workspace is None:
            raise LookupError(f"no workspace {WORKSPACE}")
        now = datetime.now(UTC)
        batch: list[NewDelta] = []
        for _ in range(updates_per_issue):
            for issue_id, typist in zip(ids, typists, strict=True):
                batch.append(NewDelta(workspace.id, issue_id, typist.type(), "bench", None, now))
                if len(batch) == BATCH:
                    await store.append(batch)
                    batch = []
        await store.append(batch)
    return ids


async def query(dsn: str, statement: str) -> list[asyncpg.Record]:
    """The rows of one statement."""
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()
