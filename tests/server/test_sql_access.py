"""`syncline sql-access`: who is granted a workspace connects to Postgres, reads it, and can do nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
import structlog

from storage.analysts import AnalystError
from storage.embedded import EmbeddedPostgres
from storage.postgres import PostgresStore
from tests.server.test_commands import Desk
from tests.storage.authors import Author
from tests.storage.compacting import project

Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

WORKSPACES = ("main", "other", "third")
LOGIN = "ana_reads"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def desk(dsn: str) -> Iterator[Desk]:
    """Three workspaces with an issue each; roles, which all databases share, are gone in the end."""
    desk = Desk(dsn)

    async def fill(store: PostgresStore) -> None:
        for slug in WORKSPACES:
            workspace = await store.create_workspace(slug, slug)
            await store.append([Author(workspace.id, UUID(int=workspace.id), client_id=1).types("text")])
        await project(store)

    desk.do(fill)
    yield desk
    for slug in WORKSPACES:
        desk("sql-access", "revoke", LOGIN, "--workspace", slug)


def granted(desk: Desk, *slugs: str) -> str:
    """What the first grant printed as the address to connect to."""
    outputs = [desk("sql-access", "grant", LOGIN, "--workspace", slug).stdout for slug in slugs]
    assert all("password" not in output for output in outputs[1:]), "shown once"
    assert outputs[0].startswith(f"{LOGIN} reads {slugs[0]}\npassword  ")
    return outputs[0].split("'")[1]


@asynccontextmanager
async def as_analyst(address: str) -> AsyncIterator[Raw]:
    connection = await asyncpg.connect(address)
    try:
        assert await connection.fetchval("SELECT current_user") == LOGIN
        yield connection
    finally:
        await connection.close()


async def read(address: str) -> list[str]:
    """Slugs of the workspaces that are seen, if their issues are too."""
    async with as_analyst(address) as analyst:
        slugs = [row["slug"] for row in await analyst.fetch("SELECT slug FROM workspaces ORDER BY slug")]
        issues = await analyst.fetch(
            "SELECT slug FROM issues JOIN workspaces AS w ON w.id = workspace_id ORDER BY slug"
        )
        assert [row["slug"] for row in issues] == slugs
        return slugs


def test_a_login_sees_exactly_the_workspaces_it_was_granted_until_they_are_revoked(desk: Desk) -> None:
    address = granted(desk, "main", "other")
    assert asyncio.run(read(address)) == ["main", "other"]
    listed = [json.loads(line) for line in desk("sql-access", "list", "--json").stdout.splitlines()]
    assert [(row["login"], row["workspace"]) for row in listed] == [(LOGIN, "main"), (LOGIN, "other")]

    async def lose_one_while_connected() -> list[str]:
        async with as_analyst(address) as analyst:
            result = await asyncio.to_thread(desk, "sql-access", "revoke", LOGIN)
            assert result.stdout == f"{LOGIN} does not read main any more\n"
            return [row["slug"] for row in await analyst.fetch("SELECT slug FROM workspaces")]

    assert asyncio.run(lose_one_while_connected()) == ["other"]
    desk("sql-access", "revoke", LOGIN, "--workspace", "other")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="does not exist"):
        asyncio.run(read(address))
    assert desk("sql-access", "list").stdout == "nobody reads with SQL\n"
    again = desk("sql-access", "revoke", LOGIN)
    assert (again.exit_code, again.stderr) == (1, f"{LOGIN} does not read main\n")


def test_a_login_has_as_many_connections_as_the_setting_says_at_its_last_grant(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = granted(desk, "main")

    async def connect(count: int) -> None:
        async with AsyncExitStack() as held:
            for _ in range(count):
                await held.enter_async_context(as_analyst(address))

    asyncio.run(connect(5))
    monkeypatch.setenv("SYNCLINE_ANALYST_CONNECTIONS", "2")
    desk("sql-access", "grant", LOGIN, "--workspace", "other")
    asyncio.run(connect(2))
    with pytest.raises(asyncpg.TooManyConnectionsError):
        asyncio.run(connect(3))


def test_it_reads_published_tables_only_and_whatever_it_sets_or_becomes_shows_no_more(desk: Desk) -> None:
    address = granted(desk, "main")

    async def look_around() -> None:
        async with as_analyst(address) as analyst:
            for scope in ("2", "directory", "maintenance"):
                await analyst.execute("SELECT set_config('syncline.workspace', $1, false)", scope)
                assert [row["slug"] for row in await analyst.fetch("SELECT slug FROM workspaces")] == ["main"]
            await analyst.execute("SET ROLE syncline_analyst")
            assert await analyst.fetch("SELECT slug FROM workspaces") == []
            await analyst.execute("RESET ROLE; SET default_transaction_read_only = off")
            for forbidden in (
                "SELECT * FROM deltas",
                "SELECT * FROM tokens",
                "DELETE FROM issues",
                "DELETE FROM audit_log",
                "INSERT INTO sql_access VALUES (2, current_user)",
                "SET ROLE syncline_server",
                "CREATE TABLE mine ()",
                "SELECT syncline_undecided_workspaces()",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await analyst.execute(forbidden)

    asyncio.run(look_around())


def test_it_reads_who_did_what_in_exactly_its_workspaces(desk: Desk) -> None:
    granted(desk, "third")
    desk("sql-access", "revoke", LOGIN, "--workspace", "third")  # two rows of a workspace that is not its own any more
    address = granted(desk, "main", "other")

    async def rows() -> list[tuple[str, str, str]]:
        async with as_analyst(address) as analyst:
            found = await analyst.fetch(
                "SELECT slug, action, detail ->> 'login' AS login FROM audit_log"
                " JOIN workspaces AS w ON w.id = workspace_id ORDER BY slug"
            )
            assert await analyst.fetchval("SELECT count(*) FROM audit_log") == len(found)
            return [(row["slug"], row["action"], row["login"]) for row in found]

    assert asyncio.run(rows()) == [(slug, "grantSqlAccess", LOGIN) for slug in ("main", "other")]


def test_the_password_is_asked_for_and_another_one_ends_it(desk: Desk, postgres: EmbeddedPostgres) -> None:
    first = granted(desk, "main")
    with DemandingPasswords(postgres, desk.dsn):
        asyncio.run(until_refused(wrong(first)))
        assert asyncio.run(read(first)) == ["main"]
        second = desk("sql-access", "grant", LOGIN, "--new-password").stdout.split("'")[1]
        assert asyncio.run(read(second)) == ["main"]
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(read(first))


def test_a_name_that_is_taken_or_no_name_is_refused(desk: Desk) -> None:
    for name, reason in (
        ("syncline_server", "cannot be the name"),
        ("syncline_analyst", "cannot be the name"),
        ("syncline", "for something else"),
        ("pg_read_all_data", "cannot be the name"),
        ('ana"; DROP TABLE issues; --', "cannot be the name"),
        ("Ana", "cannot be the name"),
        ("public", "cannot be the name"),
    ):
        result = desk("sql-access", "grant", name)
        assert isinstance(result.exception, AnalystError)
        assert reason in str(result.exception)


def wrong(address: str) -> str:
    split = urlsplit(address)
    return split._replace(netloc=f"{LOGIN}:wrong@{split.netloc.rpartition('@')[2]}").geturl()


class DemandingPasswords:
    """The embedded Postgres lets everybody in who may open its socket; here it asks this login for its password."""

    def __init__(self, postgres: EmbeddedPostgres, dsn: str) -> None:
        self._file = postgres.cluster / "pg_hba.conf"
        self._reload: Callable[[], Any] = lambda: Desk(dsn).execute("SELECT pg_reload_conf()")

    def __enter__(self) -> None:
        self._before = self._file.read_text()
        self._file.write_text(f"local all {LOGIN} scram-sha-256\n{self._before}")
        self._reload()

    def __exit__(self, *_: object) -> None:
        self._file.write_text(self._before)
        self._reload()


async def until_refused(address: str) -> None:
    """The reload is done at some moment."""
    async with asyncio.timeout(5):
        while True:
            try:
                await (await asyncpg.connect(address)).close()
            except asyncpg.InvalidPasswordError:
                return
