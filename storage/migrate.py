"""Brings a database to the shape this code needs: numbered SQL files, each applied once, in order, in a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.database import connect, translated
from storage.errors import StoreError
from storage.isolation import CREATE_ROLES, EQUIP_ROLES, Connection
from storage.tables import issue_words

DIRECTORY: Final = Path(__file__).parent / "migrations"

# Any constant of our own will do; it keeps two nodes that start together from migrating at once.
_LOCK: Final = 0x53796E636C696E65
_LOCK_TIMEOUT: Final = "60s"

_CREATE_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    number     int PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


class MigrationError(StoreError):
    """The database's history and this code's migrations do not fit together."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text, in hexadecimal."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """The files `NNNN_name.sql` of a directory, in order. Raises `MigrationError` unless they count up from 1."""
    found = [
        Migration(int(number), name, path.read_text(encoding="utf-8"))
        for path in sorted(directory.glob("[0-9]*.sql"))
        for number, _, name in [path.stem.partition("_")]
    ]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"migrations in {directory} are not numbered 1, 2, 3 …")
    return found


async def migrate(dsn: str, directory: Path = DIRECTORY) -> list[str]:
    """Apply what is missing and return the names of it. Safe to run from several nodes at once.

    Raises `MigrationError` when an applied migration was changed or is unknown here, `StoreUnavailable` when the
    database is away, too old, or another node migrates for longer than a minute.
    """
    wanted = migrations(directory)
    applied: list[str] = []
    connection = await connect(dsn)
    try:
        with translated("migrate the database"):
            await _locked(connection, CREATE_ROLES)
            while (name := await _apply_next(connection, wanted)) is not None:
                applied.append(name)
            await _enable_trigrams(connection)
            await _locked(connection, EQUIP_ROLES)
    finally:
        connection.terminate() if connection.is_in_transaction() else await connection.close()
    return applied


async def _locked(connection: Connection, statement: str) -> None:
    async with _lock(connection):
        await connection.execute(statement)


@asynccontextmanager
async def _lock(connection: Connection) -> AsyncIterator[None]:
    """A transaction that no other node migrates beside."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        yield


async def _apply_next(connection: Connection, wanted: list[Migration]) -> str | None:
    """Apply one migration under the lock; None when none is missing."""
    async with _lock(connection):
        await connection.execute(_CREATE_HISTORY)
        missing = wanted[await _applied_count(connection, wanted) :]
        if not missing:
            return None
        migration = missing[0]
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.checksum,
        )
        return migration.name


async def _enable_trigrams(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(issue_words.ENABLE_TRIGRAMS)


async def _applied_count(connection: Connection, wanted: list[Migration]) -> int:
    history = await connection.fetch("SELECT number, name, checksum FROM migrations ORDER BY number")
    if len(history) > len(wanted):
        raise MigrationError(
            f"the database was migrated by a newer Syncline ({history[-1]['name']}); run that one, or restore a backup"
        )
    for row, migration in zip(history, wanted, strict=False):
        if (row["number"], row["checksum"]) != (migration.number, migration.checksum):
            raise MigrationError(
                f"migration {migration.number:04} was changed after it was applied ({row['name']}): "
                "put the file back and add a new migration instead"
            )
    return len(history)
