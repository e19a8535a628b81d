"""The database goes away, hangs or turns read-only under load: people are told to come back and nothing is lost."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from storage.embedded import EmbeddedPostgres
from tests.faults.evidence import assert_nothing_lost, assert_shown_is_committed, read_log, what_was_shown
from tests.faults.proxy import Detour, detour
from tests.faults.typing_crew import Crew, crew
from tests.js.browser import Tab
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

COME_BACK: Final = (1012, 1013)
IMPATIENT: Final = ("--commit-timeout-seconds", "1", "--stuck-after-seconds", "0.5", "--load-timeout-seconds", "2")


@dataclass(frozen=True, slots=True)
class House:
    """A server, the Postgres it was told to use, and the detour between them. It outlives what the tests do to it."""

    server: ServerProcess
    postgres: EmbeddedPostgres
    way: Detour

    async def ready(self) -> bool:
        return await self.server.status("/readyz") == 200

    async def not_ready(self) -> bool:
        return await self.server.status("/readyz") == 503

    async def postgres_gone(self) -> bool:
        return not self.postgres.is_running

    async def assert_shown_is_committed(self, typing: Crew) -> None:
        shown = await what_was_shown(typing.all_tabs)
        database = await asyncpg.connect(self.postgres.dsn)  # not by the detour
        try:
            assert_shown_is_committed(shown, await read_log(database, typing.issue))
        finally:
            await database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with own_postgres() as postgres, detour(socket_of(postgres)) as way:
        url = f"postgresql://syncline@127.0.0.1:{way.port}/syncline"
        async with forking(*IMPATIENT, database_url=url) as server:
            yield House(server, postgres, way)


@pytest_asyncio.fixture(loop_scope="module")
async def typing(house: House) -> AsyncIterator[Crew]:
    await eventually(house.ready, "readiness after the test before")
    async with crew(house.server) as typists:
        await typists.start_typing(seed=1)
        await typists.type_more(100)
        yield typists
    house.way.refuse(refusing=False)
    house.way.delay(0)
    house.way.flow()


@asynccontextmanager
async def own_postgres() -> AsyncIterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="syncline-postgres-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        await postgres.start()
        try:
            yield postgres
        finally:
            await postgres.stop()


def socket_of(postgres: EmbeddedPostgres) -> Path:
    (directory,) = parse_qs(urlsplit(postgres.dsn).query)["host"]
    return Path(directory) / ".s.PGSQL.5432"


async def newcomer(house: House, typing: Crew) -> Tab:
    return await typing.node.open(house.server.address(house.server.token("dora"), typing.issue))


async def test_a_restart_of_postgres_under_load_loses_nothing(house: House, typing: Crew) -> None:
    await house.postgres.stop()
    await typing.all_sent_away(*COME_BACK)
    await eventually(house.not_ready, "readiness to turn red")
    late = await newcomer(house, typing)
    await late.wait_closed(*COME_BACK)
    assert not (await late.look()).synced
    await house.postgres.start()
    await eventually(house.ready, "readiness to turn green without a restart")
    await late.wait("synced")
    assert (await late.look()).description
    await house.assert_shown_is_committed(typing)
    await assert_nothing_lost(house.server, typing)


async def test_a_killed_postgres_loses_nothing(house: House, typing: Crew) -> None:
    pid = int((house.postgres.cluster / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)  # every backend drops dead, WAL replay at the next start
    await typing.all_sent_away(*COME_BACK)
    await eventually(house.postgres_gone, "Postgres to be gone")
    await house.postgres.start()
    await eventually(house.ready, "readiness to turn green without a restart")
    await house.assert_shown_is_committed(typing)
    await assert_nothing_lost(house.server, typing)


async def test_cut_database_connections_lose_nothing(house: House, typing: Crew) -> None:
    for _ in range(5):
        house.way.cut()
        await typing.type_more(30)
        await eventually(house.ready, "readiness after a cut")
    await house.assert_shown_is_committed(typing)
    await assert_nothing_lost(house.server, typing)


async def test_a_database_that_hangs_turns_readiness_red_and_sends_people_away(house: House, typing: Crew) -> None:
    house.way.stall()
    await typing.all_sent_away(*COME_BACK)
    await eventually(house.not_ready, "readiness to turn red")
    await house.assert_shown_is_committed(typing)
    house.way.flow()
    await eventually(house.ready, "readiness to turn green without a restart")
    await assert_nothing_lost(house.server, typing)


async def test_a_slow_database_only_slows(house: House, typing: Crew) -> None:
    house.way.delay(0.05)
    await typing.type_more(200)
    await house.assert_shown_is_committed(typing)
    house.way.delay(0)
    for tab in typing.all_tabs:
        assert (await tab.look()).closes == []
    await assert_nothing_lost(house.server, typing)


async def test_a_read_only_database_refuses_edits_and_heals(house: House, typing: Crew) -> None:
    await make_read_only(house.postgres, read_only=True)
    try:
        await typing.all_sent_away(*COME_BACK)
        await eventually(house.not_ready, "readiness to turn red")
        await house.assert_shown_is_committed(typing)
    finally:
        await make_read_only(house.postgres, read_only=False)
    await eventually(house.ready, "readiness to turn green without a restart")
    await assert_nothing_lost(house.server, typing)
    code, output = await house.server.command("verify")
    assert code == 0, output


async def make_read_only(postgres: EmbeddedPostgres, *, read_only: bool) -> None:
    database = await asyncpg.connect(postgres.dsn)
    try:
        await database.execute("SET default_transaction_read_only = off")
        change = "SET default_transaction_read_only = on" if read_only else "RESET default_transaction_read_only"
        await database.execute(f"ALTER SYSTEM {change}")
        await database.execute("SELECT pg_reload_conf()")
    finally:
        await database.close()


async def test_a_load_that_fails_is_no_empty_issue(house: House, typing: Crew) -> None:
    await typing.all_hear_each_other()
    house.way.refuse(refusing=True)
    house.way.cut()
    await typing.all_sent_away(*COME_BACK)
    late = await newcomer(house, typing)
    await late.wait_closed(*COME_BACK)
    assert not (await late.look()).synced
    house.way.refuse(refusing=False)
    await late.wait_contains("a0 ")
