"""One read for many, and never an old one."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from random import Random

import pytest

from server.shared_reads import SharedReads
from tests.server.house import settle
from tests.simulation.time import in_virtual_time


class Source:
    """What is read: its version at the beginning of the read."""

    def __init__(self) -> None:
        self.version = 0
        self.reads = 0
        self.failing = False
        self.may_answer = asyncio.Semaphore(0)

    async def read(self, key: str) -> int:
        self.reads += 1
        version, failing = self.version, self.failing
        await self.may_answer.acquire()
        if failing:
            raise LookupError(key)
        return version


@in_virtual_time
async def test_those_who_ask_meanwhile_share_the_next_read_and_none_is_older_than_its_question() -> None:
    source = Source()
    shared = SharedReads(source.read)
    first = asyncio.create_task(shared("ana"))
    await settle()
    source.version = 1
    later = [asyncio.create_task(shared("ana")) for _ in range(20)]
    other = asyncio.create_task(shared("ben"))
    await settle()
    assert source.reads == 2  # ana's and ben's
    source.version = 2
    for _ in range(3):
        source.may_answer.release()
        await settle()
    assert (await first, await other) == (0, 1)
    assert {await each for each in later} == {2}
    assert source.reads == 3
    source.may_answer.release()
    assert await shared("ana") == 2


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_whenever_somebody_asks_the_read_is_a_later_one_and_there_is_one_at_a_time(seed: int) -> None:
    random, version, under_way = Random(seed), count(), Counter[str]()

    async def read(key: str) -> int:
        under_way[key] += 1
        assert under_way[key] == 1
        began = next(version)
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        under_way[key] -= 1
        return began

    shared = SharedReads(read)

    async def ask() -> None:
        for _ in range(random.randrange(30)):
            await asyncio.sleep(0)
        asked = next(version)
        assert await shared(random.choice("ab")) > asked

    await asyncio.gather(*(ask() for _ in range(200)))


@in_virtual_time
async def test_a_failure_is_everybodys_who_shared_it_and_nobodys_after_that() -> None:
    source = Source()
    source.failing = True
    shared = SharedReads(source.read)
    asked = [asyncio.create_task(shared("ana")) for _ in range(3)]
    await settle()
    source.failing = False
    source.may_answer.release()
    await settle()
    source.may_answer.release()
    with pytest.raises(LookupError):
        await asked[0]
    assert [await each for each in asked[1:]] == [0, 0]


@in_virtual_time
async def test_whoever_gives_up_takes_nobodys_answer_away() -> None:
    source = Source()
    shared = SharedReads(source.read)
    asked = [asyncio.create_task(shared("ana")) for _ in range(3)]
    await settle()
    asked[0].cancel()
    asked[1].cancel()
    await settle()
    for _ in range(2):
        source.may_answer.release()
        await settle()
    assert await asked[2] == 0
    assert source.reads == 2
