"""A seeded world: clients, two nodes over one store, and everything that can go wrong between them.

The nodes are the real hub, rooms, appender, relay, projector and compactor; only sockets, time, engine processes and
Postgres are simulated. A seed is a run: the same every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from crdt.document import Document
from crdt.issue import read
from crdt.update import merge
from storage.engine import EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from tests.simulation.chance import only_seeded
from tests.simulation.client import Client
from tests.simulation.network import Link
from tests.simulation.node import BUFFERED, QUEUED, Node, Socket
from tests.simulation.oracle import LawBroken, Oracle, WatchedStore
from tests.simulation.time import run_in_virtual_time

ISSUES = (UUID(int=1), UUID(int=2))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a run amounts to."""

    trace: str
    rows: int
    told: int
    acked: int
    crashes: int
    metrics: Mapping[str, float]


class World:
    """Everything in one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.nodes: list[Node] = []
        self.oracle = Oracle()
        self.store = WatchedStore(self.oracle)
        self._random = Random(seed)
        self._is_calm = False
        self._crashes = 0
        self._totals: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float = 30.0) -> Outcomes:
        """Chaos for a while, then calm; then everything must be everywhere."""
        self.workspace = await self.store.create_workspace("main", "Main")
        self.store.fault = self._store_trouble
        for _ in range(2):
            self.nodes.append(self._node())
        self.clients = [
            Client(self, f"client{number}", f"user{number // 2}", ISSUES[number % len(ISSUES)]) for number in range(6)
        ]
        for client in self.clients:
            client.connect()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(self._random.expovariate(40))
            await self._something_happens()
            self._expect_no_blame()
        await self._calm_down()
        await self._check_end()
        return self._outcomes()

    def open_link(self, client: Client) -> Link | None:
        """A socket to one of the nodes that are up."""
        if not self.nodes:
            return None
        node = self._random.choice(self.nodes)
        link = Link(self._random, BUFFERED // 2)
        socket = Socket(self.oracle, node, client, link)
        link.ends = socket
        task = asyncio.get_running_loop().create_task(socket.join(self.workspace))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return link

    async def _engine_trouble(self, job: str, key: IssueKey) -> None:
        """Latency, sometimes no engine at all."""
        await asyncio.sleep(self._random.choice((0.001, 0.01, 0.1)))
        if not self._is_calm and self._random.random() < 0.03:
            raise EngineUnavailable("as it happens")

    async def _store_trouble(self, moment: str, operation: str) -> None:
        """Latency always; failures before and after the fact; now and then a commit that takes for ever."""
        await asyncio.sleep(self._random.choice((0.0002, 0.001, 0.003, 0.03)))
        if self._is_calm:
            return
        luck = self._random.random()
        if luck < 0.01:
            self.oracle.note(f"{operation} fails {moment}")
            raise StoreUnavailable(f"{operation} fails {moment} it happened")
        if luck < 0.015:
            await asyncio.sleep(self._random.choice((0.5, 3.0)))

    async def _something_happens(self) -> None:
        client = self._random.choice(self.clients)
        luck = self._random.random()
        if luck < 0.93:
            client.edit()
        elif luck < 0.94:
            client.paste()
        elif luck < 0.96:
            client.disconnect()
        elif luck < 0.965:
            client.wants_link = False
            asyncio.get_running_loop().call_later(self._random.uniform(0.1, 8), self._come_back, client)
            client.disconnect()
        elif luck < 0.97:
            client.reload()
        elif luck < 0.98 and client.link is not None:
            client.link.stall(self._random.uniform(0.1, 12))
        elif luck < 0.983:
            await self._crash()
        for node in self.nodes:
            if node.appender.queued_bytes > QUEUED + 50_000:
                self.oracle.blame(f"{node.appender.queued_bytes} bytes wait for the log")

    def _come_back(self, client: Client) -> None:
        client.wants_link = True
        client.connect()

    async def _crash(self) -> None:
        if len(self.nodes) > 1 or (self.nodes and self._random.random() < 0.3):
            node = self.nodes.pop(self._random.randrange(len(self.nodes)))
            self._crashes += 1
            self.oracle.note("crash")
            self._count(node)
            await node.crash()
            asyncio.get_running_loop().call_later(self._random.uniform(0.1, 3), self._restart)

    def _node(self) -> Node:
        return Node(self.store, self.seed, self._engine_trouble)

    def _restart(self) -> None:
        self.nodes.append(self._node())

    async def _calm_down(self) -> None:
        """No more trouble: within a minute everything has to be everywhere."""
        self._is_calm = True
        for client in self.clients:
            client.wants_link = True
            client.connect()
        await asyncio.sleep(60)

    def _expect_no_blame(self) -> None:
        if self.oracle.broken:
            raise LawBroken(self.oracle.broken[0])

    async def _check_end(self) -> None:
        self._expect_no_blame()
        head = (await self.store.workspaces())[0].head
        if head != len(self.oracle.rows):
            self.oracle.blame(f"head {head} after {len(self.oracle.rows)} rows")
        for issue in ISSUES:
            await self._check_issue(issue)

    async def _check_issue(self, issue: UUID) -> None:
        """Law 5: all replicas, the fold of the log, snapshot and tail, and the row say the same."""
        expected = self.oracle.state_vector(issue)
        log = Document.load(merge([row.update for row in self.oracle.rows if row.issue_id == issue]))
        stored = Document.load(merge((await self.store.load(self.workspace.id, issue)).updates))
        replicas = [(client.name, _view(client.doc.get_update())) for client in self.clients if client.issue == issue]
        views = [("log", _view(log.snapshot())), ("snapshot and tail", _view(stored.snapshot())), *replicas]
        if log.state_vector() != expected:
            self.oracle.blame("the log does not load whole")
        for name, view in views:
            if view != views[0][1]:
                self.oracle.blame(f"{name} differs from the log of {issue}: {view} != {views[0][1]}")
        if await self.store.quarantined():
            self.oracle.blame("an honest issue is under quarantine")
        row = (await self.store.projected(self.workspace.id, [issue])).get(issue)
        content, shown = read(log), row.content if row is not None else None
        if shown is None or any(
            getattr(shown, name) != getattr(content, name)
            for name in ("title", "description", "status", "priority", "labels", "comments")
        ):
            self.oracle.blame(f"the projection differs from the log of {issue}")

    def _outcomes(self) -> Outcomes:
        for node in self.nodes:
            self._count(node)
        return Outcomes(
            self.oracle.trace.hexdigest(),
            len(self.oracle.rows),
            self.oracle.told,
            self.oracle.acked,
            self._crashes,
            self._totals,
        )

    def _count(self, node: Node) -> None:
        for where in ("room turn", "room publish", "room check", "room feed", "room task", "relay", "hub sweep"):
            if node.metrics.registry.get_sample_value("syncline_loop_failures_total", {"loop": where}):
                self.oracle.blame(f"a defect in {where}")
        for family in node.metrics.registry.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    self._totals[sample.name] = self._totals.get(sample.name, 0) + sample.value


def _view(update: bytes) -> tuple[Any, ...]:
    """What a reader sees of a document, and its state vector."""
    document = Document.load(update)
    return document.state_vector(), read(document)


def simulate(seed: int) -> Outcomes:
    """One run. Whatever goes wrong names its seed."""
    try:
        with only_seeded():
            return run_in_virtual_time(World(seed).run())
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
