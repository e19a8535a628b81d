"""A node of the simulation, and the sockets on it. It speaks y-websocket, while an oracle reads along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any

from crdt.errors import Refused
from crdt.sync import SyncStep1, SyncStep2, Update
from server.dialects import y_websocket
from server.hub import Hub, HubServices
from server.limits import HubLimits, RelayLimits, RoomLimits
from server.metrics import Metrics
from server.permissions import Identity, Role
from server.relay import LogRelay
from server.room import Room
from server.session import Outcome, Rejected, Session, Stored
from storage.appender import Appender
from storage.compactor import Compactor, CompactorLimits
from storage.engine import IssueKey
from storage.errors import StoreError
from storage.projector import Projector, ProjectorLimits
from storage.store import Store, Workspace
from tests.inline_engine import InlineEngine
from tests.server.house import DIALECT
from tests.simulation.client import Client
from tests.simulation.network import Link
from tests.simulation.oracle import Oracle
from tests.simulation.time import VirtualClock

BUFFERED = 3_000
QUEUED = 20_000
LIMITS = HubLimits(
    idle_timeout=2.0,
    load_timeout=5.0,
    sweep_interval=1.0,
    room=RoomLimits(
        max_waiting_bytes=1_500,
        max_buffered_bytes=BUFFERED,
        behind_timeout=8.0,
        max_inline_bytes=1_500,
        max_inline_update_bytes=300,
        overload_timeout=3.0,
    ),
)


class Node:
    """One server process. `crash` is `kill -9`."""

    def __init__(self, store: Store, seed: int, engine_trouble: Callable[[str, IssueKey], Awaitable[None]]) -> None:
        self.metrics = Metrics()
        clock, engine = VirtualClock(), InlineEngine(engine_trouble)
        self.appender = Appender(store, max_queued_bytes=QUEUED, max_batch_deltas=20, commit_timeout=2.0)
        relay = LogRelay(store, RelayLimits(interval=0.25, page=20, timeout=3.0), self.metrics)
        limits = CompactorLimits(tail_updates=30, idle_updates=5, interval_seconds=3.0, history_days=5 / 86_400)
        compactor = Compactor(store, engine, limits, now=clock.now, random=Random(seed))
        projector = Projector(store, engine, ProjectorLimits(page_deltas=20), now=clock.now, random=Random(seed))
        services = HubServices(
            store, self.appender, engine, relay, clock, self.metrics, compactor.hint, random=Random(seed)
        )
        self.hub = Hub(services, LIMITS)
        running: list[Coroutine[Any, Any, None]] = [
            self.appender.run(),
            relay.run(),
            self.hub.run(),
            compactor.run(),
            projector.run(),
        ]
        self.tasks: list[asyncio.Task[None]] = [asyncio.create_task(work) for work in running]
        self.links: dict[Link, None] = {}

    async def crash(self) -> None:
        """Everything in memory is gone at once, at whatever point it is."""
        for link in list(self.links):
            link.crash()
        for task in (*self.tasks, *self.hub._tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Socket:
    """The ends of one link: its client, and what the y-websocket door makes of the server's side."""

    def __init__(self, oracle: Oracle, node: Node, client: Client, link: Link) -> None:
        self._oracle = oracle
        self._node = node
        self._client = client
        self._link = link
        identity = Identity(client.user, "main", Role.MEMBER)
        self._session = Session(identity, self, DIALECT, client.name)
        self._room: Room | None = None
        self._is_gone = False
        self._early: list[bytes] = []
        node.links[link] = None

    async def join(self, workspace: Workspace) -> None:
        try:
            room = await self._node.hub.join(workspace, self._client.issue, self._session)
        except StoreError:
            self._session.close(1013, "try again")
            return
        if self._is_gone:
            self._node.hub.leave(room, self._session)
            return
        self._room = room
        self._session.send(y_websocket.sync_step1(room.state_vector()))
        for message in self._early:
            self.server_hears(message)

    # What the session sees: a connection on which an oracle reads along.

    def send(self, frame: bytes) -> None:
        match y_websocket.decode(frame):
            case Update(update) | SyncStep2(update):
                self._oracle.tell(self._client.issue, update, self._client.name)
            case _:
                pass
        self._link.send(frame)

    def buffered_bytes(self) -> int:
        return self._link.buffered_bytes()

    def close(self, code: int, reason: str) -> None:
        self._oracle.note(f"close {self._client.name} {code}")
        self._link.close(code, reason)

    def pause_reading(self) -> None:
        self._link.pause_reading()

    def resume_reading(self) -> None:
        self._link.resume_reading()

    # What the link calls.

    def server_hears(self, message: bytes) -> None:
        if self._room is None:
            self._early.append(message)
            return
        try:
            event = y_websocket.decode(message)
        except Refused as refused:
            raise AssertionError(refused) from refused
        match event:
            case Update(update) | SyncStep2(update):
                self._room.submit(self._session, update, lambda outcome: self._receipt(update, outcome))
            case SyncStep1(state_vector):
                self._room.answer(self._session, state_vector)
            case _:
                raise AssertionError(event)

    def server_drained(self) -> None:
        if self._room is not None:
            self._room.drained(self._session)

    def server_closed(self) -> None:
        self._is_gone = self._session.is_closed = True
        self._node.links.pop(self._link, None)
        if self._room is not None:
            self._node.hub.leave(self._room, self._session)
        self._expect_bounded_queue()

    def client_hears(self, frame: bytes) -> None:
        if self._client.link is self._link:
            self._client.hears(frame)

    def client_closed(self, code: int) -> None:
        self._client.closed(self._link, code)

    def _receipt(self, update: bytes, outcome: Outcome) -> None:
        if isinstance(outcome, Rejected):
            self._oracle.blame(f"an honest update of {self._client.name} was refused: {outcome.refused}")
        if isinstance(outcome, Stored):
            self._oracle.acknowledge(self._client.issue, update, self._client.name)

    def _expect_bounded_queue(self) -> None:
        """Law 7: a reader costs its bound and the frame that passed it."""
        document = sum(len(row.update) for row in self._oracle.rows)
        if self._link.largest_backlog > BUFFERED + 2 * max(self._link.largest_frame, 500) + document:
            self._oracle.blame(f"{self._link.largest_backlog} bytes were queued for one reader")
