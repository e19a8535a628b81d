"""The live end of one workspace's log in one mode, shared by all who follow it.

It reads the log once an interval and makes one frame of what is new. Who stands at its head gets that frame at once;
who stands further back asks for pages until it is there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from uuid import UUID

import structlog

from crdt.native import Page
from crdt.native_codec import encode
from server.feed_pages import IssuePage, LogPage, OutOfReach, body_of
from server.feed_readers import ConflictLimits, FeedReader, PageLimits
from server.metrics import Metrics
from storage.backoff import Backoff
from storage.errors import StoreError
from storage.store import Workspace


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """How feeds read. `max_reads`: pages in the making at a time on this node, so that opening issues goes first ·
    `kept_bytes`: of encoded pages, kept for those who come by the same cursor."""

    interval_seconds: float = 0.25
    poll_seconds: float = 0.25
    max_reads: int = 4
    kept_bytes: int = 1024 * 1024
    timeout_seconds: float = 10.0
    max_backoff_seconds: float = 5.0
    page: PageLimits = field(default_factory=PageLimits)
    conflicts: ConflictLimits = field(default_factory=ConflictLimits)


@dataclass(frozen=True, slots=True)
class FramedPage:
    """A page as every follower in this mode gets it."""

    epoch: UUID
    from_seq: int
    to_seq: int
    frame: bytes


class LiveFollower(Protocol):
    """Somebody who stands at the head of a feed."""

    def take(self, page: FramedPage) -> None:
        """What is new. Never waits."""

    def lost(self) -> None:
        """The feed no longer knows where the head is: start from your cursor."""


FrameOf: TypeAlias = Callable[[UUID, LogPage, bool, bytes], bytes]  # epoch, page, is_packed, body


@dataclass(frozen=True, slots=True)
class FeedGround:
    """What every feed of a node stands on."""

    limits: FeedLimits
    metrics: Metrics
    reads: asyncio.Semaphore


def log_frame(epoch: UUID, page: LogPage, is_packed: bool, body: bytes) -> bytes:
    """A page of the log."""
    return encode(Page(page.from_seq, page.to_seq, page.head, is_packed, body))


class Feed:
    """One workspace in one mode. `run` moves `head`; `live` are those who stand there."""

    def __init__(
        self, reader: FeedReader, epoch: UUID, head: int, ground: FeedGround, frame_of: FrameOf = log_frame
    ) -> None:
        self.epoch = epoch
        self.head = head
        self.live: dict[LiveFollower, None] = {}
        self.users = 0
        self._reader = reader
        self._ground = ground
        self._frame_of = frame_of
        self._limits = ground.limits
        self._is_draining = False
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()
        self._kept: OrderedDict[int, FramedPage] = OrderedDict()
        self._kept_bytes = 0
        self._making: dict[int, asyncio.Task[FramedPage]] = {}
        self._log = structlog.get_logger()

    def wake(self) -> None:
        """Something was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        backoff = Backoff(longest_seconds=self._limits.max_backoff_seconds)
        while True:
            await self._wait(self._limits.poll_seconds)
            self._woken.clear()
            try:
                await self._advance()
                backoff.reset()
                pause = self._limits.interval_seconds
            except (StoreError, TimeoutError) as error:
                pause = backoff.next_seconds()
                self._log.warning("feed not read", reason=str(error))
            except Exception:  # noqa: BLE001 -- a top loop: one bad page must not be the last
                pause = backoff.next_seconds()
                self._ground.metrics.loop_failures.labels("feed").inc()
                self._log.exception("feed failed")
            await asyncio.sleep(pause)  # what is written meanwhile goes into one page

    async def page(self, after: int) -> FramedPage:
        """The page after a cursor below the head. Callers at one cursor share it. Raises `StoreError`, `OutOfReach`."""
        kept = self._kept.get(after)
        if kept is not None:
            return kept
        making = self._making.get(after)
        if making is None:
            # Not beyond the head: then the pages of all who catch up end where the live ones begin.
            making = self._making[after] = asyncio.create_task(self._make(after, self.head), name="feed page")
            making.add_done_callback(lambda done: self._made(after, done))
        return await asyncio.shield(making)

    async def read(self, after: int, limit: int | None = None) -> LogPage:
        """The same for one reader alone, not encoded."""
        return await self._read(after, None, limit)

    async def look(self) -> Workspace:
        """The workspace now, its head as far as this mode goes."""
        async with asyncio.timeout(self._limits.timeout_seconds):
            return await self._reader.look()

    async def reload_page(self, base: int, since: int, after: UUID | None) -> IssuePage:
        """See `FeedReader.reload_page`."""
        async with self._ground.reads, asyncio.timeout(self._limits.timeout_seconds):
            return await self._reader.reload_page(base, since, after)

    async def until_beyond(self, cursor: int) -> None:
        """Return when the head is above a cursor, or the server stops."""
        while self.head <= cursor and not self._is_draining:
            await self._moved.wait()

    def end_waits(self) -> None:
        """Let nobody wait in `until_beyond`."""
        self._is_draining = True
        self._announce()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _advance(self) -> None:
        """Make pages of what is new and hand them out."""
        now = await self.look()
        if now.epoch != self.epoch or now.head < self.head:
            self._restart(now.epoch, now.head)
        while self.head < now.head:
            try:
                page = await self._make(self.head, now.head)
            except OutOfReach:  # nobody read while it was written and trimmed
                self._restart(now.epoch, now.head)
                return
            if page.to_seq == page.from_seq:
                return
            self._hand_out(page)

    def _hand_out(self, page: FramedPage) -> None:
        self.head = page.to_seq
        self._keep(page)
        for follower in list(self.live):
            follower.take(page)
        self._announce()

    def _restart(self, epoch: UUID, head: int) -> None:
        self.epoch, self.head = epoch, head
        self._kept.clear()
        self._kept_bytes = 0
        for follower in list(self.live):
            follower.lost()
        self._announce()

    def _announce(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _read(self, after: int, until: int | None, limit: int | None) -> LogPage:
        async with self._ground.reads, asyncio.timeout(self._limits.timeout_seconds):
            page = await self._reader.page(self.epoch, after, until, limit)
        self._ground.metrics.feed_rows.inc(page.rows_read)
        return page

    async def _make(self, after: int, until: int) -> FramedPage:
        epoch = self.epoch
        page = await self._read(after, until, None)
        is_packed, body = await body_of(page.entries)
        frame = self._frame_of(epoch, page, is_packed, body)
        return FramedPage(epoch, page.from_seq, page.to_seq, frame)

    def _made(self, after: int, making: asyncio.Task[FramedPage]) -> None:
        del self._making[after]
        if not making.cancelled() and making.exception() is None:
            self._keep(making.result())

    def _keep(self, page: FramedPage) -> None:
        """For whoever comes by the same cursor. Still right when its part of the log is trimmed: it was read before."""
        if page.to_seq == page.from_seq or page.epoch != self.epoch:
            return
        replaced = self._kept.pop(page.from_seq, None)
        self._kept_bytes += len(page.frame) - (len(replaced.frame) if replaced else 0)
        self._kept[page.from_seq] = page
        while self._kept_bytes > self._limits.kept_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.frame)
