"""What a client says to a document that is not open yet."""

from __future__ import annotations

from server.doors.hocuspocus.socket import SharedSocket
from server.doors.hocuspocus.tally import Ticket

Entry = tuple[bytes, Ticket | None]  # an update; without a ticket: presence


class Waiting:
    """Updates and presence in the order they came, counted against the bounds of their socket."""

    __slots__ = ("_bytes", "_entries", "_messages", "_socket")

    def __init__(self, socket: SharedSocket) -> None:
        self._socket = socket
        self._entries: list[Entry] = []
        self._messages = 0
        self._bytes = 0

    def has_room(self, size: int, *, is_authenticated: bool) -> bool:
        """Whether one more message of that size may wait; if so it is counted until `take`."""
        if not self._socket.keep_waiting(size, is_authenticated=is_authenticated):
            return False
        self._messages += 1
        self._bytes += size
        return True

    def add(self, update: bytes, ticket: Ticket | None) -> None:
        """Behind those that wait already; `has_room` has been asked."""
        self._entries.append((update, ticket))

    def take(self) -> list[Entry]:
        """All of it; nothing waits any more."""
        entries, self._entries = self._entries, []
        self._socket.waited(self._messages, self._bytes)
        self._messages = self._bytes = 0
        return entries
