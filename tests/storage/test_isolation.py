"""Workspaces are kept apart by the database itself: every table of the catalogue is tried, in every scope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import pytest

from storage.database import Database, DatabaseLimits, connect, open_database
from storage.embedded import EmbeddedPostgres
from storage.isolation import DIRECTORY, SERVER, IsolationError, ScopedConnection
from storage.migrate import migrate
from storage.postgres import PostgresStore
from tests.conftest import database_url, execute
from tests.storage.rows import new_delta

# Tables without a policy, and why that is right. Think before you add one: `SELECT syncline_isolate(…)` is the rule.
HOLD_NO_TENANTS_DATA: Final = {
    "migrations": "the history of the schema",
    "isolated_tables": "names of tables",
    "nodes": "ids of server processes and when they were last alive",
    "probes": "one row of one time, written by the readiness check",
}
MINE, OTHER = 1, 2
SAMPLES: Final = {
    "bigint": "7",
    "integer": "7",
    "smallint": "7",
    "boolean": "false",
    "double precision": "0",
    "bytea": "''",
    "jsonb": "'{}'",
    "uuid": "gen_random_uuid()",
    "timestamp with time zone": "now()",
    "interval": "'1 s'",
    "inet": "'127.0.0.1'",
}
TABLES: Final = """
SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"""

Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Raw]:
    """Who may do anything, in a database with one row of each of two workspaces in every isolated table."""
    connection = await asyncpg.connect(dsn)
    await relax(connection)
    for table in await isolated(connection):
        for workspace in (MINE, OTHER):
            await connection.execute(await sample(connection, table, workspace))
    yield connection
    await connection.close()


@pytest.fixture
async def server(owner: Raw, dsn: str) -> AsyncIterator[Raw]:
    """A connection as the server has it, set to nothing yet."""
    connection = await connect(dsn, "")
    yield connection
    await connection.close()


async def relax(connection: Raw) -> None:
    """Policies are what is tried, so nothing else may keep a sample out."""
    for table, name in await connection.fetch(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype IN ('c', 'f') AND conrelid <> 0"
    ):
        await connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT IF EXISTS "{name}"')


async def isolated(connection: Raw) -> list[str]:
    return sorted({row["relname"] for row in await connection.fetch(TABLES)} - set(HOLD_NO_TENANTS_DATA))


async def of_kind(connection: Raw, kind: str) -> set[str]:
    return {row["name"] for row in await connection.fetch("SELECT name FROM isolated_tables WHERE kind = $1", kind)}


def key(table: str) -> str:
    return "id" if table == "workspaces" else "workspace_id"


async def sample(connection: Raw, table: str, workspace: int) -> str:
    """An INSERT of some row of that workspace."""
    columns = await connection.fetch(
        """SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute
           WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
           AND (attnotnull OR attname = $2)""",
        table,
        key(table),
    )
    values = {
        name: str(workspace) if name == key(table) else SAMPLES.get(kind, "'{}'" if "[]" in kind else f"'{workspace}'")
        for name, kind in columns
    }
    names = ", ".join(f'"{name}"' for name in values)
    return f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(values.values())})"


async def seen(connection: Raw, scope: str) -> dict[str, list[int]]:
    """Table → whose rows a scope shows; tables that show none are left out."""
    await connection.execute("SELECT set_config('syncline.workspace', $1, false)", scope)
    found = {}
    for table in await isolated(connection):
        rows = await connection.fetch(f"SELECT DISTINCT {key(table)} FROM {table} ORDER BY 1")
        if rows:
            found[table] = [row[0] for row in rows]
    return found


async def unguarded(connection: Raw) -> set[str]:
    rows = await connection.fetch(f"{TABLES} AND NOT (relrowsecurity AND relforcerowsecurity)")
    return {row["relname"] for row in rows}


async def test_every_table_is_isolated_or_listed_with_a_reason(owner: Raw) -> None:
    assert await unguarded(owner) == set(HOLD_NO_TENANTS_DATA)
    await owner.execute("CREATE TABLE forgotten (workspace_id bigint)")
    assert await unguarded(owner) == {*HOLD_NO_TENANTS_DATA, "forgotten"}, "this test would miss a table"


async def test_an_isolated_table_has_exactly_the_policies_it_should(owner: Raw) -> None:
    named = await owner.fetch("SELECT name, kind, is_published FROM isolated_tables")
    assert {row["name"] for row in named} == set(await isolated(owner)), "isolate tables with syncline_isolate"
    for name, kind, is_published in named:
        rows = await owner.fetch("SELECT policyname FROM pg_policies WHERE tablename = $1", name)
        expected = {"workspace", "maintenance"}
        expected |= {"appending"} if kind == "appended" else set()
        expected |= {"analysts"} if is_published else set()
        expected |= {"own"} if name == "sql_access" else set()
        assert {row["policyname"] for row in rows} == expected, name


@pytest.mark.parametrize(
    "scope", ["", "3", "0", "-1", "*", "1 OR true", "1,2", "１", "99999999999999999999", "maintenance"]
)
async def test_a_missing_or_wrong_setting_shows_no_row_of_any_table(server: Raw, scope: str) -> None:
    assert await seen(server, scope) == {}


async def test_a_connection_that_was_never_set_sees_nothing(owner: Raw, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"SET ROLE {SERVER}")
    for table in await isolated(owner):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    await connection.close()


async def test_a_workspace_sees_its_own_rows_of_every_table(server: Raw, owner: Raw) -> None:
    assert await seen(server, str(MINE)) == {table: [MINE] for table in await isolated(owner)}


async def test_the_directory_shows_no_content(server: Raw, owner: Raw) -> None:
    found = await seen(server, DIRECTORY)
    assert found == {table: [MINE, OTHER] for table in await of_kind(owner, "directory")}
    assert not {"deltas", "snapshots", "issues", "comments"} & set(found)


async def test_no_row_of_another_workspace_can_be_written_changed_or_deleted(server: Raw, owner: Raw) -> None:
    await server.execute("SELECT set_config('syncline.workspace', $1, false)", str(MINE))
    for table in await isolated(owner):
        for forbidden in (await sample(owner, table, 3), f"UPDATE {table} SET {key(table)} = {OTHER}"):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.GeneratedAlwaysError)):
                await server.execute(forbidden)
        assert await server.execute(f"DELETE FROM {table} WHERE {key(table)} = {OTHER}") == "DELETE 0"
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 2


async def test_the_directory_writes_no_content_but_appends(server: Raw, owner: Raw) -> None:
    await server.execute("SELECT set_config('syncline.workspace', $1, false)", DIRECTORY)
    appended = await of_kind(owner, "appended")
    for table in appended:
        await server.execute(await sample(owner, table, 3))
        assert await server.execute(f"DELETE FROM {table}") == "DELETE 0"
    for table in await of_kind(owner, "content"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await server.execute(await sample(owner, table, 3))
    assert "deltas" in appended


async def test_the_server_owns_nothing_and_bypasses_nothing(server: Raw) -> None:
    me = await server.fetchrow("SELECT * FROM pg_roles WHERE rolname = current_user")
    assert me is not None
    assert me["rolname"] == SERVER
    assert not any(
        me[power] for power in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
    )
    assert await server.fetchval("SELECT count(*) FROM pg_class WHERE pg_has_role(relowner, 'USAGE')") == 0
    for forbidden in (
        "ALTER TABLE issues DISABLE ROW LEVEL SECURITY",
        "SELECT syncline_isolate('issues', 'directory')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await server.execute(forbidden)


async def test_in_the_embedded_postgres_the_server_can_become_nobody_else(postgres: EmbeddedPostgres) -> None:
    connection = await connect(postgres.serving_dsn, DIRECTORY)
    for wanted in ("NONE", "syncline", "syncline_analyst"):
        if wanted != "NONE":
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SET ROLE {wanted}")
        else:
            await connection.execute("SET ROLE NONE")
        assert await connection.fetchval("SELECT current_user") == SERVER
    await connection.close()


class CountingConnection(ScopedConnection):
    statements = 0

    async def execute(self, *arguments: Any, **options: Any) -> str:
        self.statements += 1
        return await super().execute(*arguments, **options)


class TestSessions:
    @pytest.fixture
    async def database(self, dsn: str) -> AsyncIterator[Database]:
        """One connection, so that every session gets the one before's."""
        database = await open_database(dsn, DatabaseLimits(connections_max=1))
        yield database
        await database.close()

    async def test_a_borrowed_connection_shows_its_own_workspace_whoever_had_it_before(
        self, database: Database, store: PostgresStore
    ) -> None:
        ids = [(await store.create_workspace(slug, slug)).id for slug in ("main", "other")]
        await store.append([new_delta(workspace) for workspace in ids])
        for mine in [*ids, *ids]:
            async with database.session("look", mine) as connection:
                assert [row[0] for row in await connection.fetch("SELECT workspace_id FROM deltas")] == [mine]
            with pytest.raises(ZeroDivisionError):
                await self.fail_within_a_transaction(database, mine)
        async with database.directory("count") as connection:
            assert await connection.fetchval("SELECT count(*) FROM deltas") == 0

    async def fail_within_a_transaction(self, database: Database, workspace: int) -> None:
        async with database.session("fail", workspace) as connection:
            await connection.execute("BEGIN")
            await connection.execute("SELECT set_config('syncline.workspace', '0', true)")
            raise ZeroDivisionError

    async def test_only_another_workspace_than_before_costs_a_round_trip(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn, connection_class=CountingConnection)
        for scope, statements in (("1", 1), ("1", 1), ("2", 2), ("2", 2), ("1", 3)):
            await connection.enter(scope)
            assert connection.statements == statements
            assert await connection.fetchval("SELECT current_setting('syncline.workspace')") == scope
        await connection.close()

    async def test_the_append_of_many_workspaces_is_one_statement_that_reads_nothing(
        self, store: PostgresStore, dsn: str
    ) -> None:
        ids = [(await store.create_workspace(f"w{number}", "")).id for number in range(20)]
        assert await store.append([new_delta(workspace) for workspace in ids]) == [1] * len(ids)
        assert [len(await store.page(workspace, 0, 10)) for workspace in ids] == [1] * len(ids)


