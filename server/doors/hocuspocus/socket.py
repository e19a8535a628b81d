"""One socket under many documents: what they share is its buffer, its reading, and what is known of the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from server import close_codes
from server.auth import Credentials
from server.doors.hocuspocus.limits import HocuspocusLimits
from server.metrics import Metrics
from server.websocket import PacedConnection


class SharedSocket:
    """A connection for many. Paused while anybody wants it paused; closed when its reader is too slow for too long.

    `provider`: major version, None before 4 · `answers_requests`: it has answered a token request, so it is not 2.x ·
    `credentials`: of the handshake, whose token does not count · `documents`: how many are authenticated
    now · `is_known`: one was, some time.
    """

    __slots__ = (
        "_connection",
        "_holders",
        "_limits",
        "_loop",
        "_patience_timer",
        "_waiters",
        "_waiting_bytes",
        "_waiting_messages",
        "answers_requests",
        "credentials",
        "documents",
        "is_closed",
        "is_known",
        "name",
        "provider",
        "sent_at",
    )

    def __init__(self, connection: PacedConnection, credentials: Credentials, limits: HocuspocusLimits) -> None:
        self.name = credentials.address
        self.credentials = credentials
        self.provider: int | None = None
        self.answers_requests = False
        self.documents = 0
        self.is_known = False
        self.is_closed = False
        self._connection = connection
        self._limits = limits
        self._waiting_messages = 0
        self._waiting_bytes = 0
        self._patience_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._holders: set[Hashable] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self.sent_at = self._loop.time()

    @property
    def knows_close(self) -> bool:
        """Whether the provider understands a CLOSE message: 2.x throws on it."""
        return self.answers_requests or (self.provider or 0) >= 3

    @property
    def is_full(self) -> bool:
        """Whether more is unsent than a reader may have."""
        return self._connection.buffered_bytes() > self._limits.max_buffered_bytes

    def known(self) -> None:
        """Somebody has authenticated, for the first time or again."""
        self.is_known = True
        self._connection.known()

    def send(self, message: bytes) -> None:
        """Queue a whole message."""
        self.sent_at = self._loop.time()
        self._connection.send(message)

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`; of all documents together."""
        return self._connection.buffered_bytes()

    def keep_waiting(self, size: int, *, is_authenticated: bool) -> bool:
        """Count a message that waits for its issue, or for its token. False: there is no room for it."""
        limits = self._limits
        messages, bytes_ = self._waiting_messages + 1, self._waiting_bytes + size
        if is_authenticated:
            has_room = messages <= limits.max_waiting_messages and bytes_ <= limits.max_waiting_bytes
        else:
            has_room = messages <= limits.max_unauthenticated_messages and bytes_ <= limits.max_unauthenticated_bytes
        if has_room:
            self._waiting_messages, self._waiting_bytes = messages, bytes_
        return has_room

    def waited(self, messages: int, size: int) -> None:
        """So many messages wait no more."""
        self._waiting_messages -= messages
        self._waiting_bytes -= size

    def hold(self, holder: Hashable) -> None:
        """Read no more for now. Everybody is stopped: their messages come through one pipe."""
        if not self._holders:
            self._connection.pause_reading()
        self._holders.add(holder)

    def release(self, holder: Hashable) -> None:
        """Undo `hold`; the last one sets reading going again."""
        if holder in self._holders:
            self._holders.remove(holder)
            if not self._holders:
                self._connection.resume_reading()

    def slow_down_when_full(self) -> None:
        """A client that does not read what it causes is not read from either."""
        if self.is_full and not self.is_closed:
            self.hold(self)
            self._lose_patience_later()

    def keep_pace(self, owed: float, metrics: Metrics) -> None:
        """A user on it is over their rate by so many seconds."""
        self._limits.edits.keep(owed, self._connection.slow_down, self.close, metrics)

    async def until_writable(self) -> None:
        """Return when there is room, or when the socket is gone."""
        while self.is_full and not self.is_closed:
            self._lose_patience_later()
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def drained(self) -> None:
        """The reader has taken what was sent to it."""
        if self._patience_timer is not None:
            self._patience_timer.cancel()
            self._patience_timer = None
        self.release(self)
        self._wake()

    def close(self, code: int, reason: str) -> None:
        """Close for everybody."""
        self.ended()
        self._connection.close(code, reason)

    def ended(self) -> None:
        """The socket is closed; nobody waits for it any more."""
        self.is_closed = True
        if self._patience_timer is not None:
            self._patience_timer.cancel()
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _lose_patience_later(self) -> None:
        if self._patience_timer is None:
            self._patience_timer = self._loop.call_later(
                self._limits.behind_timeout, self.close, close_codes.TRY_LATER, "reading too slowly"
            )
