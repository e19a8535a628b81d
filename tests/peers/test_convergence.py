"""Whatever several Yjs clients write and however it arrives: accepted, and merged to what Yjs itself makes of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from crdt import update
from crdt.document import Document
from tests.js.oracle import Oracle, Program, Reading, oracle
from tests.peers.door import Door, deliver_in_order, deliver_shuffled

CHUNK = 100
SHORT = range(1, 301, CHUNK)
LONG = range(10_001, 11_001, CHUNK)

Delivery = Callable[[Program, random.Random], Door]
deliveries = pytest.mark.parametrize("deliver", [deliver_in_order, deliver_shuffled])


@pytest.fixture
async def yjs() -> AsyncIterator[Oracle]:
    async with oracle() as process:
        yield process


async def check_convergence(yjs: Oracle, deliver: Delivery, seeds: Sequence[int], *, cuts: bool = False) -> list[Door]:
    programs = [one for seed in seeds for one in await yjs.programs(seed=seed, count=CHUNK, cuts=cuts)]
    doors = [deliver(program, random.Random(program.seed)) for program in programs]
    for program, door, reading in zip(programs, doors, await yjs.read([door.merged for door in doors]), strict=True):
        assert reading == program.outcome, f"program {program.seed}"
        assert door.index.state_vector == program.outcome.state_vector, f"program {program.seed}"
    return doors


@deliveries
async def test_what_the_gate_lets_through_merges_to_what_yjs_has(yjs: Oracle, deliver: Delivery) -> None:
    await check_convergence(yjs, deliver, SHORT)


@deliveries
async def test_the_log_is_causally_closed_at_every_point(yjs: Oracle, deliver: Delivery) -> None:
    prefixes: list[bytes] = []
    for program in await yjs.programs(seed=501, count=CHUNK):
        chance = random.Random(program.seed)
        log = deliver(program, chance).log
        prefixes += [update.merge(log[:length]) for length in chance.sample(range(1, len(log) + 1), k=min(5, len(log)))]
    assert not [reading for reading in await yjs.read(prefixes) if reading.pending]


async def test_nothing_is_stored_twice_when_a_client_sends_all_it_has_again(yjs: Oracle) -> None:
    for program in await yjs.programs(seed=601, count=CHUNK):
        door = deliver_in_order(program, random.Random(program.seed))
        rows = len(door.log)
        assert not door.submit(update.merge([one.update for one in program.written]), "somebody else")
        assert len(door.log) == rows


async def test_an_author_keeps_the_ids_they_wrote_with(yjs: Oracle) -> None:
    (program,) = await yjs.programs(seed=701, count=1)
    door = deliver_in_order(program, random.Random(1))
    assert door.index.owners == {one.client: f"user {one.client}" for one in program.written}


@deliveries
async def test_characters_cut_in_half_are_accepted_and_read_as_yjs_reads_them(yjs: Oracle, deliver: Delivery) -> None:
    doors = await check_convergence(yjs, deliver, SHORT, cuts=True)
    await check_engine_reads_cuts(yjs, doors)
    assert sum(bool(door.index.cuts) for door in doors) > len(doors) // 4


async def check_engine_reads_cuts(yjs: Oracle, doors: Sequence[Door]) -> None:
    repaired = [update.repair_cuts(door.merged, door.index.cuts) for door in doors]
    for reading, bytes_ in zip(await yjs.read([door.merged for door in doors]), repaired, strict=True):
        assert texts(Document.load(bytes_)) == yjs_texts(reading)


def texts(document: Document) -> dict[str, str]:
    return {root: document.text(root) for root in ("title", "description")}


def yjs_texts(reading: Reading) -> dict[str, str]:
    return {root: reading.content[root]["text"] for root in ("title", "description")}


@pytest.mark.long
@deliveries
@pytest.mark.parametrize("cuts", [False, True])
async def test_thousands_of_programs_converge(yjs: Oracle, deliver: Delivery, cuts: bool) -> None:
    for seed in LONG:
        doors = await check_convergence(yjs, deliver, [seed], cuts=cuts)
        await check_engine_reads_cuts(yjs, doors)
