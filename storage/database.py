"""The one door to Postgres: a bounded pool whose every wait has a deadline, and one place where what drivers and
sockets raise becomes `StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import asyncpg

from storage.errors import StoreUnavailable
from storage.isolation import DIRECTORY, MAINTENANCE, SETTING, Connection, ScopedConnection, take_role

# In quotes, because at run time the class takes no parameters; only the stubs know them.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

OLDEST_POSTGRES: Final = 15
_APPLICATION: Final = "syncline"

# SQLSTATE classes that say something of the server or the moment, never of our statement.
_TRANSIENT_CLASSES: Final = frozenset({
    "08",  # connection
    "28",  # authorization
    "40",  # rolled back: serialization, deadlock
    "53",  # out of disk, memory, connections
    "57",  # shutdown, statement deadline
    "58",  # input and output
})  # fmt: skip
_TRANSIENT_STATES: Final = frozenset({
    "25006",  # read-only transaction
    "25P03",  # idle in transaction for too long
    "25P04",  # transaction took too long
    "3D000",  # the database is not there
    "55P03",  # a lock was not to be had in time
})  # fmt: skip
_PASSWORDS: Final = (
    re.compile(r"(?<=://)([^:@/\s]*):[^@/\s]*(?=@)"),
    re.compile(r"(?i)\b(password)=(?:'[^']*'|[^\s&]*)"),
)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Bounds of the pools. Connections are counted, times are in seconds."""

    connections_max: int = 6
    directory_connections_max: int = 2  # besides those, for what concerns all workspaces
    connect_timeout: float = 5.0
    acquire_timeout: float = 5.0
    statement_timeout: float = 30.0
    lock_timeout: float = 10.0
    turn_timeout: float = 60.0  # how long a transaction may wait for us before the server gives it up


class Database:
    """Connections to a Postgres that is new enough, which show one workspace or none of any content. Made by
    `open_database`."""

    def __init__(
        self, pool: Pool, directory: Pool, limits: DatabaseLimits, connect: Callable[[], Awaitable[Connection]]
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._limits = limits
        self._connect = connect

    @asynccontextmanager
    async def session(self, doing: str, workspace_id: int) -> AsyncIterator[Connection]:
        """Borrow a connection that shows this workspace and nothing else, whatever a statement asks for. `doing` names
        the work in the message of a `StoreUnavailable`."""
        with translated(doing):
            async with self._pool.acquire(timeout=self._limits.acquire_timeout) as connection:
                # Nothing is reset when it is given back: nobody gets one without naming their workspace here.
                scoped = cast(ScopedConnection, connection)
                with _settled_later(scoped):
                    await scoped.enter(str(workspace_id))
                    yield connection

    @asynccontextmanager
    async def directory(self, doing: str) -> AsyncIterator[Connection]:
        """Borrow a connection that shows the names and counters of all workspaces, and no content."""
        with translated(doing):
            async with self._directory.acquire(timeout=self._limits.acquire_timeout) as connection:
                with _settled_later(cast(ScopedConnection, connection)):
                    yield connection

    def kept(self, doing: str, statement: str) -> KeptStatement:
        """One statement on a connection of its own, which is not counted and shows what `directory` does."""
        return KeptStatement(doing, statement, self._connect)

    async def close(self, deadline: float = 5.0) -> None:
        """Close what is idle, wait for what is borrowed, and cut the rest after `deadline` seconds."""
        try:
            async with asyncio.timeout(deadline):
                await asyncio.gather(self._pool.close(), self._directory.close())
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.terminate()

    def terminate(self) -> None:
        """Cut every connection now."""
        self._pool.terminate()
        self._directory.terminate()


class KeptStatement:
    """A statement that is run all the time: prepared once, on a connection of its own beside the pool. Spares an append
    a third of its processor time. Runs queue up; one that fails costs the connection, the next one makes another."""

    def __init__(self, doing: str, statement: str, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._doing = doing
        self._statement = statement
        self._connect = connect
        self._running = asyncio.Lock()
        self._connection: Connection | None = None
        self._prepared: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record] | None = None

    async def fetch(self, *arguments: object) -> list[asyncpg.Record]:
        """Run it. Raises `StoreUnavailable` as a `session` does."""
        async with self._running:
            with translated(self._doing):
                try:
                    prepared = self._prepared or await self._prepare()
                    return await prepared.fetch(*arguments)
                except asyncpg.IntegrityConstraintViolationError:
                    raise
                except BaseException:
                    self.drop()
                    raise

    def drop(self) -> None:
        """Cut the connection; what runs on it has an unknown end."""
        connection, self._connection, self._prepared = self._connection, None, None
        if connection is not None:
            connection.terminate()

    async def _prepare(self) -> asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]:
        self._connection = await self._connect()
        self._prepared = await self._connection.prepare(self._statement)
        return self._prepared


