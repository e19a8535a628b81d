"""One client of the native protocol: waiting for its hello, being greeted, served, or gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final, assert_never
from uuid import uuid4

import structlog

from crdt import native
from crdt.errors import FORBIDDEN, MALFORMED, TOO_LARGE, Refused
from crdt.native import (
    Awareness,
    ClientFrame,
    Close,
    Follow,
    Frame,
    Hello,
    Notice,
    Open,
    Ping,
    Pong,
    Push,
    PushEntry,
    Refusal,
    Renew,
    Welcome,
)
from crdt.native_codec import FrameLimits, decode_client, encode
from server import close_codes
from server.auth import IdentityUnavailable, NotAllowed, TokenRefused
from server.conflict_feed import ConflictFollower
from server.doors.credentials import presented
from server.doors.native.ground import NativeGround
from server.doors.native.issues import Issues, Socket
from server.follower import Follower, Place
from server.permissions import Identity
from server.visits import Guest, Visit
from server.websocket import Handshake, PacedConnection
from storage.errors import StoreError
from storage.store import Workspace

log = structlog.get_logger()

_CLOSE_CODES: Final = {
    native.UNAUTHORIZED: close_codes.UNAUTHORIZED,
    FORBIDDEN: close_codes.NOT_ALLOWED,
    native.NOT_FOUND: close_codes.NOT_FOUND,
    native.TIMEOUT: close_codes.TOO_SLOW,
    TOO_LARGE: close_codes.TOO_MUCH,
    native.WINDOW: close_codes.TOO_MUCH,
    native.TOO_FAST: close_codes.TOO_FAST,
    native.RETRY: close_codes.TRY_LATER,
    native.INTERNAL: close_codes.INTERNAL_ERROR,
}


@dataclass(slots=True)
class _Served:
    """What a client has once it is welcome."""

    identity: Identity
    workspace: Workspace
    issues: Issues
    follower: Follower | None = None
    is_following_conflicts: bool = False
    conflicts: ConflictFollower | None = None


class NativePeer:
    """See `server.websocket.Peer`. `gone` hears of its end."""

    def __init__(
        self,
        ground: NativeGround,
        workspace: str,
        handshake: Handshake,
        connection: PacedConnection,
        gone: Callable[[NativePeer], None],
    ) -> None:
        self._ground = ground
        self._services = ground.services
        self._slug = workspace
        self._credentials = presented(handshake)
        self._visit: Visit | None = None
        self._connection = connection
        self._told_gone = gone
        self._name = uuid4().hex[:16]
        self._loop = asyncio.get_running_loop()
        self._frame_limits = FrameLimits(ground.limits.frame_bytes)
        self._is_greeted = False
        self._served: _Served | None = None
        self._is_over = False
        self._is_slowed = False  # because of its edits
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer = self._loop.call_later(
            ground.limits.hello_seconds, self._refuse, Refused(native.TIMEOUT, "no hello came")
        )

    # `Peer`.

    def received(self, message: bytes) -> None:
        """See `Peer.received`."""
        if self._is_over:
            return
        if self._is_greeted and self._served is None:
            self._wait(message)
            return
        try:
            self._hear(decode_client(message, self._frame_limits))
        except Refused as refused:
            self._refuse(refused)

    def drained(self) -> None:
        """See `Peer.drained`. Open issues first: the feed is as long as the log."""
        if self._served is not None:
            self._served.issues.drained()
            for follower in (self._served.follower, self._served.conflicts):
                if follower is not None:
                    follower.drained()

    def closed(self, code: int) -> None:
        """See `Peer.closed`."""
        if self._visit is not None and close_codes.is_offence(code):
            self._visit.offended()
        self._end()
        self._told_gone(self)

    def tell(self, kind: str, value: str) -> None:
        """A notice, once the client is welcome."""
        if self._served is not None:
            self._send(Notice(kind, value))

    # Frames.

    def _hear(self, frame: ClientFrame) -> None:
        served = self._served
        if served is None:
            if not isinstance(frame, Hello):
                raise Refused(native.UNEXPECTED, "hello comes first")
            self._greet(frame)
            return
        match frame:
            case Push() | Awareness() | Open() | Close():
                self._hear_of_issues(served, frame)
            case Follow():
                self._follow_conflicts(served, frame)
            case Ping(number):
                self._send(Pong(number))
            case Pong():
                pass
            case Renew(token):
                self._spawn(partial(self._renew, token))
            case Hello():
                raise Refused(native.UNEXPECTED, "a second hello")
            case _:
                assert_never(frame)

    def _hear_of_issues(self, served: _Served, frame: Push | Awareness | Open | Close) -> None:
        match frame:
            case Push(entries):
                self._push(served, entries)
            case Awareness(issue, update):
                served.issues.present(issue, update)
            case Open(issue, state_vector):
                served.issues.open(issue, state_vector, served.identity)
            case Close(issue):
                served.issues.close(issue)

    def _push(self, served: _Served, entries: tuple[PushEntry, ...]) -> None:
        """Whose user is over their rate is read from later; over that too, they are put off."""
        most = self._ground.limits.edit_delay_seconds
        if self._is_slowed and (owed := self._owed(0)) > most:
            self._services.metrics.refusals.labels(native.TOO_FAST).inc(len(entries))
            served.issues.put_off(entries, ceil(owed))
            return
        for entry in entries:
            served.issues.push(entry, served.identity)
        owed = self._owed(len(entries))
        self._is_slowed = owed > 0
        self._connection.slow_down(min(owed, most))

    def _owed(self, edits: int) -> float:
        return 0.0 if self._visit is None else self._visit.edited(edits)

    def _wait(self, message: bytes) -> None:
        """What comes before the welcome is kept; reading pauses, so little more comes than was under way."""
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        limits = self._ground.limits
        if len(self._waiting) > limits.waiting_messages or self._waiting_bytes > limits.waiting_bytes:
            self._refuse(Refused(TOO_LARGE, "too much before the welcome"))
        elif 2 * len(self._waiting) > limits.waiting_messages or 2 * self._waiting_bytes > limits.waiting_bytes:
            self._connection.pause_reading()

    # Hello and tokens.

    def _greet(self, hello: Hello) -> None:
        if hello.device_id is not None and not (hello.device_id and hello.device_id.isprintable()):
            raise Refused(MALFORMED, "not a name for a device")  # it is stored, and NUL cannot be
        self._is_greeted = True
        self._timer.cancel()
        self._spawn(partial(self._welcome, hello))

    async def _welcome(self, hello: Hello) -> None:
        try:
            identity = await self._identify(hello.token or self._credentials.token, hello.device_id)
            now = await self._services.store.workspace(self._slug)
        except StoreError as error:
            log.warning("not welcomed", session=self._name, reason=str(error))
            self._refuse(Refused(native.RETRY, "try again later"))
            return
        if now is None:
            self._refuse(Refused(native.NOT_FOUND, "unknown workspace"))
            return
        log.debug("welcome", workspace=now.id, session=self._name, client=hello.client, mode=hello.mode)
        served = self._serve(identity, now)
        if hello.mode != native.OFF:
            self._spawn(partial(self._follow, served, hello, now))
        self._connection.resume_reading()  # first: the rooms may have reasons of their own to pause
        while self._waiting and not self._is_over:
            self.received(self._waiting.popleft())

    def _serve(self, identity: Identity, now: Workspace) -> _Served:
        issues = Issues(
            self._name, now, Socket(self._connection, self._send, self._spawn, self._note_refusal), self._ground
        )
        served = self._served = _Served(identity, now, issues)
        time_ms = int(self._services.clock.now().timestamp() * 1000)
        limits = self._ground.limits.announced()
        self._send(Welcome(self._name, now.epoch, now.head, now.floor, identity.role.value, limits, time_ms))
        self._end_with_the_token(identity)
        return served

    async def _follow(self, served: _Served, hello: Hello, now: Workspace) -> None:
        metrics = self._services.metrics
        metrics.followers.inc()
        try:
            async with self._services.feeds.following(now, hello.mode) as feed:
                served.follower = Follower(feed, self._connection, self._ground.limits.full_bytes, metrics)
                await served.follower.run(Place(hello.epoch, hello.cursor, hello.reload), now)
        except (StoreError, TimeoutError) as error:
            log.warning("feed not opened", session=self._name, reason=str(error))
            self._refuse(Refused(native.RETRY, "try again later"))
        finally:
            metrics.followers.dec()

    def _follow_conflicts(self, served: _Served, follow: Follow) -> None:
        if served.is_following_conflicts:
            raise Refused(native.UNEXPECTED, "a second follow")
        served.is_following_conflicts = True
        self._spawn(partial(self._tell_conflicts, served, Place(follow.epoch, follow.since)))

    async def _tell_conflicts(self, served: _Served, place: Place) -> None:
        services = self._services
        try:
            async with services.feeds.following(served.workspace, native.CONFLICTS) as feed:
                full_bytes = self._ground.limits.full_bytes
                served.conflicts = ConflictFollower(feed, self._connection, full_bytes, services.metrics)
                await served.conflicts.run(place, await feed.look())
        except (StoreError, TimeoutError) as error:
            log.warning("feed of conflicts not opened", session=self._name, reason=str(error))
            self._refuse(Refused(native.RETRY, "try again later"))

    async def _renew(self, token: str) -> None:
        self._changed(await self._identify(token))

    def _changed(self, identity: Identity) -> None:
        """What the user may from now on, and until when."""
        served = self._served
        if served is None or self._is_over:
            return
        before, served.identity = served.identity, identity
        served.issues.renew(identity)
        self._end_with_the_token(identity)
        if identity.role is not before.role:
            self._send(Notice(native.ROLE, identity.role.value))

    def _revoked(self, reason: str) -> None:
        self._refuse(Refused(native.UNAUTHORIZED, reason))

    async def _identify(self, token: str, device_id: str | None = None) -> Identity:
        """Whom a token names; the visit begins with it, or goes on. Raises `Refused`."""
        credentials = self._credentials = self._credentials.with_token(token, device_id)
        guest = Guest("native", self._changed, self._revoked)
        try:
            visit = await self._services.visits.enter(credentials, self._slug, guest, before=self._visit)
        except TokenRefused as refused:
            raise Refused(native.UNAUTHORIZED, str(refused)) from None
        except NotAllowed as refused:
            raise Refused(FORBIDDEN, str(refused)) from None
        except IdentityUnavailable:
            raise Refused(native.RETRY, "try again later") from None
        if self._visit is not None and self._visit.identity.user_id != visit.identity.user_id:
            visit.leave()
            raise Refused(FORBIDDEN, "the token is for another user")
        self._visit = visit
        self._connection.known()
        if self._is_over:
            visit.leave()
        return visit.identity

    def _end_with_the_token(self, identity: Identity) -> None:
        self._timer.cancel()
        if identity.expires_at is not None:
            seconds_left = (identity.expires_at - self._services.clock.now()).total_seconds()
            expired = Refused(native.UNAUTHORIZED, "token expired")
            self._timer = self._loop.call_later(seconds_left, self._refuse, expired)

    # The end.

    def _refuse(self, refused: Refused) -> None:
        """Say why, and close."""
        if self._is_over:
            return
        self._services.metrics.refusals.labels(refused.reason).inc()
        said = {"session": self._name, "client": self._credentials.address}
        log.info("refused", **said, reason=refused.reason, detail=refused.detail)
        retry_after = max(1, ceil(self._owed(0))) if refused.reason == native.TOO_FAST else None
        self._send(Refusal(refused.reason, refused.detail, retry_after))
        code = _CLOSE_CODES.get(refused.reason, close_codes.BAD_REQUEST)
        self._connection.close(code, refused.reason)
        if close_codes.is_offence(code):
            self._note_refusal(refused.reason)
        self._end()

    def _note_refusal(self, reason: str) -> None:
        if self._visit is not None:
            self._visit.refused(reason)

    def _end(self) -> None:
        self._is_over = True
        self._timer.cancel()
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._visit is not None:
            self._visit.leave()
        if self._served is not None:
            self._served.issues.leave()

    def _send(self, frame: Frame) -> None:
        if not self._is_over:
            self._connection.send(encode(frame))

    def _spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = self._ground.spawn(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        except Refused as refused:
            self._refuse(refused)
        except Exception:
            self._services.metrics.loop_failures.labels("native").inc()
            log.exception("native peer failed", session=self._name)
            self._refuse(Refused(native.INTERNAL, "internal error"))
