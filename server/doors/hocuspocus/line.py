"""What a session sees of the socket it shares: a `Connection` of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from crdt import sync
from server.dialects import y_websocket
from server.doors.hocuspocus.socket import SharedSocket

_QUESTION: Final = bytes((y_websocket.SYNC, sync.STEP_1))

Ended = Callable[["Line", int, str], None]


class Line:
    """The `Connection` of one session: the shared socket, with the document's address in front of every frame.

    Rooms build the frames of y-websocket, so they encode once for both dialects. `asked` hears of every SyncStep1 that
    goes out, `ended` of a close, from the loop: a room closes sessions while it walks over them.
    """

    __slots__ = ("_asked", "_ended", "_header", "_loop", "_socket", "is_cut")

    def __init__(self, socket: SharedSocket, header: bytes, asked: Callable[[], None], ended: Ended) -> None:
        self.is_cut = False
        self._socket = socket
        self._header = header
        self._asked = asked
        self._ended = ended
        self._loop = asyncio.get_running_loop()

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        if not self.is_cut:
            if frame.startswith(_QUESTION):
                self._asked()
            self._socket.send(self._header + frame)

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`. The socket is one pipe: what other documents put in it is in the way."""
        return self._socket.buffered_bytes()

    def close(self, code: int, reason: str) -> None:
        """See `Connection.close`: the end of this session, not of the socket."""
        if not self.is_cut:
            self.cut()
            self._loop.call_soon(self._ended, self, code, reason)

    def cut(self) -> None:
        """Let nothing more through, and do not say so."""
        self.is_cut = True
        self._socket.release(self)

    def pause_reading(self) -> None:
        """See `Connection.pause_reading`."""
        if not self.is_cut:
            self._socket.hold(self)

    def resume_reading(self) -> None:
        """See `Connection.resume_reading`."""
        self._socket.release(self)