async def open_database(dsn: str, limits: DatabaseLimits) -> Database:
    """Connect as the role that serves, and check the version. Raises `StoreUnavailable` when there is no answer or
    Postgres is too old, `IsolationError` when workspaces could not be kept apart."""
    # The server's own deadline comes first, so that it is the server that says what happened.
    command_timeout = limits.statement_timeout + 1
    directory_settings = {**_session_settings(limits), SETTING: DIRECTORY}

    async def connect_once() -> Connection:
        connection = await asyncpg.connect(
            dsn,
            timeout=limits.connect_timeout,
            command_timeout=command_timeout,
            # Planned once: planning an append each time takes longer than carrying it out.
            server_settings={**directory_settings, "plan_cache_mode": "force_generic_plan"},
        )
        await take_role(connection)
        return connection

    async def pool(connections_max: int, settings: dict[str, str]) -> Pool:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=connections_max,
            timeout=limits.connect_timeout,
            command_timeout=command_timeout,
            server_settings=settings,
            connection_class=ScopedConnection,
            init=_admit,
            reset=_settle,
        )

    with translated("connect to the database"):
        directory = await pool(limits.directory_connections_max, directory_settings)
        try:
            content = await pool(limits.connections_max, _session_settings(limits))
        except BaseException:
            directory.terminate()
            raise
    return Database(content, directory, limits, connect_once)


async def connect(
    dsn: str, scope: str = MAINTENANCE, *, connect_timeout: float = 5.0
) -> asyncpg.Connection[asyncpg.Record]:
    """One connection outside the pools and without statement deadlines. In the scope `MAINTENANCE` it stays who the DSN
    says, in every other it serves. Raises `StoreUnavailable` and `IsolationError`."""
    with translated("connect to the database"):
        connection = await asyncpg.connect(
            dsn,
            timeout=connect_timeout,
            server_settings={"application_name": f"{_APPLICATION} {scope}", SETTING: scope},
        )
        try:
            check_version(connection)
            if scope != MAINTENANCE:
                await take_role(connection)
        except BaseException:
            connection.terminate()
            raise
    return connection


async def set_workspace(connection: Connection, workspace_id: int) -> None:
    """Show this workspace on a connection made by `connect`, and nothing else."""
    await connection.execute(f"SELECT set_config('{SETTING}', $1, false)", str(workspace_id))


async def _admit(connection: Connection) -> None:
    check_version(connection)
    await take_role(connection)


def check_version(connection: Connection) -> None:
    """Raises `StoreUnavailable` for a Postgres older than `OLDEST_POSTGRES`."""
    version = connection.get_server_version()
    if version.major < OLDEST_POSTGRES:
        raise StoreUnavailable(
            f"Postgres {version.major}.{version.minor} is too old: Syncline needs {OLDEST_POSTGRES} or newer"
        )


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise `StoreUnavailable` for whatever says that the database cannot be reached or does not take the work now.

    Errors of the statement itself (a bug, or a constraint the caller asks about) pass through.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        if not _is_transient(error):
            raise
        raise StoreUnavailable(f"cannot {doing}: {_told(error)}") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # A ValueError among them is a wrong argument or DSN; the rest is a connection that went away under us.
        if isinstance(error, ValueError):
            raise
        raise StoreUnavailable(f"cannot {doing}: {_told(error)}") from error
    except TimeoutError as error:  # an OSError too, and it has no words of its own
        raise StoreUnavailable(f"cannot {doing}: no answer in time") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot {doing}: {_told(error)}") from error


def redacted(text: str) -> str:
    """A DSN, or a message that may hold one, without its password."""
    url, keyword = _PASSWORDS
    return keyword.sub(r"\1=***", url.sub(r"\1:***", text))


def _is_transient(error: asyncpg.PostgresError) -> bool:
    state = error.sqlstate or ""
    return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES


def _told(error: Exception) -> str:
    # Only the first line: DETAIL may quote a row, and rows are documents' content.
    words = str(error.args[0]) if isinstance(error, asyncpg.PostgresError) and error.args else str(error)
    return redacted(words.partition("\n")[0]) or type(error).__name__


def _session_settings(limits: DatabaseLimits) -> dict[str, str]:
    return {
        "application_name": _APPLICATION,
        # Whatever the server's or the role's default is: what we call committed is on disk.
        "synchronous_commit": "on",
        "statement_timeout": _milliseconds(limits.statement_timeout),
        "lock_timeout": _milliseconds(limits.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(limits.turn_timeout),
        "timezone": "UTC",
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


@contextmanager
def _settled_later(connection: ScopedConnection) -> Iterator[None]:
    """Whoever does not come to the end leaves something to `_settle`, which runs when it is given back."""
    leave = connection.leave  # of the connection itself: what is borrowed may have been taken away by then
    try:
        yield
    except BaseException:
        leave()
        raise


async def _settle(connection: Connection) -> None:
    """Sessions keep no state between loans, and the usual reset would double the round trips of an append.

    asyncpg still rolls back a transaction that was left open.
    """
    await cast(ScopedConnection, connection).settle()
