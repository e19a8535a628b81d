"""What the client of one document is told of itself: that it is in, that something was refused, that it is over."""

from __future__ import annotations

from server.dialects import hocuspocus
from server.doors.hocuspocus.socket import SharedSocket


class Answers:
    """Of one document, whose `header` is in front of every frame."""

    __slots__ = ("_header", "_reasons_told", "_socket")

    def __init__(self, header: bytes, socket: SharedSocket) -> None:
        self._header = header
        self._socket = socket
        self._reasons_told: set[str] = set()

    def send(self, frame: bytes) -> None:
        """Queue a frame."""
        self._socket.send(self._header + frame)

    def admitted(self) -> None:
        """Somebody is let in, who has been told nothing yet."""
        self._reasons_told.clear()

    def refused(self, reason: str) -> None:
        """Providers ignore the status of a refusal, so applications are told in a message of theirs, once a reason."""
        self.send(hocuspocus.REFUSED)
        if reason not in self._reasons_told:
            self._reasons_told.add(reason)
            self.send(hocuspocus.stateless(f'{{"refused":"{reason}"}}'))

    def over(self, reason: str, *, is_denial: bool, was_in: bool) -> None:
        """Denial is what every provider understands; those that know CLOSE get one if they were in, as word that they
        are connected no more."""
        knows_close = was_in and self._socket.knows_close
        if is_denial or not knows_close:
            self.send(hocuspocus.denied(reason))
        if knows_close:
            self.send(hocuspocus.close(reason))
