"""The issues of one client: those it has open, and those it has pushed to a moment ago."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from uuid import UUID

from crdt.errors import FORBIDDEN, MALFORMED, TOO_LARGE
from crdt.native import INTERNAL, NOT_FOUND, PURGED, RETRY, Closed, Frame, PushEntry
from server import close_codes
from server.doors.native.channel import Channel, ChannelGround
from server.doors.native.ground import NativeGround
from server.doors.native.pushes import Pushes
from server.permissions import Identity
from server.websocket import Connection
from storage.store import Workspace


@dataclass(frozen=True, slots=True)
class Socket:
    """What the issues of one client share. `spawn` starts work that ends with the socket · `refused` hears why what was
    sent was not taken."""

    connection: Connection
    send: Callable[[Frame], None]
    spawn: Callable[[Callable[[], Coroutine[None, None, None]]], None]
    refused: Callable[[str], None]


class Issues:
    """Channels by issue. While one of them is over its bound, the socket they share is not read from."""

    def __init__(self, name: str, workspace: Workspace, socket: Socket, own: NativeGround) -> None:
        self._name = name
        self._connection = socket.connection
        self._send = socket.send
        self._limits = own.limits
        self._channels: dict[UUID, Channel] = {}
        self._pausing: set[Channel] = set()
        self._pushes = Pushes(own.limits, socket.send)
        self._ground = ChannelGround(
            hub=own.services.hub,
            workspace=workspace,
            connection=socket.connection,
            dialects=own.dialects,
            limits=own.limits,
            pushes=self._pushes,
            spawn=socket.spawn,
            refused=socket.refused,
            pause=self._pause,
            resume=self._resume,
            ended=self._ended,
            left=self._left,
        )

    def open(self, issue: UUID, state_vector: bytes | None, identity: Identity) -> None:
        """See `Open`."""
        channel = self._channels.get(issue)
        is_open = channel is not None and channel.is_open
        if not is_open and sum(other.is_open for other in self._channels.values()) >= self._limits.open_issues:
            self._send(Closed(issue, TOO_LARGE, f"at most {self._limits.open_issues} open issues"))
        else:
            self._channel(issue, identity).open(state_vector)

    def close(self, issue: UUID) -> None:
        """See `Close`. A `Closed` may have crossed it."""
        channel = self._channels.get(issue)
        if channel is not None and channel.is_open:
            channel.stop()

    def push(self, entry: PushEntry, identity: Identity) -> None:
        """See `Push`. Raises `Refused` when the client did not keep to the window."""
        if self._pushes.admit(entry):
            self._channel(entry.issue, identity).push(entry)

    def put_off(self, entries: Iterable[PushEntry], seconds: int) -> None:
        """See `Pushes.put_off`."""
        self._pushes.put_off(entries, seconds)

    def present(self, issue: UUID, update: bytes) -> None:
        """See `Awareness`."""
        channel = self._channels.get(issue)
        if channel is not None and channel.is_open:
            channel.present(update)

    def renew(self, identity: Identity) -> None:
        """The client has another token."""
        for channel in self._channels.values():
            channel.renew(identity)

    def drained(self) -> None:
        """The socket takes more."""
        for channel in list(self._channels.values()):
            channel.drained()

    def leave(self) -> None:
        """The socket is gone."""
        for channel in list(self._channels.values()):
            channel.leave()

    def _channel(self, issue: UUID, identity: Identity) -> Channel:
        channel = self._channels.get(issue)
        if channel is None:
            channel = self._channels[issue] = Channel(issue, identity, self._name, self._ground)
        return channel

    def _pause(self, channel: Channel) -> None:
        self._pausing.add(channel)
        self._connection.pause_reading()

    def _resume(self, channel: Channel) -> None:
        if channel in self._pausing:
            self._pausing.discard(channel)
            if not self._pausing:
                self._connection.resume_reading()

    def _ended(self, channel: Channel, code: int, reason: str) -> None:
        self._left(channel)
        if code == close_codes.GONE:
            for entry in channel.unanswered:
                self._pushes.refuse(entry, PURGED, "the issue was deleted for good")
        else:
            self._pushes.lose(channel.unanswered, reason)
        if channel.is_open:
            self._send(Closed(channel.issue, _code_of(code), reason))

    def _left(self, channel: Channel) -> None:
        if self._channels.get(channel.issue) is channel:
            del self._channels[channel.issue]
        self._resume(channel)


def _code_of(close_code: int) -> str:
    """What the close code of a session means to a client whose socket stays."""
    match close_code:
        case close_codes.RESTART | close_codes.TRY_LATER:
            return RETRY
        case close_codes.NOT_FOUND:
            return NOT_FOUND
        case close_codes.NOT_ALLOWED:
            return FORBIDDEN
        case close_codes.GONE:
            return PURGED
        case close_codes.TOO_MUCH:
            return TOO_LARGE
        case close_codes.BAD_REQUEST:
            return MALFORMED
        case _:
            return INTERNAL
