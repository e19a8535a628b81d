"""What the channels of a door work with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from server.doors.hocuspocus.limits import HocuspocusLimits
from server.doors.yjs import YjsServices
from storage.store import Workspace


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Services, bounds, and two things of the door: `workspace` finds one by its slug (may raise `StoreError`), `spawn`
    runs a task that the door owns."""

    services: YjsServices
    limits: HocuspocusLimits
    workspace: Callable[[str], Awaitable[Workspace | None]]
    spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
