"""The way an issue's edits take into the log, without sockets: gate, causal log, gap repair by state vector."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from crdt import gate, update
from crdt.index import Index
from crdt.records import Limits
from tests.js.oracle import Program, Written

ANA = "ana"


class Door:
    """What the room does with incoming bytes. `log` holds what was accepted, in order."""

    def __init__(self) -> None:
        self.index = Index()
        self.log: list[bytes] = []

    def submit(self, data: bytes, actor: str) -> bool:
        """Judge and log one update; True when causes are missing. Raises Refused."""
        verdict = gate.check(self.index, data, actor, Limits())
        if verdict.update:
            self.log.append(verdict.update)
        return verdict.gap

    @property
    def state_vector(self) -> bytes:
        """What the log holds, as SyncStep1 would say it."""
        return update.encode_state_vector(self.index.state_vector)

    @property
    def merged(self) -> bytes:
        """The whole log as one update."""
        return update.merge(self.log)


def deliver_in_order(program: Program, chance: random.Random) -> Door:
    """Every author a user of their own; updates come alone, merged with the author's next ones, or twice."""
    door = Door()
    for burst in _bursts(program.written, chance):
        data = update.merge([one.update for one in burst])
        for _ in range(chance.choice((1, 1, 1, 2))):
            if door.submit(data, f"user {burst[0].client}"):
                raise AssertionError(f"program {program.seed}: a gap although everything came in order")
    return door


def _bursts(written: Sequence[Written], chance: random.Random) -> list[list[Written]]:
    """Neighbours of one author, joined now and then, as a server's turn or a client's batch joins them."""
    bursts: list[list[Written]] = []
    for one in written:
        if bursts and bursts[-1][0].client == one.client and chance.random() < 0.5:
            bursts[-1].append(one)
        else:
            bursts.append([one])
    return bursts


def deliver_shuffled(program: Program, chance: random.Random) -> Door:
    """All authors are tabs of one user. Streams overtake one another, lose and repeat; gaps are asked for."""
    door = Door()
    streams: dict[int, deque[int]] = {}
    for position, one in enumerate(program.written):
        streams.setdefault(one.client, deque()).append(position)
    while streams:
        client = chance.choice(sorted(streams))
        position = streams[client].popleft()
        if not streams[client]:
            del streams[client]
        fate = chance.random()
        if fate < 0.1:
            continue  # lost with its socket
        if door.submit(program.written[position].update, ANA):
            _repair(door, program, position)
        if fate > 0.9:
            door.submit(program.written[chance.randrange(position + 1)].update, ANA)
    _repair(door, program, len(program.written) - 1)
    return door


def _repair(door: Door, program: Program, position: int) -> None:
    """The answer to SyncStep1 of a replica that had just written update number `position`."""
    held = update.merge([one.update for one in program.written[: position + 1]])
    if door.submit(update.diff(held, door.state_vector), ANA):
        raise AssertionError(f"program {program.seed}: a gap left after a whole SyncStep2")
