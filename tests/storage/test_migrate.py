"""Migrations: once, in order, whoever starts together, and never silently changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from storage.embedded import EmbeddedPostgres
from storage.errors import StoreUnavailable
from storage.migrate import DIRECTORY, MigrationError, migrate, migrations
from tests.conftest import database_url, execute


@pytest.fixture
async def empty_dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    admin = database_url(postgres, "postgres")
    await execute(admin, "CREATE DATABASE unmigrated")
    yield database_url(postgres, "unmigrated")
    await execute(admin, "DROP DATABASE unmigrated WITH (FORCE)")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (a int);")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (a int); INSERT INTO second VALUES (1);")
    return tmp_path


async def tables(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows}


async def test_the_files_of_this_code_are_applied_in_order_and_once(empty_dsn: str) -> None:
    names = [migration.name for migration in migrations()]
    assert await migrate(empty_dsn) == names
    assert await migrate(empty_dsn) == []
    assert {"workspaces", "deltas", "snapshots", "documents", "issues", "comments", "users"} <= await tables(empty_dsn)


async def test_every_key_leads_with_the_workspace(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        """SELECT c.relname, a.attname FROM pg_index i
           JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indisprimary AND n.nspname = 'public'"""
    )
    await connection.close()
    leading = {row["relname"]: row["attname"] for row in rows}
    for server_wide in ("workspaces", "migrations", "probes", "nodes", "isolated_tables"):
        del leading[server_wide]
    assert set(leading.values()) == {"workspace_id"}, leading


async def test_nodes_that_start_together_migrate_once(empty_dsn: str, directory: Path) -> None:
    applied = await asyncio.gather(*(migrate(empty_dsn, directory) for _ in range(4)))
    assert sorted(name for names in applied for name in names) == ["first", "second"]


async def test_a_failing_migration_leaves_nothing_of_itself(empty_dsn: str, directory: Path) -> None:
    (directory / "0002_second.sql").write_text("CREATE TABLE second (a int); SELECT 1/0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_dsn, directory)
    assert await tables(empty_dsn) == {"migrations", "first"}


async def test_a_later_file_is_applied_to_what_is_there(empty_dsn: str, directory: Path) -> None:
    await migrate(empty_dsn, directory)
    (directory / "0003_third.sql").write_text("DROP TABLE first;")
    assert await migrate(empty_dsn, directory) == ["third"]


async def test_a_changed_file_is_refused(empty_dsn: str, directory: Path) -> None:
    await migrate(empty_dsn, directory)
    (directory / "0001_first.sql").write_text("CREATE TABLE first (b int);")
    with pytest.raises(MigrationError, match="0001 was changed"):
        await migrate(empty_dsn, directory)


async def test_a_database_of_a_newer_syncline_is_refused(empty_dsn: str, directory: Path) -> None:
    await migrate(empty_dsn, directory)
    (directory / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match=r"newer Syncline \(second\)"):
        await migrate(empty_dsn, directory)


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await migrate("postgresql://nobody@/nothing?host=/nonexistent")


def test_files_must_count_up_from_one(directory: Path) -> None:
    (directory / "0002_second.sql").rename(directory / "0003_second.sql")
    with pytest.raises(MigrationError, match="not numbered"):
        migrations(directory)


def test_the_files_lie_beside_the_code() -> None:
    assert [migration.number for migration in migrations(DIRECTORY)][:2] == [1, 2]
