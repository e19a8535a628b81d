"""A node for tests: the real hub, appender and relay over the store in memory, with peers that are real documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pycrdt import Doc, Map, Text

from crdt.sync import SyncStep1, SyncStep2, Update
from server.dialects import y_websocket
from server.dialects.y_websocket import AwarenessUpdate
from server.hub import Hub, HubServices
from server.limits import HubLimits, RelayLimits
from server.metrics import Metrics
from server.permissions import Identity, Role
from server.relay import LogRelay
from server.room import Room
from server.session import Dialect, Outcome, Session
from storage.appender import Appender
from storage.engine import IssueKey
from storage.memory import MemoryStore
from storage.store import Store, Workspace
from tests.inline_engine import InlineEngine
from tests.simulation.time import VirtualClock

DIALECT = Dialect(y_websocket.sync_step1, y_websocket.sync_step2, y_websocket.update, y_websocket.awareness)
ISSUE = UUID(int=7)


class Wire:
    """A `server.websocket.Connection` that keeps what was sent. While `stalled`, nothing reaches the peer."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.unsent: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.is_paused = False
        self.delays: list[float] = []
        self.stalled = False
        self.largest_backlog = 0

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        if self.closed is None:
            (self.unsent if self.stalled else self.frames).append(frame)
            self.largest_backlog = max(self.largest_backlog, self.buffered_bytes())

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`."""
        return sum(map(len, self.unsent))

    def close(self, code: int, reason: str) -> None:
        """See `Connection.close`."""
        if self.closed is None:
            self.closed = (code, reason)

    def close_code(self) -> int | None:
        """With what it was closed, if it was."""
        return None if self.closed is None else self.closed[0]

    def is_read(self) -> bool:
        """Whether the server reads from it."""
        return not self.is_paused

    def slow_down(self, seconds: float) -> None:
        """See `PacedConnection.slow_down`."""
        if seconds > 0:
            self.delays.append(seconds)

    def pause_reading(self) -> None:
        """See `Connection.pause_reading`."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """See `Connection.resume_reading`."""
        self.is_paused = False

    def flow(self) -> None:
        """The peer reads again."""
        self.stalled = False
        self.frames += self.unsent
        self.unsent = []


class Peer:
    """A client: a document, and the session through which it speaks."""

    def __init__(self, user: str = "ana", *, client: int = 1, role: Role = Role.MEMBER) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text: Text = self.doc.get("title", type=Text)
        self.fields: Map[Any] = self.doc.get("fields", type=Map)
        self.wire = Wire()
        self.session = Session(Identity(user, "main", role), self.wire, DIALECT, user)
        self.outcomes: list[Outcome] = []
        self.presence: list[bytes] = []
        self.asked: list[bytes] = []
        self.room: Room | None = None

    def edit(self, text: str) -> bytes:
        """Append to the title; the update says just that."""
        before = self.doc.get_state()
        self.text += text
        return self.doc.get_update(before)

    def write(self, text: str) -> None:
        """Append to the title and send it."""
        self.send(self.edit(text))

    def send(self, update: bytes) -> None:
        """Submit an update, keeping what becomes of it."""
        assert self.room is not None
        self.room.submit(self.session, update, self.outcomes.append)

    def sync(self) -> None:
        """SyncStep1."""
        assert self.room is not None
        self.room.answer(self.session, self.doc.get_state())

    def hear(self) -> Peer:
        """Take in what was sent to it."""
        frames, self.wire.frames = self.wire.frames, []
        for frame in frames:
            match y_websocket.decode(frame):
                case Update(update) | SyncStep2(update):
                    self.doc.apply_update(update)
                case SyncStep1(state_vector):
                    self.asked.append(state_vector)
                case AwarenessUpdate(update):
                    self.presence.append(update)
                case other:
                    raise AssertionError(other)
        return self

    def shows(self) -> str:
        """The title as this peer sees it now."""
        return str(self.hear().text)


@dataclass
class House:
    """One node and its parts."""

    store: Store
    appender: Appender
    relay: LogRelay
    hub: Hub
    engine: InlineEngine
    metrics: Metrics
    workspace: Workspace
    tasks: list[asyncio.Task[None]]
    idle: list[IssueKey] = field(default_factory=list)

    async def join(self, peer: Peer, issue: UUID = ISSUE) -> Room:
        """Let a peer in and sync it."""
        peer.room = await self.hub.join(self.workspace, issue, peer.session)
        peer.sync()
        return peer.room

    def leave(self, peer: Peer) -> None:
        """What a door does when the socket is gone."""
        assert peer.room is not None
        self.hub.leave(peer.room, peer.session)

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(f"syncline_{name}", labels) or 0.0

    async def stop(self) -> None:
        """Stop at once, as a crash does."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    """Let everything happen that needs no time to pass."""
    for _ in range(50):
        await asyncio.sleep(0)


async def start_house(store: Store, limits: HubLimits | None = None, **appender: Any) -> House:
    """A node over `store`."""
    workspace = await store.create_workspace("main", "Main")
    metrics, engine, idle = Metrics(), InlineEngine(), list[IssueKey]()
    queue = Appender(store, **appender)
    relay = LogRelay(store, RelayLimits(), metrics)
    services = HubServices(store, queue, engine, relay, VirtualClock(), metrics, idle.append)
    hub = Hub(services, limits or HubLimits())
    tasks = [asyncio.create_task(work) for work in (queue.run(), relay.run(), hub.run())]
    return House(store, queue, relay, hub, engine, metrics, workspace, tasks, idle)


@asynccontextmanager
async def house(limits: HubLimits | None = None, store: Store | None = None, **appender: Any) -> AsyncIterator[House]:
    """A node for the length of a test."""
    started = await start_house(store or MemoryStore(), limits, **appender)
    try:
        yield started
    finally:
        await started.stop()
