"""Whoever has shown no good token makes few handshakes and hears no late; whoever has one is kept by nobody from it."""

from __future__ import annotations

import asyncio

from server import close_codes
from server.buckets import Allowance
from server.websocket.strangers import COST_OF_AN_OFFENCE, Stranger, StrangerLimits, Strangers
from tests.server.house import settle
from tests.simulation.time import run_in_virtual_time

HERE, THERE = "192.0.2.1", "192.0.2.2"
FEW = StrangerLimits(Allowance(rate=2, burst=3), longest_wait=2)


class Client:
    """Notes its number when it comes in, and that it was turned away."""

    def __init__(self, number: int, came: list[int], turned_away: list[int]) -> None:
        self._number, self._came, self._turned_away = number, came, turned_away

    def come_in(self) -> None:
        self._came.append(self._number)

    def turn_away(self) -> None:
        self._turned_away.append(self._number)


class Porch:
    """Where clients arrive."""

    def __init__(self, limits: StrangerLimits = FEW) -> None:
        self.over: list[str] = []
        self.strangers = Strangers(limits, on_refused=self.over.append)
        self.came: list[int] = []
        self.turned_away: list[int] = []

    def arrive(self, *numbers: int, host: str = HERE) -> list[Client]:
        clients = [Client(number, self.came, self.turned_away) for number in numbers]
        for client in clients:
            self.strangers.arrive(host, client)
        return clients


def test_more_than_may_be_strangers_come_in_one_after_another_as_time_passes() -> None:
    async def run() -> list[list[int]]:
        porch, seen = Porch(), list[list[int]]()
        porch.arrive(*range(6))
        assert porch.over == ["handshakes"] * 3
        for _ in range(4):
            seen.append(list(porch.came))
            await asyncio.sleep(0.501)
        return seen

    assert run_in_virtual_time(run()) == [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]


async def test_a_good_token_pays_its_handshake_back_and_lets_the_next_one_in() -> None:
    porch = Porch()
    for number in range(100):
        porch.arrive(number)
        porch.strangers.known(HERE)
    assert len(porch.came) == 100
    porch.arrive(*range(100, 105))
    assert porch.came[100:] == [100, 101, 102]
    porch.strangers.known(HERE)
    await settle()
    assert porch.came[100:] == [100, 101, 102, 103]


def test_who_waits_too_long_or_behind_too_many_is_turned_away() -> None:
    async def run() -> Porch:
        porch = Porch()
        porch.arrive(*range(3 + FEW.max_waiting + 2))
        assert porch.turned_away == [18, 19]
        await asyncio.sleep(FEW.longest_wait + 0.01)
        porch.arrive(20)
        await asyncio.sleep(1)
        return porch

    porch = run_in_virtual_time(run())
    assert porch.came == [*range(7), 20]
    assert porch.turned_away == [18, 19, *range(7, 18)]


async def test_who_has_gone_is_not_let_in_and_takes_nobody_s_turn() -> None:
    porch = Porch()
    *_, gone, _ = porch.arrive(*range(5))
    porch.strangers.give_up(HERE, gone)
    porch.strangers.known(HERE)
    await settle()
    assert porch.came == [0, 1, 2, 4]


async def test_an_address_keeps_nobody_else_waiting_and_this_machine_is_none() -> None:
    porch = Porch()
    porch.arrive(*range(5))
    porch.came.clear()
    porch.arrive(*range(3), host=THERE)
    porch.arrive(*range(3, 20), host="127.0.0.1")
    assert porch.came == list(range(20))


def test_who_could_not_be_made_to_wait_for_an_offence_waits_the_next_time_and_not_for_each() -> None:
    async def run() -> list[list[int]]:
        porch, seen = Porch(StrangerLimits(Allowance(rate=10, burst=200))), list[list[int]]()
        for _ in range(1_000):
            porch.strangers.offended(HERE)
        porch.arrive(0)
        for _ in range(2):
            await asyncio.sleep((COST_OF_AN_OFFENCE + 1) / 10 - 0.05)
            seen.append(list(porch.came))
        return seen

    assert run_in_virtual_time(run()) == [[], [0]]


async def test_a_stranger_hears_late_of_what_they_sent_and_somebody_known_at_once() -> None:
    may_hear, heard = asyncio.Event(), list[str]()

    async def later(host: str) -> None:
        assert host == HERE
        await may_hear.wait()

    strangers = Strangers(FEW, later)
    stranger, known, gone = (Stranger(strangers, HERE) for _ in range(3))
    assert not stranger.waits(close_codes.UNAUTHORIZED, lambda: heard.append("a refused token, which has waited"))
    assert not stranger.waits(close_codes.RESTART, lambda: heard.append("not their doing"))
    assert stranger.waits(close_codes.RESET, lambda: heard.append("too much before the token"))
    known.known()
    assert not known.waits(close_codes.BAD_REQUEST, lambda: heard.append("known"))
    assert not Stranger(strangers, "127.0.0.1").waits(close_codes.BAD_REQUEST, lambda: heard.append("this machine"))
    assert gone.waits(close_codes.BAD_REQUEST, lambda: heard.append("gone"))
    gone.gone(has_offended=False)
    await settle()
    assert stranger.is_waiting
    may_hear.set()
    await settle()
    assert heard == ["too much before the token"]
    assert not stranger.is_waiting
