"""One issue of one client: a session in that issue's room, over the socket that all its issues share.

To the room a channel is a connection like any other. Its end is the end of that issue for this client, not of the
socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Final, assert_never
from uuid import UUID

import structlog

from crdt.native import GAP, PushEntry
from crdt.update import EMPTY_STATE_VECTOR
from server import close_codes
from server.dialects.native import QUIET, Dialects
from server.doors.native.limits import NativeLimits
from server.doors.native.pushes import Pushes
from server.hub import Hub
from server.permissions import Identity
from server.room import Room
from server.session import Incomplete, Outcome, Overtaken, Rejected, Session, Stored
from server.websocket import Connection
from storage.errors import StoreError
from storage.store import Workspace

NOBODY: Final = b"\x00"  # an awareness update of no clients
_EARLY_PRESENCE: Final = 16  # presence that waits for its room; it is renewed anyway


@dataclass(frozen=True, slots=True)
class ChannelGround:
    """What the channels of one socket stand on. `refused` hears why what was sent was not taken, `ended` of a channel
    that its room, or a failure, has ended; `left` of one that had nothing left to do."""

    hub: Hub
    workspace: Workspace
    connection: Connection
    dialects: Dialects
    limits: NativeLimits
    pushes: Pushes
    spawn: Callable[[Callable[[], Coroutine[None, None, None]]], None]
    refused: Callable[[str], None]
    pause: Callable[[Channel], None]
    resume: Callable[[Channel], None]
    ended: Callable[[Channel, int, str], None]
    left: Callable[[Channel], None]


class Channel:
    """Open, or there for a push only. `unanswered` edits keep it in the room: only there is their end heard of."""

    def __init__(self, issue: UUID, identity: Identity, name: str, ground: ChannelGround) -> None:
        self.issue = issue
        self.is_open = False
        self._ground = ground
        self._loop = asyncio.get_running_loop()
        self._session = Session(identity, self, QUIET, name)
        self._session.on_refused = ground.refused
        self._room: Room | None = None
        self._is_gone = False
        self._was_open = False
        self._asked: bytes | None = None
        self._presence: deque[bytes] = deque(maxlen=_EARLY_PRESENCE)
        self._unanswered: dict[int, PushEntry] = {}
        self._numbers = 0
        self._wanted_at = -ground.limits.ask_seconds
        self._lingering: asyncio.TimerHandle | None = None
        ground.spawn(self._join)

    @property
    def unanswered(self) -> Sequence[PushEntry]:
        """Edits in their order of arrival."""
        return list(self._unanswered.values())

    # What the client asks for.

    def open(self, state_vector: bytes | None) -> None:
        """Feed the client from now on, beginning with what its state vector lacks."""
        self.is_open = self._was_open = True
        self._stay()
        self._session.dialect = self._ground.dialects.of(self.issue)
        self._asked = EMPTY_STATE_VECTOR if state_vector is None else state_vector
        if self._room is not None:
            self._answer(self._room)

    def stop(self) -> None:
        """Feed it no longer. What it pushed is still answered."""
        self.is_open = False
        self._asked = None
        self._presence.clear()
        self._session.dialect = QUIET
        if not self._unanswered:
            self.leave()

    def push(self, entry: PushEntry) -> None:
        """Commit an edit, and answer it."""
        self._stay()
        self._numbers += 1
        self._unanswered[self._numbers] = entry
        if self._room is not None:
            self._submit(self._room, self._numbers, entry)

    def present(self, update: bytes) -> None:
        """Presence from the client."""
        if self._room is not None:
            self._room.present(self._session, update)
        else:
            self._presence.append(update)

    def drained(self) -> None:
        """The socket takes more."""
        if self._room is not None:
            self._room.drained(self._session)

    def renew(self, identity: Identity) -> None:
        """The client is allowed something else from now on."""
        self._session.renew(identity)

    def leave(self) -> None:
        """Nothing is left to do here, or the socket is gone."""
        if not self._is_gone:
            self._is_gone = self._session.is_closed = True
            self._stay()
            if self._room is not None:
                self._ground.hub.leave(self._room, self._session)
            self._ground.left(self)

    # `Connection`, as the room sees it.

    def send(self, frame: bytes) -> None:
        """See `Connection.send`. A quiet session's frames are empty."""
        if frame:
            self._ground.connection.send(frame)

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`; what all issues of the socket have unsent."""
        return self._ground.connection.buffered_bytes()

    def close(self, code: int, reason: str) -> None:
        """See `Connection.close`."""
        if not self._is_gone:
            self._is_gone = True
            self._stay()
            if self._room is not None:
                # Later: the room may be on its way through its sessions.
                self._loop.call_soon(self._ground.hub.leave, self._room, self._session)
            self._ground.ended(self, code, reason)

    def pause_reading(self) -> None:
        """See `Connection.pause_reading`."""
        self._ground.pause(self)

    def resume_reading(self) -> None:
        """See `Connection.resume_reading`."""
        self._ground.resume(self)

    # Inside.

    async def _join(self) -> None:
        try:
            room = await self._ground.hub.join(self._ground.workspace, self.issue, self._session)
        except StoreError as error:
            structlog.get_logger().warning("join failed", issue=str(self.issue), reason=str(error))
            self._session.close(close_codes.TRY_LATER, "try again later")
            return
        if self._is_gone:
            self._ground.hub.leave(room, self._session)
        else:
            self._enter(room)

    def _enter(self, room: Room) -> None:
        self._room = room
        if self.is_open:
            self._answer(room)
        while self._presence:
            room.present(self._session, self._presence.popleft())
        for number, entry in list(self._unanswered.items()):
            self._submit(room, number, entry)

    def _answer(self, room: Room) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            room.answer(self._session, asked)
            known = room.awareness_update()
            if known != NOBODY:
                self._session.send(self._session.dialect.awareness(known))

    def _submit(self, room: Room, number: int, entry: PushEntry) -> None:
        room.submit(self._session, entry.update, lambda outcome: self._answered(room, number, outcome))

    def _answered(self, room: Room, number: int, outcome: Outcome) -> None:
        entry = self._unanswered.pop(number, None)
        if entry is None or self._is_gone:
            return  # it was answered when this channel ended
        match outcome:
            case Stored(seq):
                self._wanted_at = -self._ground.limits.ask_seconds
                self._ground.pushes.stored(entry, seq)
            case Incomplete():
                self._want(room)
                self._ground.pushes.refuse(entry, GAP, "it rests on edits that are not here")
            case Rejected(refused):
                self._ground.pushes.refuse(entry, refused.reason, refused.detail)
                self._restate()
            case Overtaken():
                raise AssertionError("nobody pushes what may be overtaken")
            case _:
                assert_never(outcome)
        if self._unanswered or self.is_open:
            return
        if self._was_open:  # its presence must not outstay it
            self.leave()
        else:
            self._session.is_lingering = True
            self._lingering = self._loop.call_later(self._ground.limits.linger_seconds, self.leave)

    def _restate(self) -> None:
        """Behind the refusals of this turn: what the issue is, to put in the place of what rests on them."""
        if self.is_open and self._asked is None:
            self._asked = EMPTY_STATE_VECTOR
            self._loop.call_soon(self._restated)

    def _restated(self) -> None:
        if self._room is not None and not self._is_gone:
            self._answer(self._room)

    def _want(self, room: Room) -> None:
        """Ask once, until an answer is stored or was long in coming: whatever was pushed before it is in the answer."""
        now = self._loop.time()
        if now - self._wanted_at >= self._ground.limits.ask_seconds:
            self._wanted_at = now
            self._ground.pushes.want(self.issue, room.state_vector())

    def _stay(self) -> None:
        self._session.is_lingering = False
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
