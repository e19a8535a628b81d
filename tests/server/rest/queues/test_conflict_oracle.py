"""The oracle of `tests/server/test_conflict_oracle.py` on Postgres, with devices that queue operations among the
writers: what they saw may be long ago, and they send everything twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from crdt.shape import FIELD_KEYS, Changes
from server.bases import Base, Bases
from server.outbox import Outbox
from server.outbox_batch import OutboxLimits, OutboxServices, Wanted
from server.permissions import Identity, Role
from storage.database import Database, DatabaseLimits, open_database
from storage.issue_reader import IssueReader
from storage.log_reader import LogReader
from storage.postgres import PostgresStore
from storage.sync_queue import QueuedOperation, SyncQueue
from storage.timeline import Timeline
from tests.js.fields import replicas
from tests.server import conflict_programs
from tests.server.conflict_programs import REPLICAS, Program, World
from tests.server.house import House, house
from tests.simulation.time import VirtualClock

ROWS = OutboxLimits(rows_seconds=0.001)  # nobody projects meanwhile


@dataclass
class Seen:
    """What a device knows of an issue: all that was committed through `seq`, and what it did itself."""

    seq: int
    knows: set[str] = field(default_factory=set)


class Devices:
    """A device for each program. It looks at its issue now and then, and sets fields on what it saw."""

    def __init__(self, node: House, database: Database, world: World) -> None:
        log = LogReader(database)
        bases = Bases(log, Timeline(log, node.engine))
        services = OutboxServices(
            world.records, SyncQueue(database), node.store, IssueReader(database), VirtualClock(), bases
        )
        self._outbox = Outbox(services, ROWS)
        self._node = node
        self._seen: dict[UUID, Seen] = {}
        self.conflicts = 0

    async def write(self, world: World, program: Program, name: str) -> None:
        """One operation, which is committed when it returns."""
        seen = self._seen.get(program.issue)
        if seen is None or program.random.random() < 0.25:
            (workspace,) = await self._node.store.workspaces()
            seen = self._seen[program.issue] = Seen(workspace.head, set(program.committed))
        value = program.next_value()
        queued = QueuedOperation(value, "issues", str(program.issue), program.issue, "update")
        wanted = Wanted(queued, Changes(fields={name: value}), VirtualClock().now(), Base(seq=seen.seq))
        device = f"device of {program.issue}"
        identity = Identity("queuer", "main", Role.MEMBER)
        lost = len(program.lost)
        (first,) = (await self._outbox.take(world.node.workspace, identity, device, [wanted])).values()
        world.committed_now(program, name, value, frozenset(seen.knows), replaced=None)
        seen.knows.add(value)
        assert (first.status == "conflict") == (len(program.lost) > lost), (first, program.issue)
        self.conflicts += first.status == "conflict"
        (again,) = (await self._outbox.take(world.node.workspace, identity, device, [wanted])).values()
        assert (again.status, again.first, again.seq) == ("duplicate", first.status, first.seq)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = await open_database(dsn, DatabaseLimits(connections_max=4))
    yield database
    await database.close()


async def judge(
    store: PostgresStore, database: Database, monkeypatch: pytest.MonkeyPatch, seeds: range, rounds: int
) -> int:
    """Run the programs and compare; returns how many conflicts the devices made."""
    async with house(store=store) as node, replicas() as yjs:
        world = World(node, yjs, seeds)
        devices = Devices(node, database, world)
        monkeypatch.setattr(conflict_programs, "WRITERS", [*conflict_programs.WRITERS, *[devices.write] * 6])
        await world.begin()
        for _ in range(rounds):
            await world.round()
        await world.end()
        for program in world.programs:
            rows = await world.ledger(program)
            of_fields = [row for row in rows if row.field in FIELD_KEYS]
            assert {(row.field, row.losing.value) for row in of_fields} == program.lost, program.issue
            assert len(of_fields) == len(program.lost)
            for shown in await world.shown(program):
                told = {name: shown.get(FIELD_KEYS[name]) for name in program.standing}
                assert told == program.standing, program.issue
            assert len(await world.shown(program)) == REPLICAS
        return devices.conflicts


@pytest.mark.long
async def test_queues_of_devices_among_yjs_clients_and_writers_of_records(
    store: PostgresStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await judge(store, database, monkeypatch, range(80), rounds=80) > 50
