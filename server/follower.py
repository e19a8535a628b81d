"""One client's way along a feed: reloads and pages until it stands at the head, then whatever the feed hands out.

Nothing is queued for it. While its connection is full it is sent nothing, and its next page comes from the log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import UUID

import structlog

from crdt.native import AHEAD, EPOCH, FLOOR, NEW, Page, Reload, ReloadPoint, Reset
from crdt.native_codec import encode
from crdt.native_entries import write_body
from server.feed import Feed, FramedPage
from server.feed_pages import OutOfReach, body_of
from server.feed_readers import expect_in_reach
from server.metrics import Metrics
from server.websocket import Connection
from storage.backoff import Backoff
from storage.errors import StoreError
from storage.store import Workspace


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client says it stands. No epoch: nowhere yet. `reload`: in the midst of one."""

    epoch: UUID | None = None
    cursor: int | None = None
    reload: ReloadPoint | None = None


class Follower:
    """Sends one connection its feed. `run` is its task; it waits while more than `full_bytes` are unsent."""

    _kind: ClassVar = "log"  # of its pages, in metrics

    def __init__(self, feed: Feed, connection: Connection, full_bytes: int, metrics: Metrics) -> None:
        self.cursor = 0
        self._feed = feed
        self._epoch = feed.epoch
        self._connection = connection
        self._full_bytes = full_bytes
        self._metrics = metrics
        self._out_of_reach: str | None = None
        self._reload: ReloadPoint | None = None
        self._knows_it_is_live = False
        self._woken = asyncio.Event()
        self._log = structlog.get_logger()

    async def run(self, place: Place, now: Workspace) -> None:
        """Until cancelled. What the store cannot give now is asked for again."""
        self._begin(place, now)
        backoff = Backoff()
        while True:
            try:
                await self._step()
                backoff.reset()
            except OutOfReach as out:
                self._out_of_reach = out.reason
            except (StoreError, TimeoutError) as error:
                self._log.warning("feed page not read", reason=str(error))
                await asyncio.sleep(backoff.next_seconds())

    def drained(self) -> None:
        """The connection takes more."""
        self._woken.set()

    def take(self, page: FramedPage) -> None:
        """See `LiveFollower.take`."""
        if page.from_seq == self.cursor and not self._is_full:
            self._send(page)
        elif page.to_seq > self.cursor:
            self.lost()

    def lost(self) -> None:
        """See `LiveFollower.lost`."""
        self._feed.live.pop(self, None)
        self._woken.set()

    @property
    def _is_full(self) -> bool:
        return self._connection.buffered_bytes() > self._full_bytes

    def _begin(self, place: Place, now: Workspace) -> None:
        self._epoch = now.epoch
        self.cursor = place.cursor or 0
        if place.epoch is None:
            self._out_of_reach = NEW
        elif place.epoch != now.epoch:
            self._out_of_reach = EPOCH
        elif place.reload is not None and place.reload.base > now.head:
            self._out_of_reach = AHEAD
        elif place.reload is not None:
            self._reload = place.reload
        else:
            try:
                expect_in_reach(now, place.epoch, self.cursor)
            except OutOfReach as out:
                self._out_of_reach = out.reason

    async def _step(self) -> None:
        while self._is_full:
            await self._until_woken()
        if self._out_of_reach is not None:
            await self._reset(self._out_of_reach)
        elif self._reload is not None:
            await self._next_reload_page(self._reload)
        elif self._feed.epoch != self._epoch:
            self._out_of_reach = EPOCH
        elif self.cursor < self._feed.head:
            await self._next_page()
        else:
            await self._stand()

    async def _until_woken(self) -> None:
        self._woken.clear()
        await self._woken.wait()

    async def _reset(self, reason: str) -> None:
        now = await self._feed.look()
        since = self.cursor if reason == FLOOR else 0
        self._epoch = now.epoch
        self._reload = ReloadPoint(now.head, since, None)
        self._out_of_reach = None
        self._metrics.feed_resets.labels(reason).inc()
        self._connection.send(encode(Reset(reason, now.epoch, now.head, since)))

    async def _next_reload_page(self, point: ReloadPoint) -> None:
        page = await self._feed.reload_page(point.base, point.since, point.after)
        is_packed, body = await body_of(page.entries)
        self._sent(encode(Reload(point.base, point.after, page.until, is_packed, body)), "reload")
        if page.until is None:
            self._reload = None
            self.cursor = point.base
            self._knows_it_is_live = False
        else:
            self._reload = replace(point, after=page.until)

    async def _next_page(self) -> None:
        page = await self._feed.page(self.cursor)
        if page.to_seq == self.cursor:
            raise OutOfReach(AHEAD)  # the head went back: another log
        self._send(page)

    async def _stand(self) -> None:
        """Be at the head, until woken because of a full connection or a lost head."""
        if not self._knows_it_is_live:
            self._send(FramedPage(self._epoch, self.cursor, self.cursor, self._nothing()))
        self._feed.live[self] = None
        try:
            await self._until_woken()
        finally:
            self._feed.live.pop(self, None)

    def _nothing(self) -> bytes:
        """The page of who lacks nothing."""
        return encode(Page(self.cursor, self.cursor, self.cursor, False, write_body([], 0)))

    def _send(self, page: FramedPage) -> None:
        self._sent(page.frame, self._kind)
        self.cursor = page.to_seq
        self._knows_it_is_live = True

    def _sent(self, frame: bytes, kind: str) -> None:
        self._connection.send(frame)
        self._metrics.feed_frames.labels(kind).inc()
        self._metrics.feed_bytes.inc(len(frame))
