"""Honest people who share an address with attackers, behind one router: they get in, and they get in quickly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from crdt.sync import SyncStep1
from server.dialects import y_websocket
from tests.attacks.arena import Arena, arena
from tests.attacks.cases import CASES, FEW
from tests.attacks.goes import call_off
from tests.attacks.honest import People
from tests.attacks.ways import PATIENCE_SECONDS
from tests.peers.server_process import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

STRANGERS: Final = 40
AT_ONCE: Final = 4  # goes; by then one who cannot be made to wait for the answer waits for a turn
ATTACKS: Final = (
    "before the token: messages",
    "frames: 100 MB announced",
    "frames: a reserved bit",
    "pages of other sites: over y-websocket",
    "before the token: bad tokens over y-websocket",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground() -> AsyncIterator[tuple[Arena, People]]:
    """Where an address is what a proxy says, since limits by address do not hold for this machine."""
    patient = ("--handshake-timeout-seconds", "10")  # a crowd is slow to say what it wants on a busy machine
    async with arena("--trusted-proxy", "127.0.0.1", "--max-address-strangers", str(STRANGERS), *patient) as made:
        yield made


async def enter(arena: Arena) -> None:
    """Come in with a good token, until the issue answers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        client = await arena.over_yjs(token=arena.token("dan"))
        assert client.status == 101
        assert isinstance(y_websocket.decode(await client.message()), SyncStep1)


async def test_many_who_come_at_once_pay_nothing(attacked: Arena) -> None:
    """Five times as many as may be strangers at a time."""
    attacked.headers = {"X-Forwarded-For": "203.0.113.200"}
    await asyncio.gather(*(enter(attacked) for _ in range(5 * STRANGERS)))
    attacked.leave()


@pytest.mark.parametrize("name", ATTACKS)
async def test_neighbours_of_attackers_get_in(attacked: Arena, name: str) -> None:
    """While the attackers wait for being told no, or for their turn."""
    attacked.headers = {"X-Forwarded-For": f"203.0.113.{ATTACKS.index(name)}"}
    goes = 0

    async def keep_coming() -> None:
        nonlocal goes
        while True:
            await asyncio.gather(CASES[name].attack(attacked), return_exceptions=True)
            goes += 1
            await attacked.pause()

    async def are_known() -> bool:
        return goes >= AT_ONCE

    attackers = [asyncio.create_task(keep_coming()) for _ in range(FEW)]
    await eventually(are_known, "they were told no often enough to wait")
    for _ in range(5):
        await enter(attacked)
    await call_off(attackers)
    attacked.leave()
