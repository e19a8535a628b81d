"""A server process of the simulation with the native door, and an onlooker who reads along on every socket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from uuid import UUID

import pytest

from crdt import native
from crdt.native_codec import decode_client, decode_server
from crdt.native_entries import read_entries
from server.auth import Credentials, TokenRefused
from server.doors.native.door import NativeDoor
from server.doors.native.ground import NativeServices
from server.doors.native.limits import NativeLimits
from server.feed import FeedLimits
from server.feed_readers import PageLimits
from server.feeds import Feeds
from server.hub import Hub, HubServices
from server.limits import HubLimits, RelayLimits
from server.metrics import Metrics
from server.permissions import Identity, Role
from server.relay import LogRelay
from server.visits import Visits
from server.websocket import Handshake, Peer
from storage.appender import Appender, CommitStats
from storage.backoff import Backoff
from storage.compactor import Compactor, CompactorLimits
from storage.engine import IssueKey
from storage.projector import Projector, ProjectorLimits
from storage.store import Store
from tests.inline_engine import InlineEngine
from tests.simulation.device import Socket
from tests.simulation.network import Link
from tests.simulation.oracle import Oracle
from tests.simulation.time import VirtualClock

PATH = "/v1/workspaces/main/sync"
HIGH_WATER = 20_000
HISTORY_SECONDS = 60.0
FEED = FeedLimits(interval_seconds=1.0, page=PageLimits(deltas=100, bytes=20_000))
DOOR = NativeLimits(full_bytes=HIGH_WATER, push_entries=20, push_bytes=20_000)
HUB = HubLimits(idle_timeout=5.0, load_timeout=5.0, sweep_interval=2.0)
COMPACTION = CompactorLimits(
    tail_updates=50, idle_updates=20, interval_seconds=10.0, history_days=HISTORY_SECONDS / 86_400
)

_PASSING = frozenset({native.RETRY, native.GAP})  # refusals that an honest client may meet
_LOOPS = ("room turn", "room publish", "room check", "room feed", "room task", "relay", "hub sweep", "native", "feed")


class NativeOracle(Oracle):
    """See `Oracle`. `acks`: (seq, issue, update) of everything that was promised."""

    def __init__(self) -> None:
        super().__init__()
        self.acks: list[tuple[int, UUID, bytes]] = []
        self.resets: list[str] = []

    def note(self, what: str, data: bytes = b"") -> None:
        """See `Oracle.note`. The sizes are what two runs share: pycrdt writes the keys of a map in any order."""
        super().note(f"{what} {len(data)}")

    def tell_all(self, issue: UUID, update: bytes) -> None:
        """`tell`, for what goes to many."""
        self.told += 1
        self._expect_committed(issue, update, "a device was told what is not committed")

    def promise(self, issue: UUID, update: bytes, seq: int, who: str) -> None:
        """A node says that an update is committed at a seq or below."""
        self.acknowledge(issue, update, who)
        self.acks.append((seq, issue, update))
        if seq > len(self.rows):
            self.blame(f"{who} was acked at seq {seq} of {len(self.rows)}")


class Line:
    """One socket, both ends: the client's, and the server's with a reader between door and network."""

    def __init__(self, oracle: NativeOracle, link: Link, who: str) -> None:
        self.client = Socket(link)
        self._oracle = oracle
        self._link = link
        self._who = who
        self._peer: Peer | None = None
        self._pushed: dict[int, native.PushEntry] = {}
        self._cursor: int | None = None
        link.ends = self

    def answer(self, node: NativeNode) -> None:
        """The node takes the call."""
        node.links[self._link] = None
        self._node = node
        self._peer = node.door(Handshake(PATH, {}, {}, self._who), self)

    # `Connection`, as the door sees it.

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        self._read_along(decode_server(frame))
        self._link.send(frame)

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`."""
        return self._link.buffered_bytes()

    def close(self, code: int, reason: str) -> None:
        """See `Connection.close`."""
        self._oracle.note(f"close {self._who} {code}")
        self._link.close(code, reason)

    def slow_down(self, seconds: float) -> None:
        """See `PacedConnection.slow_down`; nobody here is too fast."""
        assert seconds <= 0

    def pause_reading(self) -> None:
        """See `Connection.pause_reading`."""
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """See `Connection.resume_reading`."""
        self._link.resume_reading()

    def known(self) -> None:
        """See `PacedConnection.known`."""

    # `Ends`, as the network sees them.

    def client_hears(self, frame: bytes) -> None:
        """See `Ends.client_hears`."""
        self.client.hears(frame)

    def client_closed(self, code: int) -> None:
        """See `Ends.client_closed`."""
        self.client.ended(code)

    def server_hears(self, message: bytes) -> None:
        """See `Ends.server_hears`."""
        match decode_client(message):
            case native.Hello(cursor=cursor):
                self._cursor = cursor
            case native.Push(entries):
                self._pushed |= {entry.client_seq: entry for entry in entries}
            case _:
                pass
        self._door_side.received(message)

    def server_drained(self) -> None:
        """See `Ends.server_drained`."""
        self._door_side.drained()

    def server_closed(self) -> None:
        """See `Ends.server_closed`."""
        self._node.links.pop(self._link, None)
        self._door_side.closed(1006)

    @property
    def _door_side(self) -> Peer:
        assert self._peer is not None
        return self._peer

    # Reading along.

    def _read_along(self, frame: native.ServerFrame) -> None:
        match frame:
            case native.Page():
                self._expect_at(frame.from_seq, frame)
                self._cursor = frame.to_seq
                self._read_body(frame.body, frame.is_packed)
            case native.Reset(reason=reason):
                self._oracle.resets.append(reason)
                self._cursor = None
            case native.Reload():
                self._read_body(frame.body, frame.is_packed)
                if frame.until is None:
                    self._cursor = frame.base
            case native.State(issue, update) | native.Delta(issue, update):
                self._oracle.tell_all(issue, update)
            case native.Ack(acked):
                for client_seq, seq in acked:
                    entry = self._pushed.pop(client_seq)
                    self._oracle.promise(entry.issue, entry.update, seq, self._who)
            case native.Nack(code=code) | native.Refusal(code=code) | native.Closed(code=code):
                self._oracle.note(f"{self._who} {code}")
                if code not in _PASSING and not self._link.has_lost_client:  # its hello may be lost with the line
                    self._oracle.blame(f"{self._who} is honest, and hears {frame}")
            case _:
                pass

    def _expect_at(self, cursor: int, page: native.Page) -> None:
        if self._cursor != cursor:
            self._oracle.blame(f"{self._who} is at {self._cursor} and gets {page.from_seq} to {page.to_seq}")

    def _read_body(self, body: bytes, is_packed: bool) -> None:
        for entry in read_entries(body, is_packed):
            self._oracle.tell_all(entry.issue, entry.payload)