class TestGivenPostgres:
    """What a `--database-url` may name, besides a superuser."""

    @asynccontextmanager
    async def owned_by(self, postgres: EmbeddedPostgres, role: str, powers: str) -> AsyncIterator[str]:
        admin = database_url(postgres, "postgres")
        await execute(admin, f"CREATE ROLE {role} LOGIN {powers}")
        await execute(admin, f"CREATE DATABASE {role} OWNER {role}")
        try:
            split = urlsplit(database_url(postgres, role))
            yield split._replace(netloc=split.netloc.replace("syncline@", f"{role}@")).geturl()
        finally:
            await execute(admin, f"DROP DATABASE {role} WITH (FORCE)")
            await execute(admin, f"DROP ROLE {role}")

    async def test_an_owner_who_may_not_create_roles_serves_itself_and_is_held_by_the_same_policies(
        self, postgres: EmbeddedPostgres
    ) -> None:
        async with self.owned_by(postgres, "plain", "") as dsn:
            await migrate(dsn)
            store = PostgresStore(await open_database(dsn, DatabaseLimits()))
            mine, other = [(await store.create_workspace(slug, slug)).id for slug in ("main", "other")]
            assert await store.append([new_delta(mine), new_delta(other)]) == [1, 1]
            assert len(await store.page(mine, 0, 10)) == 1
            assert await store.ledger.unsettled(10, datetime.now(UTC)) == []
            await store.close()
            connection = await connect(dsn, DIRECTORY)
            assert await connection.fetchval("SELECT current_user") == "plain"
            assert await seen(connection, str(mine)) == {"workspaces": [mine], "cursors": [mine], "deltas": [mine]}
            assert await seen(connection, "") == {}
            assert (await seen(connection, "maintenance"))["deltas"] == [mine, other]
            await connection.close()

    async def test_who_bypasses_policies_and_may_not_serve_as_another_is_refused_with_what_to_run(
        self, postgres: EmbeddedPostgres
    ) -> None:
        async with self.owned_by(postgres, "mighty", "BYPASSRLS") as dsn:
            await migrate(dsn)
            with pytest.raises(IsolationError, match=f"GRANT {SERVER}.* TO <the user of the database URL>"):
                await open_database(dsn, DatabaseLimits())
            await execute(database_url(postgres, "postgres"), f"GRANT {SERVER} TO mighty")
            await (await open_database(dsn, DatabaseLimits())).close()
