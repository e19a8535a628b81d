"""Every case whose effect on others is measured, carried out once: it is refused as it says."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
import pytest_asyncio

from tests.attacks.arena import Arena
from tests.attacks.cases import CASES
from tests.attacks.goes import call_off
from tests.attacks.honest import People

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

AN_ATTACK_SECONDS: Final = 0.3  # of one that goes on until it is ended


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prepared(ground: tuple[Arena, People]) -> None:
    """There is another workspace, and a refresh token that was used."""
    arena, _ = ground
    assert (await arena.server.command("workspace", "create", "other"))[0] == 0
    code, said = await arena.server.command("token", "--user", "vic", "--refresh")
    assert code == 0
    arena.played = said.strip()
    assert await CASES["token confusion: a refresh token, replayed"].attack(arena) == 200


async def test_there_are_enough() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("prepared")
async def test_a_measured_attack_is_refused_as_it_says(attacked: Arena, name: str) -> None:
    case = CASES[name]
    if case.refusals:
        assert await case.attack(attacked) in case.refusals
        return
    attacks = [asyncio.create_task(case.attack(attacked)) for _ in range(case.at_once)]
    done, going_on = await asyncio.wait(attacks, timeout=AN_ATTACK_SECONDS)
    await call_off(going_on)
    attacked.leave()
    assert not [attack.exception() for attack in done]
