"""The log of other nodes, fed to the rooms here in seq order, each delta once.

For every workspace with open rooms it knows up to which seq everything is here (`frontier`) and which seqs beyond it
this node committed itself. A hole between the two was filled by somebody else: read the log there. The poll finds the
rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from server.limits import RelayLimits
from server.metrics import Metrics
from storage.errors import StoreError, StoreUnavailable, UnknownWorkspace
from storage.store import Delta, Store, Workspace

_UNKNOWN = -1


class _Followed:
    """One workspace. `ahead`: own seqs beyond the frontier · `started`: how many reads were · `finished`: the newest of
    them that went well."""

    __slots__ = ("ahead", "finished", "frontier", "lock", "started")

    def __init__(self) -> None:
        self.frontier = _UNKNOWN
        self.ahead: set[int] = set()
        self.lock = asyncio.Lock()
        self.started = 0
        self.finished = 0

    def absorb(self) -> None:
        """Move the frontier over what this node committed."""
        while self.frontier + 1 in self.ahead:
            self.frontier += 1
            self.ahead.discard(self.frontier)

    def start(self, head: int) -> None:
        """Everything through `head` will be in whatever is loaded from now on."""
        self.frontier = head
        self.ahead = {seq for seq in self.ahead if seq > head}
        self.absorb()


class LogRelay:
    """Polls the heads of followed workspaces, and reads at once where a commit of ours reveals foreign seqs.

    `feed` gets the deltas of one workspace, ascending; this node's own are left out, but for those whose COMMIT was
    read from the log before the appender heard of it.
    """

    def __init__(self, store: Store, limits: RelayLimits, metrics: Metrics) -> None:
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._followed: dict[int, _Followed] = {}
        self._feed: Callable[[Sequence[Delta]], None] = _nobody
        self._wake = asyncio.Event()
        self._is_looking = False
        self._log = structlog.get_logger()

    def deliver_to(self, feed: Callable[[Sequence[Delta]], None]) -> None:
        """Where deltas go: the hub's rooms."""
        self._feed = feed

    async def follow(self, workspace: Workspace) -> None:
        """Feed what is committed from now on. Call it before an issue is loaded, so that nothing falls between."""
        followed = self._followed.setdefault(workspace.id, _Followed())
        async with followed.lock:
            if followed.frontier == _UNKNOWN:
                now = await self._store.workspace(workspace.slug)
                if now is None:
                    raise UnknownWorkspace(workspace.slug)
                followed.start(now.head)

    def keep_only(self, workspace_ids: Collection[int]) -> None:
        """Stop following every other workspace."""
        for workspace_id in self._followed.keys() - set(workspace_ids):
            del self._followed[workspace_id]

    def committed(self, workspace_id: int, seqs: Sequence[int]) -> None:
        """This node committed `seqs`, and its rooms have them."""
        followed = self._followed.get(workspace_id)
        if followed is None:
            return
        frontier = followed.frontier
        if len(seqs) == 1 and seqs[0] == frontier + 1 and not followed.ahead:
            followed.frontier = seqs[0]
            return
        followed.ahead.update(seq for seq in seqs if seq > frontier)
        followed.absorb()
        if followed.ahead and not self._is_looking:
            # The other rooms of the same batch report in this turn of the loop too: what is missing then is foreign.
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def is_through(self, workspace_id: int, seq: int) -> bool:
        """Whether all that was committed up to `seq` is here. A room that committed something later may lack it."""
        followed = self._followed.get(workspace_id)
        return followed is not None and followed.frontier >= seq

    async def catch_up(self, workspace_id: int) -> None:
        """Return when everything committed before this call was fed. Callers at one time share a read. Raises
        `StoreError` when the log cannot be read."""
        followed = self._followed.get(workspace_id)
        if followed is not None:
            before = followed.started
            async with followed.lock:
                if followed.finished <= before and followed.frontier != _UNKNOWN:
                    await self._pull(workspace_id, followed)

    def wake(self) -> None:
        """Another node says that it committed something: look now."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        delay = self._limits.interval
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                async with asyncio.timeout(self._limits.timeout):
                    await self._round()
                delay = self._limits.interval
            except (StoreUnavailable, TimeoutError) as error:
                delay = min(2 * delay, self._limits.max_backoff)
                self._log.warning("log of other nodes not read", reason=str(error))
            except Exception:  # noqa: BLE001 -- a top loop: one bad round must not be the last
                delay = min(2 * delay, self._limits.max_backoff)
                self._metrics.loop_failures.labels("relay").inc()
                self._log.exception("relay failed")

    def _look(self) -> None:
        self._is_looking = False
        if any(followed.ahead for followed in self._followed.values()):
            self._wake.set()

    async def _round(self) -> None:
        if not self._followed:
            return
        for workspace in await self._store.workspaces():
            followed = self._followed.get(workspace.id)
            if followed is not None and _UNKNOWN != followed.frontier < workspace.head:
                try:
                    await self.catch_up(workspace.id)
                except StoreUnavailable:
                    raise
                except StoreError as error:
                    # Damage in one workspace's log must not stop the others'.
                    self._metrics.loop_failures.labels("relay").inc()
                    self._log.error("log not readable", workspace=workspace.id, reason=str(error))

    async def _pull(self, workspace_id: int, followed: _Followed) -> None:
        followed.started += 1
        number = followed.started
        while True:
            page = await self._store.page(workspace_id, followed.frontier, self._limits.page)
            if not page:
                followed.finished = number
                return
            self._metrics.relay_pages.inc()
            self._take(followed, page)

    def _take(self, followed: _Followed, page: Sequence[Delta]) -> None:
        """Feed what is not ours. Own commits may have moved the frontier while the page was read."""
        foreign: list[Delta] = []
        for delta in page:
            if delta.seq <= followed.frontier:
                continue
            if delta.seq in followed.ahead:
                followed.ahead.discard(delta.seq)
            else:
                foreign.append(delta)
            followed.frontier = delta.seq
        followed.absorb()
        if foreign:
            self._feed(foreign)


def _nobody(deltas: Sequence[Delta]) -> None:
    """Before a hub is there nothing is followed."""
