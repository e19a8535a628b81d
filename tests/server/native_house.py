"""A node with the native door and its feeds, over the store in memory or another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from server.auth import IdentityUnavailable, TokenRefused, for_workspace
from server.doors.native.door import NativeDoor
from server.doors.native.ground import NativeServices
from server.doors.native.limits import NativeLimits
from server.feed import FeedLimits
from server.feeds import Feeds
from server.limits import HubLimits
from server.permissions import Identity, Role
from storage.appender import CommitStats
from storage.memory import MemoryStore
from storage.store import Store
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

    def client(self, user: str = "ana", number: int = 1, mode: str = "updates") -> NativeClient:
        """Somebody who comes here."""
        return NativeClient(lambda: self.door, user, number, mode)


async def verify(token: str, slug: str | None) -> Identity:
    """`ana`, `ana:viewer`, `ana:member:ghosts` for another workspace; `brief` lasts a minute."""
    user, role, workspace = [*token.split(":"), *("member", "main")[token.count(":") :]]
    if user in ("", "nobody"):
        raise TokenRefused("no")
    if user == "away":
        raise IdentityUnavailable("nobody knows")
    expires_at = VirtualClock().now() + timedelta(minutes=1) if user == "brief" else None
    return for_workspace(Identity(user, workspace, Role(role), expires_at=expires_at), slug)


@asynccontextmanager
async def native_house(
    limits: NativeLimits | None = None,
    feed_limits: FeedLimits | None = None,
    hub_limits: HubLimits | None = None,
    store: Store | None = None,
) -> AsyncIterator[NativeHouse]:
    """A node for the length of a test."""

    def committed(stats: CommitStats) -> None:
        batches.append(stats)
        feeds.wake(stats.workspace_ids)

    batches: list[CommitStats] = []
    house = await start_house(store or MemoryStore(), hub_limits, on_commit=committed)
    feeds = Feeds(house.store, feed_limits or FeedLimits(), house.metrics)
    async with asyncio.TaskGroup() as tasks:
        services = NativeServices(house.hub, house.store, feeds, verify, VirtualClock(), house.metrics)
        door = NativeDoor(services, limits or NativeLimits(), tasks)
        try:
            yield NativeHouse(house, feeds, door, batches)
            assert not house.counted("loop_failures_total", loop="native")
            assert not house.counted("loop_failures_total", loop="feed")
        finally:
            door.close()
            await feeds.close()
            await house.stop()
