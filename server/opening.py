"""How the server and every command come to an open store: a given Postgres, or the embedded one, adopted or started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from server import bounds
from server.config import Settings
from storage.audit_log import AuditLog
from storage.data_directory import DirectoryInUse, DirectoryLock
from storage.database import open_database
from storage.embedded import EmbeddedPostgres
from storage.errors import StoreError
from storage.import_ledger import ImportLedger
from storage.issue_reader import IssueReader
from storage.keyed_requests import KeyedRequests
from storage.log_reader import LogReader
from storage.logins import Logins
from storage.migrate import migrate
from storage.people import People
from storage.postgres import PostgresStore
from storage.sync_queue import SyncQueue
from storage.visitors import Visitors
from storage.words import Words

CLOSE_SECONDS = 1.0  # for statements under way when everything that could wait for them has ended


@dataclass(frozen=True, slots=True)
class Opened:
    """A migrated, connected store, its issues as records, what keeps the words they are found by, the accounts of
    imports, of queued operations and of requests with keys, who may come, and what was audited. `dsn`: the owner's ·
    `serving_dsn`: for everything that answers clients · `embedded` is None when the database is not ours."""

    store: PostgresStore
    issues: IssueReader
    log: LogReader
    words: Words
    imports: ImportLedger
    sync_queue: SyncQueue
    keyed_requests: KeyedRequests
    people: People
    logins: Logins
    visitors: Visitors
    audit_log: AuditLog
    dsn: str
    serving_dsn: str
    embedded: EmbeddedPostgres | None


@asynccontextmanager
async def open_store(settings: Settings, *, serving: bool = False) -> AsyncIterator[Opened]:
    """The store the settings name, until the end of the block, which stops what was started here.

    A command joins the embedded Postgres of a running server; with `serving`, that server raises `DirectoryInUse`,
    because a data directory has one. Raises `StoreError` in all its kinds.
    """
    async with AsyncExitStack() as stack:
        embedded = None
        if settings.database_url is None:
            embedded = EmbeddedPostgres(settings.data_dir)
            await _start(embedded, stack, serving=serving)
        dsn = embedded.dsn if embedded else database_url(settings)
        await migrate(dsn)
        serving_dsn = embedded.serving_dsn if embedded else dsn
        database = await open_database(serving_dsn, bounds.of_database(settings))
        store = PostgresStore(database)
        stack.push_async_callback(store.close, CLOSE_SECONDS)
        yield Opened(
            store=store,
            issues=IssueReader(database, settings.list_timeout_seconds),
            log=LogReader(database),
            words=Words(database, bounds.of_words(settings)),
            imports=ImportLedger(database),
            sync_queue=SyncQueue(database, bounds.of_sync_queue(settings)),
            keyed_requests=KeyedRequests(database),
            people=People(database),
            logins=Logins(database),
            visitors=Visitors(database),
            audit_log=AuditLog(database),
            dsn=dsn,
            serving_dsn=serving_dsn,
            embedded=embedded,
        )


def database_url(settings: Settings) -> str:
    """The DSN, without opening anything. Raises `StoreError` when the embedded Postgres does not run."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    embedded = EmbeddedPostgres(settings.data_dir)
    if not embedded.is_running:
        raise StoreError(f"no Postgres runs in {settings.data_dir}; start it with `syncline serve`")
    return embedded.dsn


async def _start(embedded: EmbeddedPostgres, stack: AsyncExitStack, *, serving: bool) -> None:
    lock = DirectoryLock(embedded.data_directory)
    try:
        stack.enter_context(lock)
    except DirectoryInUse:
        if serving or not embedded.is_running:
            raise
        return
    stack.push_async_callback(_stop, embedded)
    await embedded.start()


async def _stop(embedded: EmbeddedPostgres) -> None:
    # Shielded: whoever is cancelled while it stops would leave it running with nobody to stop it.
    await asyncio.shield(embedded.stop())
