"""The doors of a node: which one a handshake is for."""

from __future__ import annotations

import asyncio

from server import bounds
from server.config import Settings
from server.doors import hocuspocus, yjs
from server.doors.native.door import NativeDoor
from server.doors.native.ground import NativeServices
from server.feeds import Feeds
from server.websocket import Door, Handshake


class Entrance:
    """Every WebSocket door of a node, by path. `tasks` owns what they have under way."""

    def __init__(self, services: yjs.YjsServices, feeds: Feeds, settings: Settings, tasks: asyncio.TaskGroup) -> None:
        self._yjs = yjs.YjsDoor(services, bounds.of_door(settings), tasks)
        self._hocuspocus = hocuspocus.HocuspocusDoor(services, bounds.of_hocuspocus(settings), tasks)
        s = services
        native = NativeServices(s.hub, s.store, feeds, s.visits, s.clock, s.metrics)
        self._native = NativeDoor(native, bounds.of_native(settings), tasks)

    def route(self, handshake: Handshake) -> Door | None:
        """A `server.websocket.Route`."""
        if handshake.path.startswith(yjs.PREFIX):
            return self._yjs
        if handshake.path.rstrip("/") == hocuspocus.PATH:
            return self._hocuspocus
        if NativeDoor.workspace_of(handshake.path) is not None:
            return self._native
        return None

    def drain(self) -> None:
        """Tell those who can hear it that the server stops soon."""
        self._native.drain()

    def set_read_only(self, *, is_read_only: bool) -> None:
        """Tell them that the database takes no edits, or takes them again."""
        self._native.set_read_only(is_read_only=is_read_only)

    def close(self) -> None:
        """Give up what is under way."""
        self._yjs.close()
        self._hocuspocus.close()
        self._native.close()
