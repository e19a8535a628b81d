"""kill -9 at random moments while people type: what was committed or shown is never missing afterwards."""

from __future__ import annotations

import random

import pytest

from tests.faults.evidence import (
    Log,
    assert_kept,
    assert_nothing_lost,
    assert_shown_is_committed,
    read_log,
    what_was_shown,
)
from tests.faults.typing_crew import Crew, crew
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, at_rest

WORDS_BETWEEN_KILLS = (5, 250)


async def kill_and_look(server: ServerProcess, typing: Crew) -> Log:
    """Kill it, and while nobody can resend anything compare the log with what everybody was shown."""
    await server.kill()
    for tab in typing.all_tabs:
        await tab.wait("offline")  # by now it has read what was still on the way
    shown = await what_was_shown(typing.all_tabs)
    async with server.database() as database:  # the Postgres it left behind
        log = await read_log(database, typing.issue)
    assert_shown_is_committed(shown, log)
    return log


async def run_kills(*, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    async with forking() as server, crew(server) as typing:
        await typing.start_typing(seed)
        for _ in range(kills):
            await typing.type_more(chance.randint(*WORDS_BETWEEN_KILLS))
            before = await kill_and_look(server, typing)
            await server.start()
            async with server.database() as database:
                assert_kept(before, await read_log(database, typing.issue))
        await assert_nothing_lost(server, typing)
        code, output = await server.command("replay", "--from-log", "--issue", str(typing.issue))
        assert code == 0, output


async def test_three_kills_lose_nothing() -> None:
    await run_kills(kills=3, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
async def test_many_kills_lose_nothing(seed: int) -> None:
    await run_kills(kills=12, seed=seed)


async def test_a_server_killed_while_it_starts_starts_the_next_time() -> None:
    async with at_rest() as server:
        await server.start()
        for _ in range(3):
            await server.kill()
            await server.launch()
        await server.kill()
        await server.start()
        assert await server.terminate() == 0