class NativeNode:
    """One server process. `crash` is `kill -9`."""

    door: NativeDoor

    def __init__(self, store: Store, seed: int, engine_trouble: Callable[[str, IssueKey], Awaitable[None]]) -> None:
        self.metrics = Metrics()
        self.links: dict[Link, None] = {}
        clock, engine = VirtualClock(), InlineEngine(engine_trouble)
        self._store = store
        self._clock = clock
        self._appender = Appender(store, max_queued_bytes=50_000, commit_timeout=2.0, on_commit=self._committed)
        self._relay = LogRelay(store, RelayLimits(interval=0.25, page=100, timeout=3.0), self.metrics)
        self._feeds = Feeds(store, FEED, self.metrics)
        self._compactor = Compactor(store, engine, COMPACTION, now=clock.now, random=Random(seed))
        self._projector = Projector(store, engine, ProjectorLimits(), now=clock.now, random=Random(seed))
        hint, random = self._compactor.hint, Random(seed)
        services = HubServices(store, self._appender, engine, self._relay, clock, self.metrics, hint, random=random)
        self._hub = Hub(services, HUB)
        self._started = asyncio.Event()
        self._running = asyncio.create_task(self._run())

    async def start(self) -> None:
        """Until it takes calls."""
        await self._started.wait()

    async def crash(self) -> None:
        """Everything in memory is gone at once, at whatever point it is."""
        for link in list(self.links):
            link.crash()
        for task in (self._running, *self._hub._tasks):
            task.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._feeds.close()

    def defects(self) -> list[str]:
        """Loops of the server that met an error nobody had thought of."""
        count = self.metrics.registry.get_sample_value
        return [loop for loop in _LOOPS if count("syncline_loop_failures_total", {"loop": loop})]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            services = NativeServices(
                self._hub, self._store, self._feeds, Visits(_verify, self._clock), self._clock, self.metrics
            )
            self.door = NativeDoor(services, DOOR, tasks)
            for part in (self._appender, self._relay, self._hub, self._compactor, self._projector):
                tasks.create_task(part.run())
            self._started.set()
            await asyncio.Event().wait()

    def _committed(self, stats: CommitStats) -> None:
        self._feeds.wake(stats.workspace_ids)
        self._projector.wake()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Feeds that fail wait for as long as the seed says, so that a seed is a run."""
    seeded = partial(Backoff, random=Random(seed))
    with pytest.MonkeyPatch.context() as replace:
        replace.setattr("server.feed.Backoff", seeded)
        replace.setattr("server.follower.Backoff", seeded)
        yield


async def _verify(credentials: Credentials, _workspace: str | None) -> Identity:
    """Any token made by `tests.simulation.device.token_of`."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(credentials.token.split(".")[1] + "=="))
        return Identity(claims["sub"], "main", Role.MEMBER)
    except (ValueError, LookupError) as error:
        raise TokenRefused(str(error)) from error
