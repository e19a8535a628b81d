"""A seeded world of devices with the SDK, half of them offline, and three nodes over one store."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeAlias
from uuid import UUID

from crdt.document import Document
from crdt.gate import fold, index_of
from crdt.index import Index
from crdt.issue import IssueContent, read
from crdt.novelty import says_something_new
from crdt.records import UNBOUNDED
from crdt.update import EMPTY_UPDATE, merge
from storage.engine import EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from syncline import Client, State
from syncline.backoff import Backoff
from syncline.local_store import LocalStore
from syncline.records import Feed
from tests.conftest import MEMORY, is_roomy
from tests.sdk.editor import Editor, lost_or_doubled
from tests.simulation.chance import only_seeded
from tests.simulation.device import Socket, simulated, token_of
from tests.simulation.native_node import HIGH_WATER, Line, NativeNode, NativeOracle, seeded
from tests.simulation.network import Link
from tests.simulation.oracle import LawBroken, WatchedStore
from tests.simulation.time import VirtualClock, run_in_virtual_time

NODES = 3
USERS_SHARE = 2  # devices of one user
CALM_SECONDS = 300.0
_View: TypeAlias = tuple[dict[int, int], IssueContent]

FAILURES = frozenset({State.ERROR, State.NEEDS_AUTH})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of. Seconds are virtual; `away_seconds` is a mean, online as well as offline."""

    devices: int
    seconds: float
    issues: int = 25
    edits_per_second: float = 5.0
    away_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a run amounts to. `offline_share`: of devices, on average."""

    trace: str
    rows: int
    acked: int
    committed_receipts: int
    words: int
    crashes: int
    restarts: int
    offline_share: float
    resets: Counter[str]
    floor: int


class Fleet:
    """Everything in one run."""

    def __init__(self, seed: int, plan: Plan, folder: Path) -> None:
        self.seed = seed
        self.plan = plan
        self.oracle = NativeOracle()
        self.store = WatchedStore(self.oracle)
        self.nodes: list[NativeNode] = []
        self.issues = [UUID(int=number) for number in range(1, plan.issues + 1)]
        self.devices = [
            Editor(f"device{number}", seed, partial(_client, number, folder)) for number in range(plan.devices)
        ]
        self._links: dict[str, Link] = {}
        self._random = Random(seed)
        self._is_calm = False
        self._crashes = self._restarts = 0
        self._looks: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcomes:
        """Chaos for a while, then calm; then everything must be everywhere."""
        self._workspace = (await self.store.create_workspace("main", "Main")).id
        self.store.fault = self._store_trouble
        with seeded(self.seed), simulated(self.seed, self._dial):
            for _ in range(NODES):
                await self._start_node()
            async with AsyncExitStack() as stack:
                for device in self.devices:
                    await device.start()
                    stack.push_async_callback(device.stop)
                    self._spawn_wandering(device)
                await self._live()
                await self._calm_down()
                await self._check_end()
        return await self._outcomes()

    # Chaos.

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.plan.seconds
        while loop.time() < end:
            await asyncio.sleep(self._random.expovariate(self.plan.edits_per_second))
            await self._something_happens()
            self._expect_no_blame()

    async def _something_happens(self) -> None:
        device = self._random.choice(self.devices)
        luck = self._random.random()
        if luck < 0.96:
            await device.edit(self._random.choice(self.issues))
        elif luck < 0.97:
            await self._expect_consistent(device)
        elif luck < 0.98:
            await device.stop()
            await device.start()
            self._restarts += 1
        elif luck < 0.99 and device.name in self._links:
            self._links[device.name].stall(self._random.uniform(0.1, 20))
        elif luck < 0.995:
            await self._crash()
        self._looks.append(sum(one.is_offline for one in self.devices))

    def _spawn_wandering(self, device: Editor) -> None:
        device.is_offline = self._random.random() < 0.5
        self._spawn(self._wander(device))

    async def _wander(self, device: Editor) -> None:
        """Into a tunnel and out of it again."""
        while not self._is_calm:
            await asyncio.sleep(self._random.expovariate(1 / self.plan.away_seconds))
            if not self._is_calm:
                device.is_offline = not device.is_offline
            if device.is_offline and device.name in self._links:
                self._links[device.name].cut()

    async def _dial(self, name: str) -> Socket:
        """A socket to one of the nodes that are up."""
        await asyncio.sleep(self._random.choice((0.001, 0.02, 0.2)))
        device = next(one for one in self.devices if one.name == name)
        if device.is_offline or not self.nodes:
            raise OSError("no way there")
        link = self._links[name] = Link(self._random, HIGH_WATER)
        line = Line(self.oracle, link, name)
        line.answer(self._random.choice(self.nodes))
        return line.client

    async def _crash(self) -> None:
        if len(self.nodes) > 1:
            node = self.nodes.pop(self._random.randrange(len(self.nodes)))
            self._crashes += 1
            self.oracle.note("crash")
            self._expect_sound(node)
            await node.crash()
            self._spawn(self._come_back(self._random.uniform(0.5, 20)))

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._start_node()

    async def _start_node(self) -> None:
        node = NativeNode(self.store, self.seed, self._engine_trouble)
        await node.start()
        self.nodes.append(node)

    async def _engine_trouble(self, job: str, key: IssueKey) -> None:
        await asyncio.sleep(self._random.choice((0.001, 0.01, 0.1)))
        if not self._is_calm and self._random.random() < 0.02:
            raise EngineUnavailable("as it happens")

    async def _store_trouble(self, moment: str, operation: str) -> None:
        """Latency always; failures before and after the fact; now and then a commit that takes for ever."""
        await asyncio.sleep(self._random.choice((0.0002, 0.001, 0.003, 0.03)))
        if self._is_calm:
            return
        luck = self._random.random()
        if luck < 0.005:
            raise StoreUnavailable(f"{operation} fails {moment} it happened")
        if luck < 0.006:
            await asyncio.sleep(self._random.choice((0.5, 3.0)))

    # Calm, and what must be true then.

    async def _calm_down(self) -> None:
        """No more trouble: in a few minutes everything has to be everywhere."""
        self._is_calm = True
        for device in self.devices:
            device.is_offline = False
        for _ in range(int(CALM_SECONDS)):
            await asyncio.sleep(1)
            self._expect_no_blame()
            if await self._is_settled():
                return
        stuck = {device.name: device.client.status.now for device in self.devices if device.client.status.pending}
        self.oracle.blame(f"not everywhere after {CALM_SECONDS} s: {stuck}")

    async def _is_settled(self) -> bool:
        head = len(self.oracle.rows)
        for device in self.devices:
            now = device.client.status.now
            if now.pending or now.state is not State.LIVE or (await _follows(device)).cursor != head:
                return False
        return await self.store.projected_through(self._workspace) == head

    def _expect_no_blame(self) -> None:
        for device in self.devices:
            if device.client.status.state in FAILURES:
                self.oracle.blame(f"{device.name} gave up: {device.client.status.now}")
        if self.oracle.broken:
            raise LawBroken(self.oracle.broken[0])

    def _expect_sound(self, node: NativeNode) -> None:
        if node.defects():
            self.oracle.blame(f"a defect in {node.defects()}")

    async def _expect_consistent(self, device: Editor) -> None:
        """On disk, cursor and documents agree: all that the log says up to the cursor is there."""
        feed, bases = await device.client._disk.call(_held)
        if feed.epoch is None or feed.reload is not None:
            return
        prefixes: dict[UUID, list[bytes]] = defaultdict(list)
        for row in self.oracle.rows[: feed.cursor]:
            prefixes[row.issue_id].append(row.update)
        for issue, updates in prefixes.items():
            if says_something_new(index_of(bases.get(issue, EMPTY_UPDATE), {}), merge(updates), UNBOUNDED):
                self.oracle.blame(f"{device.name} is at {feed.cursor} and lacks some of {issue}")

    async def _check_end(self) -> None:
        for node in self.nodes:
            self._expect_sound(node)
        self._expect_true_acks()
        views = {issue: await self._check_issue(issue) for issue in self._written()}
        for device in self.devices:
            self._expect_receipts(device)
            _, bases = await device.client._disk.call(_held)
            for issue, seen in views.items():
                if _view(Document.load(bases[issue])) != seen:
                    self.oracle.blame(f"{device.name} differs from the log of {issue}")
        wrong = lost_or_doubled(self.devices, {issue: content for issue, (_, content) in views.items()})
        if wrong:
            self.oracle.blame(f"words were lost or doubled: {wrong}")

    def _written(self) -> list[UUID]:
        return sorted({row.issue_id for row in self.oracle.rows})

    async def _check_issue(self, issue: UUID) -> _View:
        """The log's; snapshot and tail, and the row, say the same."""
        log = Document.load(merge([row.update for row in self.oracle.rows if row.issue_id == issue]))
        stored = Document.load(merge((await self.store.load(self._workspace, issue)).updates))
        if _view(stored) != _view(log):
            self.oracle.blame(f"snapshot and tail differ from the log of {issue}")
        row = (await self.store.projected(self._workspace, [issue])).get(issue)
        content = read(log)
        if row is None or (row.content.description, row.content.comments) != (content.description, content.comments):
            self.oracle.blame(f"the projection differs from the log of {issue}")
        return _view(log)

    def _expect_true_acks(self) -> None:
        """Every ack, at the seq it named."""
        indexes: dict[UUID, Index] = defaultdict(Index)
        through = 0
        for seq, issue, update in sorted(self.oracle.acks):
            for row in self.oracle.rows[through:seq]:
                fold(indexes[row.issue_id], row.update, row.actor_id)
            through = max(through, seq)
            if says_something_new(indexes[issue], update, UNBOUNDED):
                self.oracle.blame(f"an edit of {issue} was acked at {seq} and is not there")

    def _expect_receipts(self, device: Editor) -> None:
        late = [word for word, receipt in device.receipts if not receipt.is_committed]
        if late:
            self.oracle.blame(f"{device.name} has nothing pending and {len(late)} receipts open")

    async def _outcomes(self) -> Outcomes:
        (workspace,) = await self.store.workspaces()
        return Outcomes(
            trace=self.oracle.trace.hexdigest(),
            rows=len(self.oracle.rows),
            acked=self.oracle.acked,
            committed_receipts=sum(len(device.receipts) for device in self.devices),
            words=sum(len(words) for device in self.devices for words in device.words.values()),
            crashes=self._crashes,
            restarts=self._restarts,
            offline_share=sum(self._looks) / len(self._looks) / len(self.devices),
            resets=Counter(self.oracle.resets),
            floor=workspace.floor,
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _client(number: int, folder: Path, chance: Random) -> Client:
    backoff = Backoff(max_seconds=5.0, chance=chance)
    token = token_of(f"user{number // USERS_SHARE}")
    path = folder / f"{number}.db"
    return Client(f"http://device{number}", token=token, path=path, clock=VirtualClock().now, backoff=backoff)


def _held(store: LocalStore) -> tuple[Feed, dict[UUID, bytes]]:
    """What is on the device: how far it follows, and what it believes committed."""
    rows = store._connection.execute("SELECT issue_id, base FROM documents").fetchall()
    return store.feed(), {UUID(bytes=issue): base for issue, base in rows}


async def _follows(device: Editor) -> Feed:
    return await device.client._disk.call(LocalStore.feed)


def _view(document: Document) -> _View:
    return document.state_vector(), read(document)


def simulate(seed: int, plan: Plan) -> Outcomes:
    """One run. Whatever goes wrong names its seed."""
    place = MEMORY if is_roomy(MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="syncline-", dir=place) as folder:
        try:
            with only_seeded():
                return run_in_virtual_time(Fleet(seed, plan, Path(folder)).run())
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
