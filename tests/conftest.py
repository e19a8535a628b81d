"""A Postgres for the tests that want one: one server a test session (or xdist worker), one fresh database a test."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import settings

from storage.database import DatabaseLimits, open_database
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from storage.postgres import PostgresStore

pytest_plugins = ["tests.tiers"]

# A crash of the machine does not interest the tests; a crash of Postgres loses nothing with these either.
UNSAFE_AND_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",  # every DROP DATABASE looks through all of it
    "autovacuum": "off",  # no database lives long enough to want it
}

# What passed passes again; whoever looks for new inputs says `--hypothesis-profile explore`.
settings.register_profile("explore", print_blob=True)
settings.register_profile("repeat", derandomize=True, print_blob=True)
settings.load_profile("repeat")

# Cloning a database is ten times faster there than on a disk. Containers often have only 64 MB of it.
MEMORY = Path("/dev/shm")


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: the collector, which would look through all of them each time, need not. Nor
    need it come as often as where memory is short."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running server whose database `syncline` is migrated and stays empty: the template of every test's own."""
    with directory_of_its_own() as directory:
        server = EmbeddedPostgres(directory, settings=UNSAFE_AND_FAST)
        try:
            run(server.start())
            run(migrate(server.dsn))
            yield server
        finally:
            run(server.stop())


@pytest.fixture
def data_directory() -> Iterator[Path]:
    """Empty, for a test that starts a server or a Postgres of its own."""
    with directory_of_its_own() as directory:
        yield directory


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{number}" for number in count())


@pytest.fixture
async def dsn(postgres: EmbeddedPostgres, database_names: Iterator[str]) -> AsyncIterator[str]:
    """A migrated, empty database of the test's own."""
    async with fresh_database(postgres, next(database_names)) as url:
        yield url


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with opened(dsn) as store:
        yield store


@asynccontextmanager
async def fresh_database(postgres: EmbeddedPostgres, name: str) -> AsyncIterator[str]:
    """The address of a migrated, empty database that is there as long as the context is."""
    connection = await asyncpg.connect(database_url(postgres, "postgres"))
    # The default strategy writes every page to the WAL.
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE syncline STRATEGY file_copy")
    yield database_url(postgres, name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresStore]:
    """The store in a database."""
    store = PostgresStore(await open_database(dsn, DatabaseLimits(connections_max=4)))
    yield store
    await store.close()


@contextmanager
def directory_of_its_own() -> Iterator[Path]:
    # Not pytest's `tmp_path`: run as root, Postgres is another account that must walk there, and pytest, at the start
    # of every session, closes the directories of all.
    directory = Path(tempfile.mkdtemp(prefix="syncline-", dir=MEMORY if is_roomy(MEMORY) else None))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def without_collector() -> Iterator[None]:
    """No collector of cycles inside: what is let go of is gone at once, or was in one."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def is_roomy(directory: Path) -> bool:
    return directory.is_dir() and shutil.disk_usage(directory).free > 2**30


def database_url(server: EmbeddedPostgres, name: str) -> str:
    return urlsplit(server.dsn)._replace(path=f"/{name}").geturl()


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def run(work: Coroutine[Any, Any, Any]) -> None:
    """Outside the tests' loops, and without touching which one is current."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(work)
