"""The feeds of a node: one for each workspace and mode that somebody follows, gone with the last who does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace

from crdt.native import CONFLICTS, ROWS
from server.conflict_feed import ConflictsReader, conflicts_frame
from server.feed import Feed, FeedGround, FeedLimits
from server.feed_readers import FeedReader, RowsReader, UpdatesReader
from server.metrics import Metrics
from storage.store import Store, Workspace


class Feeds:
    """Made inside the running loop."""

    def __init__(self, store: Store, limits: FeedLimits, metrics: Metrics) -> None:
        self._store = store
        self._limits = limits
        self._ground = FeedGround(limits, metrics, asyncio.Semaphore(limits.max_reads))
        self._feeds: dict[tuple[int, str], Feed] = {}
        self._running: dict[Feed, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def following(self, workspace: Workspace, mode: str) -> AsyncIterator[Feed]:
        """The workspace's feed, for as long as the block lasts. Raises `StoreError`."""
        key = (workspace.id, mode)
        if key not in self._feeds:
            reader = self._reader(workspace, mode)
            now = await reader.look()
            if key not in self._feeds:  # somebody else may have been as quick
                feed = self._feeds[key] = self._feed(mode, reader, now)
                self._running[feed] = asyncio.create_task(feed.run(), name=f"feed {key}")
        feed = self._feeds[key]
        feed.users += 1
        try:
            yield feed
        finally:
            feed.users -= 1
            if not feed.users and self._feeds.get(key) is feed:
                del self._feeds[key]
                self._running.pop(feed).cancel()

    def wake(self, workspace_ids: Collection[int] | None = None) -> None:
        """Something was committed to these workspaces; None: somewhere."""
        for (workspace_id, mode), feed in self._feeds.items():
            if mode != CONFLICTS and (workspace_ids is None or workspace_id in workspace_ids):
                feed.wake()

    def wake_conflicts(self, workspace_id: int) -> None:
        """A conflict of this workspace was recorded or settled."""
        feed = self._feeds.get((workspace_id, CONFLICTS))
        if feed is not None:
            feed.wake()

    def drain(self) -> None:
        """The server stops: nobody waits any longer for something to happen."""
        for feed in self._feeds.values():
            feed.end_waits()

    async def close(self) -> None:
        """End the feeds."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _feed(self, mode: str, reader: FeedReader, now: Workspace) -> Feed:
        if mode != CONFLICTS:
            return Feed(reader, now.epoch, now.head, self._ground)
        limits = replace(self._limits, poll_seconds=self._limits.conflicts.poll_seconds)
        return Feed(reader, now.epoch, now.head, replace(self._ground, limits=limits), conflicts_frame)

    def _reader(self, workspace: Workspace, mode: str) -> FeedReader:
        if mode == CONFLICTS:
            return ConflictsReader(self._store, workspace, self._limits.conflicts)
        kind: Callable[..., FeedReader] = RowsReader if mode == ROWS else UpdatesReader
        return kind(self._store, workspace, self._limits.page)
