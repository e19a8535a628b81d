"""What every native peer of a node stands on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from server.clock import Clock
from server.dialects.native import Dialects
from server.doors.native.limits import NativeLimits
from server.feeds import Feeds
from server.hub import Hub
from server.metrics import Metrics
from server.visits import Visits
from storage.store import Store


@dataclass(frozen=True, slots=True)
class NativeServices:
    """What the door works with."""

    hub: Hub
    store: Store
    feeds: Feeds
    visits: Visits
    clock: Clock
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class NativeGround:
    """The door's side of a peer. `spawn` starts work that the door owns and that raises nothing."""

    services: NativeServices
    limits: NativeLimits
    dialects: Dialects
    spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
