"""The network between clients and server cuts, delays and stalls: replicas still end up equal and complete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.faults.evidence import assert_nothing_lost
from tests.faults.proxy import Detour, detour
from tests.faults.typing_crew import Crew, crew
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class Site:
    """Three typists who reach the server by a detour."""

    server: ServerProcess
    way: Detour
    typing: Crew


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with forking() as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def site(server: ServerProcess) -> AsyncIterator[Site]:
    async with detour(server.port) as way, crew(server, port=way.port) as typing:
        await typing.start_typing(seed=1)
        await typing.type_more(50)
        yield Site(server, way, typing)


async def test_sockets_cut_again_and_again_lose_nothing(site: Site) -> None:
    for _ in range(6):
        site.way.cut()
        await site.typing.type_more(40)
    await assert_nothing_lost(site.server, site.typing)


async def test_a_slow_network_loses_nothing(site: Site) -> None:
    site.way.delay(0.1)
    await site.typing.type_more(150)
    site.way.delay(0)
    await assert_nothing_lost(site.server, site.typing)


async def test_a_network_that_stalls_and_then_breaks_loses_nothing(site: Site) -> None:
    site.way.stall()
    await site.typing.type_more(150)
    site.way.cut()
    site.way.flow()
    await assert_nothing_lost(site.server, site.typing)


async def test_a_reader_who_stops_reading_catches_up(site: Site) -> None:
    deaf = site.typing.all_tabs[0]
    await deaf.deafen(deaf=True)
    await site.typing.type_more(300)
    await deaf.deafen(deaf=False)
    await assert_nothing_lost(site.server, site.typing)
