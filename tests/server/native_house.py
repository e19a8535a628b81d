"""A node with the native door and its feeds, over the store in memory or another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from server.audit import Noting, unheard
from server.auth import Credentials
from server.doors.native.door import NativeDoor
from server.doors.native.ground import NativeServices
from server.doors.native.limits import NativeLimits
from server.feed import FeedLimits
from server.feeds import Feeds
from server.limits import HubLimits
from server.permissions import Identity
from server.visits import Visits
from storage.appender import CommitStats
from storage.memory import MemoryStore
from storage.store import Store
from tests.server.bearers import identity_of
from tests.server.house import House, start_house
from tests.server.native_client import NativeClient
from tests.simulation.time import VirtualClock


@dataclass(frozen=True, slots=True)
class NativeHouse:
    """One node."""

    house: House
    feeds: Feeds
    door: NativeDoor
    batches: list[CommitStats]
    visits: Visits

    def client(self, user: str = "ana", number: int = 1, mode: str = "updates") -> NativeClient:
        """Somebody who comes here."""
        return NativeClient(lambda: self.door, user, number, mode)


async def verify(credentials: Credentials, workspace: str | None) -> Identity:
    """See `identity_of`; `brief` lasts a minute."""
    is_brief = credentials.token == "brief"
    expires_at = VirtualClock().now() + timedelta(minutes=1) if is_brief else None
    return replace(identity_of(credentials.token, workspace, expires_at), device_id=credentials.device_id)


@asynccontextmanager
async def native_house(
    limits: NativeLimits | None = None,
    feed_limits: FeedLimits | None = None,
    hub_limits: HubLimits | None = None,
    store: Store | None = None,
    note: Noting = unheard,
) -> AsyncIterator[NativeHouse]:
    """A node for the length of a test."""

    def committed(stats: CommitStats) -> None:
        batches.append(stats)
        feeds.wake(stats.workspace_ids)

    batches: list[CommitStats] = []
    house = await start_house(store or MemoryStore(), hub_limits, on_commit=committed)
    feeds = Feeds(house.store, feed_limits or FeedLimits(), house.metrics)
    async with asyncio.TaskGroup() as tasks:
        visits = Visits(verify, VirtualClock(), note)
        services = NativeServices(house.hub, house.store, feeds, visits, VirtualClock(), house.metrics)
        door = NativeDoor(services, limits or NativeLimits(), tasks)
        try:
            yield NativeHouse(house, feeds, door, batches, visits)
            assert not house.counted("loop_failures_total", loop="native")
            assert not house.counted("loop_failures_total", loop="feed")
        finally:
            door.close()
            await feeds.close()
            await house.stop()
