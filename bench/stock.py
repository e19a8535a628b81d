"""Issues put into the log the way the appender does it, for sections that need many of them at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID, uuid4

import asyncpg

from bench.servers import WORKSPACE
from bench.typist import FIRST_CLIENT, Typist
from crdt.writing import seed
from storage.compactor import CompactorLimits
from storage.database import DatabaseLimits, open_database
from storage.postgres import PostgresStore
from storage.store import NewDelta, Store, Workspace

BATCH = 2_000
SETTLE_S_MAX = 60.0
POLL_S = 0.1
BEHIND = """
SELECT count(*) AS left FROM workspaces w
WHERE w.head > coalesce((SELECT min(c.seq) FROM cursors c WHERE c.workspace_id = w.id), 0)"""
LONG_TAILS = f"SELECT count(*) AS left FROM documents WHERE tail_updates >= {CompactorLimits().tail_updates}"
SYLLABLES = ("ba", "den", "fi", "gor", "hu", "ka", "lin", "mo", "nes", "pra", "ri", "sol", "ta", "ver", "wi", "zu")
DESCRIPTION_WORDS = 130  # with title and labels about 1 kB an issue


@asynccontextmanager
async def opened_store(dsn: str) -> AsyncIterator[PostgresStore]:
    """The store of a migrated database."""
    store = PostgresStore(await open_database(dsn, DatabaseLimits()))
    try:
        yield store
    finally:
        await store.close()


async def stock(dsn: str, issues: int, updates_per_issue: int) -> list[UUID]:
    """Write that many new issues, one letter a delta, the issues' deltas mixed as on a busy day. Their ids."""
    ids = [uuid4() for _ in range(issues)]
    async with opened_store(dsn) as store:
        workspace = await store.workspace(WORKSPACE)
        if workspace is None:
            raise LookupError(f"no workspace {WORKSPACE}")
        await type_into(store, workspace, ids, updates_per_issue)
    return ids


async def stock_whole(dsn: str, slug: str, issues: int) -> tuple[Workspace, list[UUID]]:
    """Fill a new workspace with issues of about 1 kB, each as its creation left it: one delta. Their ids."""
    chance = random.Random(slug)
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(2_000)]
    ids = [uuid4() for _ in range(issues)]
    async with opened_store(dsn) as store:
        workspace = await store.create_workspace(slug, slug)
        now = datetime.now(UTC)
        created = (
            NewDelta(
                workspace.id,
                issue_id,
                seed(issue_id, " ".join(chance.choices(words, k=8)), _text(chance, words), chance.sample(words, 2)),
                "bench",
                None,
                now,
            )
            for issue_id in ids
        )
        await _append(store, created)
        now_there = await store.workspace(slug)
        assert now_there is not None
        return now_there, ids


async def type_into(store: Store, workspace: Workspace, ids: Sequence[UUID], letters: int) -> None:
    """Type that many letters into the description of each issue, one a delta, by turns."""
    typists = [Typist(FIRST_CLIENT + number) for number in range(len(ids))]
    now = datetime.now(UTC)
    deltas = (
        NewDelta(workspace.id, issue_id, typist.type(), "bench", None, now)
        for _ in range(letters)
        for issue_id, typist in zip(ids, typists, strict=True)
    )
    await _append(store, deltas)


async def until_projected(dsn: str) -> None:
    """Wait for the readers of the log, which must not share the core with what is measured. Raises TimeoutError."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while (await query(dsn, BEHIND))[0]["left"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the log is not projected after {SETTLE_S_MAX:.0f} s")
        await asyncio.sleep(POLL_S)


async def until_compacted(dsn: str) -> None:
    """Wait for the compactor too. Raises TimeoutError."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while (await query(dsn, LONG_TAILS))[0]["left"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the log is not compacted after {SETTLE_S_MAX:.0f} s")
        await asyncio.sleep(POLL_S)


async def query(dsn: str, statement: str) -> list[asyncpg.Record]:
    """The rows of one statement."""
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


async def _append(store: Store, deltas: Iterable[NewDelta]) -> None:
    left = iter(deltas)
    while batch := list(islice(left, BATCH)):
        await store.append(batch)


def _text(chance: random.Random, words: Sequence[str]) -> str:
    return " ".join(chance.choices(words, k=DESCRIPTION_WORDS))
