"""Makes a native peer of every socket at `/v1/workspaces/{workspace}/sync`, and tells all of them what concerns all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Final

from crdt.native import DRAINING, READ_ONLY
from server.dialects.native import Dialects
from server.doors.native.ground import NativeGround, NativeServices
from server.doors.native.limits import NativeLimits
from server.doors.native.peer import NativePeer
from server.websocket import Handshake, PacedConnection, Peer

_PATH: Final = re.compile(r"/v1/workspaces/([^/]+)/sync")


class NativeDoor:
    """`tasks` owns what its peers have under way: greetings, joins, followers."""

    def __init__(self, services: NativeServices, limits: NativeLimits, tasks: asyncio.TaskGroup) -> None:
        self.ground = NativeGround(services, limits, Dialects(), self._spawn)
        self._peers: dict[NativePeer, None] = {}
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._is_read_only = False

    @staticmethod
    def workspace_of(path: str) -> str | None:
        """The workspace a path names; None: not a path of this door."""
        match = _PATH.fullmatch(path)
        return match[1] if match else None

    def __call__(self, handshake: Handshake, connection: PacedConnection) -> Peer:
        """A `server.websocket.Door`."""
        workspace = self.workspace_of(handshake.path)
        assert workspace is not None  # the route has asked
        peer = NativePeer(self.ground, workspace, handshake, connection, gone=self._gone)
        self._peers[peer] = None
        return peer

    def drain(self) -> None:
        """The server stops soon."""
        self._tell(DRAINING, "true")

    def set_read_only(self, *, is_read_only: bool) -> None:
        """The database takes no edits, or takes them again."""
        if is_read_only != self._is_read_only:
            self._is_read_only = is_read_only
            self._tell(READ_ONLY, "true" if is_read_only else "false")

    def close(self) -> None:
        """Give up everything that is under way."""
        for task in self._running:
            task.cancel()

    def _tell(self, kind: str, value: str) -> None:
        for peer in list(self._peers):
            peer.tell(kind, value)

    def _gone(self, peer: NativePeer) -> None:
        del self._peers[peer]

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name="native")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task
