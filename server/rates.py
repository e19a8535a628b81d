"""How many requests somebody may make, by user, workspace and address, and how long a refused token waits for its
answer. The buckets are in memory and of this node: a limit holds per node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Final, NamedTuple

from server.addresses import is_loopback
from server.auth import IdentityUnavailable
from server.buckets import Allowance, Buckets
from server.clock import Clock
from server.permissions import Identity

_ANY_NUMBER: Final = 1 << 50
_EDITS_TOGETHER: Final = 64  # of one socket, at most: they are counted in one go, for counting costs as much as gating


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests. `failures`: refused tokens of one address that are answered at once; each beyond them waits longer, at
    most `longest_delay` seconds, and at most `max_waiting` wait at a time. `offences`: sockets of one user that were
    closed for what they sent; beyond them, further sockets wait likewise. `user_edits`, `workspace_edits`: however they
    come, all of them together · `edit_delay`: seconds that somebody may owe of edits, and a request waits."""

    user: Allowance = field(default_factory=lambda: Allowance(1_000, 10_000))
    workspace: Allowance = field(default_factory=lambda: Allowance(5_000, 50_000))
    address: Allowance = field(default_factory=lambda: Allowance(2_000, 20_000))
    failures: Allowance = field(default_factory=lambda: Allowance(1, 20))
    offences: Allowance = field(default_factory=lambda: Allowance(1, 20))
    user_edits: Allowance = field(default_factory=lambda: Allowance(20_000, 200_000))
    workspace_edits: Allowance = field(default_factory=lambda: Allowance(100_000, 1_000_000))
    edit_delay: float = 1.0
    longest_delay: float = 10.0
    max_waiting: int = 1_000


class Granted(NamedTuple):
    """How many parts of a request may be made: the first ones. `retry_after`: whole seconds until more of them may be,
    0 where all may."""

    parts: int
    retry_after: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """How a request stands to one limit. `left`: requests that may come now · `wait`: seconds until this one may be
    made, 0 if it was counted."""

    name: str
    allowance: Allowance
    left: float
    wait: float

    def headers(self) -> dict[str, str]:
        """What a client is told of it (draft-ietf-httpapi-ratelimit-headers; `Retry-After` of RFC 9110)."""
        window = ceil(self.allowance.burst / self.allowance.rate)
        until_full = ceil((self.allowance.burst - self.left) / self.allowance.rate)
        told = {
            "RateLimit-Policy": f'"{self.name}";q={int(self.allowance.burst)};w={window}',
            "RateLimit": f'"{self.name}";r={max(0, int(self.left))};t={until_full}',
        }
        return told | ({"Retry-After": str(self.retry_after)} if self.wait else {})

    @property
    def retry_after(self) -> int:
        """Whole seconds."""
        return ceil(self.wait)


class Rates:
    """Of one node. `on_refused` hears the name of the limit that a request was over."""

    def __init__(self, limits: RateLimits, clock: Clock, on_refused: Callable[[str], None] = lambda name: None) -> None:
        self._limits = limits
        self._clock = clock
        self._on_refused = on_refused
        self._users = Buckets(limits.user)
        self._workspaces = Buckets(limits.workspace)
        self._addresses = Buckets(limits.address)
        self._failures = Buckets(limits.failures)
        self._offences = Buckets(limits.offences)
        bounded = [one.rate for one in (limits.user_edits, limits.workspace_edits) if one.rate > 0]
        self.edits_together = max(1, int(min([_EDITS_TOGETHER, *(rate / 100 for rate in bounded)])))
        self._user_edits = Buckets(limits.user_edits)
        self._workspace_edits = Buckets(limits.workspace_edits)
        self._waiting = 0

    def knock(self, host: str) -> Quota | None:
        """Count a request from there, before anybody looks at its token. None: no limit holds for it, as for this
        machine itself, on which proxies run."""
        if not self._addresses.is_bounded or is_loopback(host):
            return None
        return self._take("address", self._addresses, host)

    def ask(self, who: Identity) -> Quota | None:
        """Count a request of somebody who may come in. None: no limit holds for them."""
        quota, key = None, (who.workspace, who.user_id)
        for name, buckets, of in (("workspace", self._workspaces, who.workspace), ("user", self._users, key)):
            if buckets.is_bounded:
                quota = self._take(name, buckets, of)
                if quota.wait:
                    return quota
        return quota

    async def after_failure(self, host: str) -> None:
        """Return when a refused token from there may be answered: who tries many waits longer each time, and nobody who
        comes with a good one does."""
        if is_loopback(host) or self._waiting >= self._limits.max_waiting:
            return
        await self._wait("failures", self._failures.charge(host, self._clock.monotonic()))

    def offended(self, who: Identity) -> None:
        """A socket of theirs was closed for what it sent."""
        self._offences.charge((who.workspace, who.user_id), self._clock.monotonic())

    async def after_offences(self, who: Identity) -> None:
        """Return when a further socket of theirs may be served. Raises `IdentityUnavailable` where too many wait."""
        delay = self._offences.charge((who.workspace, who.user_id), self._clock.monotonic(), 0)
        if delay > 0 and self._waiting >= self._limits.max_waiting:
            raise IdentityUnavailable("too many sockets wait for their turn")
        await self._wait("offences", delay)

    def edited(self, who: Identity, count: int) -> float:
        """Count edits of theirs that have come. In how many seconds what they owe is made up for; 0: nothing.
        A `count` of 0 only asks."""
        now = self._clock.monotonic()
        owed = max(
            self._user_edits.charge((who.workspace, who.user_id), now, count),
            self._workspace_edits.charge(who.workspace, now, count),
        )
        if owed > 0 and count:
            self._on_refused("edits")
        return owed

    async def grant(self, who: Identity, parts: Sequence[int]) -> Granted:
        """Count the edits of a request whose parts have so many, each made whole or not at all: of those parts that
        begin within what may be owed. Returns when they are made up for, so that whoever sends many is slowed down
        before anything is refused."""
        places, edits, granted = self._places_for_edits(who), 0, 0
        while granted < len(parts) and edits < places:
            edits += parts[granted]
            granted += 1
        owed = self.edited(who, edits)
        if edits and owed > 0:
            await asyncio.sleep(min(owed, self._limits.edit_delay))
        if granted == len(parts):
            return Granted(granted)
        self._on_refused("edits")
        return Granted(granted, max(1, ceil(self.edited(who, 0))))

    def _places_for_edits(self, who: Identity) -> int:
        """How many of theirs may begin now."""
        now, most = self._clock.monotonic(), self._limits.edit_delay
        kinds = ((self._user_edits, (who.workspace, who.user_id)), (self._workspace_edits, who.workspace))
        rooms = [each.left(key, now) + most * each.allowance.rate for each, key in kinds if each.is_bounded]
        return max(0, floor(min(rooms)) + 1) if rooms else _ANY_NUMBER

    async def _wait(self, name: str, delay: float) -> None:
        if delay > 0:
            self._on_refused(name)
            self._waiting += 1
            try:
                await asyncio.sleep(min(delay, self._limits.longest_delay))
            finally:
                self._waiting -= 1

    def _take(self, name: str, buckets: Buckets, key: Hashable) -> Quota:
        now = self._clock.monotonic()
        wait = buckets.take(key, now)
        if wait:
            self._on_refused(name)
        return Quota(name, buckets.allowance, buckets.left(key, now), wait)
