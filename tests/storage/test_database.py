"""What a real Postgres does when it is unwell, and that callers hear `StoreUnavailable` and no secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from storage.database import Database, DatabaseLimits, check_version, open_database, redacted, translated
from storage.embedded import EmbeddedPostgres
from storage.errors import StoreUnavailable
from storage.migrate import migrate
from storage.postgres import PostgresStore
from tests.conftest import UNSAFE_AND_FAST, database_url, execute
from tests.storage.rows import ISSUE, new_delta

LIMITS = DatabaseLimits(connections_max=2)
WORKSPACE = 1
SHORT = 0.1  # seconds, for the one deadline a test is about; a busy machine must not meet another first


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = await open_database(dsn, LIMITS)
    yield database
    await database.close()


@asynccontextmanager
async def opened(dsn: str, limits: DatabaseLimits) -> AsyncIterator[Database]:
    database = await open_database(dsn, limits)
    yield database
    await database.close()


async def setting(database: Database, name: str) -> str:
    async with database.session("show a setting", WORKSPACE) as connection:
        value: str = await connection.fetchval("SELECT current_setting($1)", name)
    return value


async def test_commits_are_synchronous_whatever_the_server_says(postgres: EmbeddedPostgres, dsn: str) -> None:
    await execute(dsn, "ALTER ROLE syncline SET synchronous_commit = off")
    database = await open_database(dsn, LIMITS)
    try:
        assert await setting(database, "synchronous_commit") == "on"
    finally:
        await database.close()
        await execute(dsn, "ALTER ROLE syncline RESET synchronous_commit")


async def test_sessions_carry_a_name_and_deadlines(database: Database) -> None:
    assert await setting(database, "application_name") == "syncline"
    assert await setting(database, "statement_timeout") == "30s"
    assert await setting(database, "lock_timeout") == "10s"
    assert await setting(database, "idle_in_transaction_session_timeout") == "1min"


async def test_a_statement_past_its_deadline_is_unavailable_and_the_next_one_works(dsn: str) -> None:
    async with opened(dsn, replace(LIMITS, statement_timeout=SHORT)) as database:
        with pytest.raises(StoreUnavailable, match="cannot wait: canceling statement due to statement timeout"):
            async with database.session("wait", WORKSPACE) as connection:
                await connection.execute("SELECT pg_sleep(60)")
        async with database.session("go on", WORKSPACE) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_when_every_connection_is_borrowed_the_next_borrower_waits_no_longer_than_it_may(dsn: str) -> None:
    limits = replace(LIMITS, connections_max=1, acquire_timeout=SHORT)
    async with opened(dsn, limits) as database, database.session("hold", WORKSPACE):
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            async with database.session("borrow", WORKSPACE):
                pass


async def test_a_killed_backend_is_unavailable_once_and_replaced(database: Database, dsn: str) -> None:
    async def read_while_killed() -> None:
        async with database.session("read", WORKSPACE) as connection:
            await execute(dsn, f"SELECT pg_terminate_backend({connection.get_server_pid()})")
            await connection.fetchval("SELECT 1")

    with pytest.raises(StoreUnavailable):
        await read_while_killed()
    assert await setting(database, "application_name") == "syncline"


async def test_a_borrower_that_is_cancelled_between_two_messages_leaves_no_transaction_to_the_next(dsn: str) -> None:
    """asyncpg prepares a statement without the Sync that ends Postgres' transaction: it comes with the run."""

    async def prepare_and_go(database: Database) -> None:
        async with database.session("prepare", WORKSPACE) as connection:
            assert isinstance(connection, PoolConnectionProxy)
            await connection._con._get_statement("SELECT count(*) FROM deltas", None)  # type: ignore[attr-defined]
            raise asyncio.CancelledError

    async with opened(dsn, replace(LIMITS, connections_max=1)) as database:
        with pytest.raises(asyncio.CancelledError):
            await prepare_and_go(database)
        async with (
            database.session("read", WORKSPACE) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            assert await connection.fetchval("SELECT count(*) FROM deltas") == 0


async def test_a_lock_that_is_not_to_be_had_is_unavailable(database: Database, dsn: str) -> None:
    async with database.session("lock", WORKSPACE) as holder, holder.transaction():
        await holder.execute("LOCK TABLE workspaces")
        async with opened(dsn, replace(LIMITS, lock_timeout=SHORT)) as waiting:
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                async with waiting.session("lock", WORKSPACE) as other:
                    await other.fetch("SELECT * FROM workspaces")


async def test_a_read_only_database_takes_no_edits_and_says_why(dsn: str) -> None:
    name = dsn.partition("@/")[2].partition("?")[0]
    store = PostgresStore(await open_database(dsn, LIMITS))
    workspace = await store.create_workspace("main", "Main")
    await store.close()
    await execute(dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store = PostgresStore(await open_database(dsn, LIMITS))
    try:
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.append([new_delta(workspace.id)])
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.check_writable()
        assert await store.page(workspace.id, 0, 10) == []
    finally:
        await store.close()


async def test_a_stopped_postgres_is_unavailable_and_a_restarted_one_is_used_again(data_directory: Path) -> None:
    server = EmbeddedPostgres(data_directory, settings=UNSAFE_AND_FAST)
    await server.start()
    await migrate(server.dsn)
    store = PostgresStore(await open_database(server.dsn, LIMITS))
    workspace = await store.create_workspace("main", "Main")
    await store.append([new_delta(workspace.id)])
    await server.stop()
    for attempt in (
        store.append([new_delta(workspace.id)]),
        store.load(workspace.id, ISSUE),
        store.workspace("main"),
        store.check_writable(),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    await server.start()
    assert await store.append([new_delta(workspace.id)]) == [2]
    await store.close()
    await server.stop()


async def test_no_server_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot connect to the database"):
        await open_database(f"postgresql://ana:secret@/db?host={tmp_path}", LIMITS)


async def test_a_database_that_does_not_exist_is_unavailable(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(StoreUnavailable, match='database "nowhere" does not exist'):
        await open_database(database_url(postgres, "nowhere"), LIMITS)


async def test_a_wrong_statement_is_a_defect_and_passes_through(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        async with database.session("ask nonsense", WORKSPACE) as connection:
            await connection.fetch("SELECT * FROM nonsense")


async def test_closing_does_not_wait_for_a_borrower_for_ever(dsn: str) -> None:
    database = await open_database(dsn, LIMITS)
    holds = asyncio.Event()

    async def hold() -> None:
        async with database.session("hold", WORKSPACE) as connection:
            await connection.execute("SET statement_timeout = 0")
            holds.set()
            await connection.execute("SELECT pg_sleep(60)", timeout=60)

    holder = asyncio.create_task(hold())
    await holds.wait()
    await database.close(deadline=0.1)
    with pytest.raises(StoreUnavailable):
        await holder


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DiskFullError("could not extend file: No space left on device"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError("Connection reset by peer"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_our_fault_is_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match="cannot append: ") as raised, translated("append"):
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [asyncpg.NotNullViolationError("null value"), asyncpg.UniqueViolationError("duplicate"), ValueError("?")]
)
def test_what_is_our_fault_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)), translated("append"):
        raise error


def test_details_of_the_server_are_not_told() -> None:
    error = asyncpg.DiskFullError("could not write")
    error.detail = "Failing row contains (secret)."
    with pytest.raises(StoreUnavailable) as raised, translated("append"):
        raise error
    assert "secret" not in str(raised.value)


def test_an_old_postgres_is_refused() -> None:
    class Old:
        def get_server_version(self) -> asyncpg.types.ServerVersion:
            return asyncpg.types.ServerVersion(14, 9, 0, "final", 0)

    with pytest.raises(StoreUnavailable, match=r"Postgres 14\.9 is too old: Syncline needs 15"):
        check_version(Old())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://ana:secret@host/db", "postgresql://ana:***@host/db"),
        ("postgresql://ana@host/db", "postgresql://ana@host/db"),
        ("host=h password=secret user=ana", "host=h password=*** user=ana"),
        ("password='se cret' user=ana", "password=*** user=ana"),
        ("postgresql://h/db?user=ana&password=secret&x=1", "postgresql://h/db?user=ana&password=***&x=1"),
        ("cannot reach postgres://:secret@h: down", "cannot reach postgres://:***@h: down"),
    ],
)
def test_passwords_are_not_told(text: str, told: str) -> None:
    assert redacted(text) == told
