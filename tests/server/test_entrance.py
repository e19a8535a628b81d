"""Which door a path leads to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.config import Settings
from server.doors.hocuspocus import HocuspocusDoor
from server.doors.yjs import YjsDoor, YjsServices
from server.entrance import Entrance
from server.websocket import Handshake


@pytest.mark.parametrize(
    ("path", "door"),
    [
        ("/yjs/main/42", YjsDoor),
        ("/yjs/", YjsDoor),
        ("/hocuspocus", HocuspocusDoor),
        ("/hocuspocus/", HocuspocusDoor),
        ("/hocuspocus/main", None),
        ("/", None),
    ],
)
async def test_a_path_leads_to_its_door(path: str, door: type | None) -> None:
    nothing: Any = None
    async with asyncio.TaskGroup() as tasks:
        entrance = Entrance(YjsServices(nothing, nothing, nothing, nothing, nothing), nothing, Settings(), tasks)
        found = entrance.route(Handshake(path, {}, {}, "test:1"))
        assert found is None if door is None else isinstance(found, door)
        entrance.close()
