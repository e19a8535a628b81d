"""All open issues of this node: opened once however many ask, kept while somebody is in them, dropped when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final
from uuid import UUID

import structlog

from crdt.index import Index
from crdt.native import PURGED
from server import close_codes
from server.census import Census
from server.clock import Clock
from server.cold_opens import ColdGround, ColdOpens, Opening
from server.committed import Committed
from server.conflict_desk import ConflictDesk
from server.ground import Ground
from server.limits import HubLimits
from server.metrics import Metrics
from server.relay import LogRelay
from server.room import Room
from server.rota import Rota
from server.session import Session
from storage.appender import Appender
from storage.engine import Engine, EngineFailed, IssueKey
from storage.errors import Purged, StoreUnavailable
from storage.store import Delta, Store, Workspace

_SWEPT_A_TURN: Final = 500  # rooms; half a millisecond


@dataclass(frozen=True, slots=True)
class HubServices:
    """What a hub works with. `on_idle` hears of issues nobody is in any more (a hint for the compactor), `on_conflicts`
    of those with new rows in the ledger. `random`: of waits, so that a simulation can repeat itself."""

    store: Store
    appender: Appender
    engine: Engine
    relay: LogRelay
    clock: Clock
    metrics: Metrics
    on_idle: Callable[[IssueKey], None] = lambda key: None
    on_conflicts: Callable[[IssueKey], None] = lambda key: None
    random: Random = field(default_factory=Random)


class Hub:
    """Rooms by issue. `run` must be running: it expires presence and drops what is idle."""

    def __init__(self, services: HubServices, limits: HubLimits) -> None:
        self._store = services.store
        self._relay = services.relay
        self._clock = services.clock
        self._metrics = services.metrics
        self._on_idle = services.on_idle
        self._limits = limits
        self._rooms: dict[IssueKey, Room] = {}
        self._openings: dict[IssueKey, Opening] = {}
        self._leaving: dict[IssueKey, Room] = {}  # closed with a commit in flight
        self._idle: dict[IssueKey, float] = {}  # since when; least recently used first
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order they began: a set's is that of addresses
        self._changed = asyncio.Event()  # some room settled
        self._is_draining = False
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger()
        self._census = Census(services.store, services.clock, limits.max_workspace_issues, self._spawn)
        self._ground = Ground(
            appender=services.appender,
            rota=Rota(),
            engine=services.engine,
            limits=limits.room,
            clock=services.clock,
            metrics=services.metrics,
            conflicts=ConflictDesk(
                services.store.ledger, services.metrics, self._spawn, services.on_conflicts, services.random
            ),
            spawn=self._spawn,
            catch_up=services.relay.catch_up,
            committed=services.relay.committed,
            quarantine=self._quarantine,
            settled=self._settled,
            may_begin=self._census.may_begin,
            begun=self._census.begun,
            closed=self._closed,
        )
        self._cold_opens = ColdOpens(
            ColdGround(
                store=services.store,
                engine=services.engine,
                limits=limits,
                follow=services.relay.follow,
                spawn=self._spawn,
                quarantine=self._quarantine,
                count=self._census.refresh,
                opened=self._opened,
                failed=self._failed,
            )
        )
        services.relay.deliver_to(self._feed)

    @property
    def rooms(self) -> Sequence[Room]:
        """The open ones."""
        return list(self._rooms.values())

    async def join(self, workspace: Workspace, issue_id: UUID, session: Session) -> Room:
        """Enter an issue's room, opening it if need be.

        Raises `StoreUnavailable` or another `StoreError` when the issue cannot be opened; nothing is ever served in its
        place. Where the reason is ours (full, shutting down) or final (purged) the session is closed with the right
        code already.
        """
        key = IssueKey(workspace.id, issue_id)
        while True:
            self._expect_open(session)
            room = self._rooms.get(key)
            if room is not None:
                self._enter(room, session)
                return room
            opening = self._openings.get(key)
            if opening is None:
                self._make_room(session)
                opening = self._open(workspace, key)
            waiter = self._loop.create_future()
            opening.waiters.append(waiter)
            try:
                await waiter  # its own: whoever gives up does not end the load of the others
            except Purged:
                session.close(close_codes.GONE, PURGED)
                raise

    async def version(self, room: Room) -> tuple[int, int]:
        """The version of a room's issue and its newest seq, which is in the room with all before it, unless there is a
        newer one by now. Raises `StoreError`."""
        version, seq = await self._store.version(room.key.workspace_id, room.key.issue_id)
        if room.seq < seq or not self._relay.is_through(room.key.workspace_id, seq):
            await self._relay.catch_up(room.key.workspace_id)
        return version, seq

    def leave(self, room: Room, session: Session) -> None:
        """A session has ended. Calling it again changes nothing."""
        room.leave(session)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._limits.sweep_interval)
            try:
                await self._sweep()
            except Exception:  # noqa: BLE001 -- a top loop: one bad sweep must not be the last
                self._metrics.loop_failures.labels("hub sweep").inc()
                self._log.exception("sweep failed")

    async def drain(self, reason: str, *, timeout: float) -> None:  # noqa: ASYNC109 -- what comes after it must happen
        """Let nobody in, commit what is here within `timeout` seconds, close every session with 1012."""
        self._is_draining = True
        for opening in list(self._openings.values()):
            self._end(opening, None)
        for room in self._rooms.values():
            room.seal()
        try:
            async with asyncio.timeout(timeout):
                await self._until_settled()
        except TimeoutError:
            self._log.warning("not everything was committed", reason=reason)
        for room in self.rooms:
            room.close(close_codes.RESTART, reason)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_settled(self) -> None:
        while not all(room.is_settled for room in [*self._rooms.values(), *self._leaving.values()]):
            self._changed.clear()
            await self._changed.wait()

    # Joining.

    def _expect_open(self, session: Session) -> None:
        if self._is_draining:
            session.close(close_codes.RESTART, "server restart")
            raise StoreUnavailable("the server is shutting down")

    def _enter(self, room: Room, session: Session) -> None:
        if room.session_count >= self._limits.room.max_sessions:
            session.close(close_codes.TRY_LATER, "too many sessions")
            raise StoreUnavailable(f"{room.session_count} sessions in {room.key} already")
        self._idle.pop(room.key, None)
        room.enter(session)

    def _make_room(self, session: Session) -> None:
        while len(self._rooms) + len(self._openings) >= self._limits.max_rooms:
            if not self._idle:
                session.close(close_codes.TRY_LATER, "too many open issues")
                raise StoreUnavailable(f"{len(self._rooms)} issues are open already")
            self._evict(next(iter(self._idle)))

    def _open(self, workspace: Workspace, key: IssueKey) -> Opening:
        deadline = self._loop.call_later(self._limits.load_timeout, self._lose_patience, key)
        opening = self._openings[key] = Opening(workspace, key, self._clock.monotonic(), deadline)
        if key not in self._leaving:  # else its last commit may still land: reading before it does would lose it
            self._cold_opens.ask(opening)
        return opening

    def _lose_patience(self, key: IssueKey) -> None:
        late = StoreUnavailable(f"{key} was not loaded within {self._limits.load_timeout:g} s")
        self._failed(self._openings[key], late)

    def _opened(self, opening: Opening, updates: Sequence[bytes], index: Index, seq: int) -> None:
        if opening.is_over:
            return
        key = opening.key
        committed = Committed(updates, dict(index.state_vector), self._limits.room.max_inline_bytes)
        room = Room(key, index, committed, seq, self._ground)
        self._rooms[key] = room
        self._idle[key] = now = self._clock.monotonic()  # until somebody enters
        self._metrics.rooms.set(len(self._rooms))
        self._metrics.loads.labels("opened").inc()
        self._metrics.load_seconds.observe(now - opening.started)
        self._end(opening, None)
        room.feed(opening.missed)

    def _failed(self, opening: Opening, error: Exception) -> None:
        if not opening.is_over:
            self._metrics.loads.labels("failed").inc()
            self._end(opening, error)

    def _end(self, opening: Opening, error: Exception | None) -> None:
        del self._openings[opening.key]
        opening.end(error)

    # What rooms and the relay tell.

    def _feed(self, deltas: Sequence[Delta]) -> None:
        by_issue: dict[IssueKey, list[Delta]] = {}
        for delta in deltas:
            by_issue.setdefault(IssueKey(delta.workspace_id, delta.issue_id), []).append(delta)
        for key, news in by_issue.items():
            room = self._rooms.get(key)
            if room is not None:
                room.feed(news)
            elif key in self._openings:
                self._openings[key].missed.extend(news)

    def _settled(self, key: IssueKey) -> None:
        self._changed.set()
        room = self._rooms.get(key)
        if room is not None:
            if room.is_idle:
                self._idle.pop(key, None)
                self._idle[key] = self._clock.monotonic()
                if not room.session_count:
                    self._on_idle(key)
        elif key in self._leaving and self._leaving[key].is_settled:
            del self._leaving[key]
            if key in self._openings:
                self._cold_opens.ask(self._openings[key])

    def _closed(self, key: IssueKey) -> None:
        room = self._rooms.pop(key)
        self._idle.pop(key, None)
        self._metrics.rooms.set(len(self._rooms))
        if not room.is_settled:
            self._leaving[key] = room
        self._changed.set()

    def _quarantine(self, failure: EngineFailed) -> None:
        self._spawn(self._save_quarantine(failure))

    async def _save_quarantine(self, failure: EngineFailed) -> None:
        key = failure.key
        self._metrics.quarantines.inc()
        self._log.error("quarantined", workspace=key.workspace_id, issue=str(key.issue_id), reason=failure.reason)
        await self._store.quarantine(key.workspace_id, key.issue_id, failure.reason)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._metrics.loop_failures.labels("room task").inc()
            self._log.error("room task failed", exc_info=error)

    # Sweeping.

    async def _sweep(self) -> None:
        resident_bytes = 0
        for number, room in enumerate(self.rooms, start=1):
            room.expire_presence()
            resident_bytes += room.size_bytes
            if number % _SWEPT_A_TURN == 0:
                await asyncio.sleep(0)
        now = self._clock.monotonic()
        for key, since in list(self._idle.items()):
            if now - since < self._limits.idle_timeout and resident_bytes <= self._limits.max_resident_bytes:
                break
            resident_bytes -= self._evict(key)
        self._metrics.resident_bytes.set(resident_bytes)
        used = {key.workspace_id for key in (*self._rooms, *self._openings)}
        self._relay.keep_only(used)

    def _evict(self, key: IssueKey) -> int:
        """Drop an idle room; nothing needs saving. Returns the bytes it held."""
        del self._idle[key]
        room = self._rooms[key]
        if not room.is_idle:  # something one of its last sessions sent is still on its way
            return 0
        self._metrics.evictions.inc()
        room.close(close_codes.RESTART, "idle")
        return room.size_bytes
