"""`GET /yjs/{workspace}/{issue}`: one issue a socket, in the y-websocket dialect, for unmodified y-protocols clients.

A socket is accepted before it is judged, because a close code is all that such a client understands: 44xx ends its
attempts, everything else brings it back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, assert_never
from uuid import UUID

import structlog

from crdt.errors import Refused
from crdt.sync import SyncStep1, SyncStep2, Update
from server import close_codes
from server.auth import IdentityUnavailable, NotAllowed, TokenRefused
from server.clock import Clock
from server.dialects import y_websocket
from server.dialects.y_websocket import AwarenessUpdate, Event, QueryAwareness
from server.doors.credentials import presented
from server.doors.edit_pace import EditPace
from server.hub import Hub
from server.metrics import Metrics
from server.permissions import Identity
from server.room import Room
from server.session import Dialect, Session
from server.visits import Guest, Visit, Visits
from server.websocket import Handshake, PacedConnection, Peer
from storage.errors import StoreError
from storage.store import Store, Workspace

log = structlog.get_logger()

PREFIX: Final = "/yjs/"
NOBODY: Final = b"\x00"  # an awareness update of no clients
DIALECT: Final = Dialect(y_websocket.sync_step1, y_websocket.sync_step2, y_websocket.update, y_websocket.awareness)


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Bounds of one socket here. `waiting`: what arrives before its issue is open."""

    max_waiting_messages: int = 1_000
    max_waiting_bytes: int = 20 * 1024 * 1024
    keep_alive_seconds: float = 20.0
    edits: EditPace = field(default_factory=EditPace)


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names."""

    workspace: str
    issue_id: UUID

    @classmethod
    def of(cls, path: str) -> Address | None:
        """None unless it is `/yjs/{workspace}/{issue}` with the issue in the usual form of a UUID."""
        workspace, _, issue = path.removeprefix(PREFIX).partition("/")
        try:
            issue_id = UUID(issue)
        except ValueError:
            return None
        return cls(workspace, issue_id) if workspace and str(issue_id) == issue.lower() else None


@dataclass(frozen=True, slots=True)
class YjsServices:
    """What the door works with."""

    hub: Hub
    store: Store
    visits: Visits
    clock: Clock
    metrics: Metrics


class YjsDoor:
    """Makes a peer of every socket under `/yjs/`. `tasks` owns the joins that are under way."""

    def __init__(self, services: YjsServices, limits: DoorLimits, tasks: asyncio.TaskGroup) -> None:
        self.services = services
        self.limits = limits
        self._tasks = tasks
        self._joins: set[asyncio.Task[None]] = set()
        self._workspaces: dict[str, Workspace] = {}  # as many as the store has; none is ever removed or renamed

    def __call__(self, handshake: Handshake, connection: PacedConnection) -> Peer:
        """A `server.websocket.Door`."""
        address = Address.of(handshake.path)
        if address is None:
            return self._turn_away(connection, close_codes.NOT_FOUND, "not an issue's address")
        peer = YjsPeer(self, address, handshake, connection)
        join = self._tasks.create_task(peer.join(), name="yjs join")
        self._joins.add(join)
        join.add_done_callback(self._joins.discard)
        return peer

    def close(self) -> None:
        """Give up the joins that are under way."""
        for join in self._joins:
            join.cancel()

    async def workspace(self, slug: str) -> Workspace | None:
        """The workspace of that slug. Raises `StoreUnavailable`."""
        known = self._workspaces.get(slug)
        if known is None:
            known = await self.services.store.workspace(slug)
            if known is not None:
                self._workspaces[slug] = known
        return known

    def _turn_away(self, connection: PacedConnection, code: int, reason: str) -> Peer:
        self.services.metrics.refusals.labels(f"close_{code}").inc()
        connection.close(code, reason)
        return TurnedAway()


class TurnedAway:
    """The peer of a socket that was closed at the door."""

    def received(self, message: bytes) -> None:
        """Nothing is read from it."""

    def drained(self) -> None:
        """Nothing is sent to it."""

    def closed(self, code: int) -> None:
        """Nothing was held for it."""


class YjsPeer:
    """One client of one issue: waiting for its room, in it, or gone."""

    def __init__(self, door: YjsDoor, address: Address, handshake: Handshake, connection: PacedConnection) -> None:
        self._door = door
        self._address = address
        self._handshake = handshake
        self._connection = connection
        self._visit: Visit | None = None
        self._session: Session | None = None  # of somebody who is known
        self._room: Room | None = None
        self._is_gone = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._keep_alive_timer: asyncio.TimerHandle | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None

    async def join(self) -> None:
        """Ask who it is, open the issue, then hear what was said meanwhile. Every failure ends in a close code."""
        try:
            await self._join()
        except TokenRefused as refused:
            self._turn_away(close_codes.UNAUTHORIZED, str(refused))
        except NotAllowed as refused:
            self._turn_away(close_codes.NOT_ALLOWED, str(refused))
        except (StoreError, IdentityUnavailable) as error:
            log.warning("join failed", issue=str(self._address.issue_id), reason=str(error))
            self._close(close_codes.TRY_LATER, "try again later")
        except Exception as error:
            self._door.services.metrics.loop_failures.labels("yjs join").inc()
            log.exception("join failed", issue=str(self._address.issue_id), reason=type(error).__name__)
            self._close(close_codes.INTERNAL_ERROR, "internal error")

    def received(self, message: bytes) -> None:
        """See `Peer.received`."""
        room, session = self._room, self._session
        if room is None or session is None:
            self._wait(message)
        elif (update := y_websocket.short_update(message)) is not None:
            self._submit(room, session, update)
        else:
            self._hear(room, session, message)

    def drained(self) -> None:
        """See `Peer.drained`."""
        if self._room is not None and self._session is not None:
            self._room.drained(self._session)

    def closed(self, code: int) -> None:
        """See `Peer.closed`."""
        self._is_gone = True
        self._waiting.clear()
        for timer in (self._keep_alive_timer, self._expiry_timer):
            if timer is not None:
                timer.cancel()
        if self._visit is not None:
            if close_codes.is_offence(code):
                self._visit.offended()
            self._visit.leave()
        if self._session is not None:
            self._session.is_closed = True
            if self._room is not None:
                self._door.services.hub.leave(self._room, self._session)

    async def _join(self) -> None:
        services = self._door.services
        guest = Guest("yjs", self._changed, self._revoked)
        visit = self._visit = await services.visits.enter(presented(self._handshake), self._address.workspace, guest)
        self._connection.known()
        if self._is_gone:
            visit.leave()
        workspace = await self._door.workspace(self._address.workspace)
        if workspace is None:
            self._close(close_codes.NOT_FOUND, "unknown workspace")
            return
        session = self._session = Session(visit.identity, self._connection, DIALECT, self._handshake.client)
        session.on_refused = visit.refused
        room = await services.hub.join(workspace, self._address.issue_id, session)
        if self._is_gone:
            services.hub.leave(room, session)
        else:
            self._enter(room, session)

    def _changed(self, identity: Identity) -> None:
        """What the user may from now on."""
        if self._session is not None:
            self._session.renew(identity)

    def _revoked(self, reason: str) -> None:
        """Nothing more is taken in."""
        if self._session is not None:
            self._session.is_dismissed = True
        self._turn_away(close_codes.UNAUTHORIZED, reason)

    def _turn_away(self, code: int, reason: str) -> None:
        log.info("token refused", reason=reason, client=self._handshake.client)
        self._door.services.metrics.refusals.labels(f"close_{code}").inc()
        self._close(code, reason)

    def _close(self, code: int, reason: str) -> None:
        if self._session is not None:
            self._session.close(code, reason)
        else:
            self._waiting.clear()
            self._connection.close(code, reason)

    def _enter(self, room: Room, session: Session) -> None:
        self._room = room
        session.send(y_websocket.sync_step1(room.state_vector()))
        self._send_presence(room, session)
        self._keep_alive_timer = self._loop.call_later(self._door.limits.keep_alive_seconds, self._keep_alive, session)
        self._end_with_the_token(session)
        self._connection.resume_reading()  # first: the room may have reasons of its own to pause
        while self._waiting and not session.is_closed:
            self._hear(room, session, self._waiting.popleft())

    def _wait(self, message: bytes) -> None:
        """What comes before the room is open is kept; reading pauses, so little more comes than was under way, of
        somebody who is not known yet next to nothing."""
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        limits = self._door.limits
        if len(self._waiting) > limits.max_waiting_messages or self._waiting_bytes > limits.max_waiting_bytes:
            self._waiting.clear()
            self._close(close_codes.TRY_LATER, "too much before the issue was open")
        elif self._session is None or self._is_half_full(limits):
            self._connection.pause_reading()

    def _is_half_full(self, limits: DoorLimits) -> bool:
        is_long = 2 * len(self._waiting) > limits.max_waiting_messages
        return is_long or 2 * self._waiting_bytes > limits.max_waiting_bytes

    def _hear(self, room: Room, session: Session, message: bytes) -> None:
        try:
            self._do(room, session, y_websocket.decode(message))
        except Refused as refused:
            self._door.services.metrics.refusals.labels(refused.reason).inc()
            log.info("message refused", issue=str(self._address.issue_id), reason=refused.reason, detail=refused.detail)
            if self._visit is not None:
                self._visit.refused(refused.reason)
            session.refuse(refused)

    def _do(self, room: Room, session: Session, event: Event) -> None:
        match event:
            case Update(update) | SyncStep2(update):
                self._submit(room, session, update)
            case AwarenessUpdate(update):
                room.present(session, update)
            case SyncStep1(state_vector):
                room.answer(session, state_vector)
            case QueryAwareness():
                self._send_presence(room, session)
            case _:
                assert_never(event)

    def _submit(self, room: Room, session: Session, update: bytes) -> None:
        """It is taken in, whatever its user owes."""
        room.submit(session, update)
        owed = 0.0 if self._visit is None else self._visit.edited(1)
        if owed > 0:
            self._door.limits.edits.keep(owed, self._connection.slow_down, self._close, self._door.services.metrics)

    def _send_presence(self, room: Room, session: Session) -> None:
        known = room.awareness_update()
        if known != NOBODY:
            session.send(y_websocket.awareness(known))

    def _keep_alive(self, session: Session) -> None:
        """y-websocket reconnects after 30 s without a message, and WebSocket pings do not count as one.

        A connection with unsent bytes needs no more of them.
        """
        if not session.connection.buffered_bytes():
            session.send(y_websocket.KEEP_ALIVE)
        self._keep_alive_timer = self._loop.call_later(self._door.limits.keep_alive_seconds, self._keep_alive, session)

    def _end_with_the_token(self, session: Session) -> None:
        expires_at = session.identity.expires_at
        if expires_at is not None:
            seconds_left = (expires_at - self._door.services.clock.now()).total_seconds()
            self._expiry_timer = self._loop.call_later(
                seconds_left, session.close, close_codes.UNAUTHORIZED, "token expired"
            )
