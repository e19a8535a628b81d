"""Group commit: what rooms append while one batch commits becomes the next batch.

Whoever appends hears of it after COMMIT, never before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from storage.errors import Overloaded, StoreError, StoreUnavailable
from storage.store import NewDelta, Store

# What a queued delta weighs besides its update: its record, its place in the queue and its row on the wire.
DELTA_OVERHEAD_BYTES: Final = 300

_Issue: TypeAlias = tuple[int, UUID]
# What became of deltas: their seqs after COMMIT, or why there are none.
Landed: TypeAlias = Callable[[Sequence[int], StoreError | None], None]


@dataclass(frozen=True, slots=True)
class CommitStats:
    """One attempt to commit a batch. `waited_seconds`: how long its oldest delta had been queued."""

    deltas: int
    update_bytes: int
    waited_seconds: float
    commit_seconds: float
    failure: StoreError | None
    workspace_ids: frozenset[int] = frozenset()


class _Entry:
    """The deltas of one `append`: committed together or not at all.

    `weight`: bytes it counts for in the queue · `queued_at`: loop time.
    """

    __slots__ = ("deltas", "landed", "queued_at", "weight")

    def __init__(self, deltas: Sequence[NewDelta], landed: Landed, weight: int, queued_at: float) -> None:
        self.deltas = deltas
        self.landed = landed
        self.weight = weight
        self.queued_at = queued_at

    def issues(self) -> list[_Issue]:
        return [(delta.workspace_id, delta.issue_id) for delta in self.deltas]


class Appender:
    """The queue in front of the log. One `run` task commits; everybody else calls `append`.

    When a commit fails, whatever is queued behind it for the same issues fails with it: those deltas may need what was
    lost, and the log never holds a delta without its causes. Whoever appended must forget the issue's room when it
    hears of the failure; until all have heard, more deltas for these issues are refused too.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_queued_bytes: int = 64 * 1024 * 1024,
        max_batch_deltas: int = 1_000,
        max_batch_bytes: int = 8 * 1024 * 1024,
        commit_timeout: float = 10.0,
        on_commit: Callable[[CommitStats], None] | None = None,
    ) -> None:
        self._store = store
        self._max_queued_bytes = max_queued_bytes
        self._max_batch_deltas = max_batch_deltas
        self._max_batch_bytes = max_batch_bytes
        self._commit_timeout = commit_timeout
        self._on_commit = on_commit
        self._queue: deque[_Entry] = deque()
        self._in_flight: list[_Entry] = []
        self._queued_bytes = 0
        self._lost: deque[set[_Issue]] = deque()  # by failures that not everybody has heard of
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._is_closing = False
        self._last_failure: StoreError | None = None
        self._log = structlog.get_logger()
        self._loop = asyncio.get_running_loop()  # asking for it is a system call, too much for every delta

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting and in flight."""
        return self._queued_bytes

    @property
    def last_failure(self) -> StoreError | None:
        """Why the last commit failed; None when it went well."""
        return self._last_failure

    def stuck_for(self, now: float) -> float:
        """Seconds the oldest uncommitted delta has waited. `now` is the loop's time."""
        oldest = self._in_flight or self._queue
        return max(0.0, now - oldest[0].queued_at) if oldest else 0.0

    def append(self, deltas: Sequence[NewDelta], landed: Landed) -> None:
        """Queue deltas, adjacent and in order. `landed` hears of it in a later turn of the loop: with their seqs after
        COMMIT, else with `StoreUnavailable`, after which their fate is unknown, or with another `StoreError` when the
        log refused them.

        The call itself never waits: it raises `Overloaded` when the queue is full and `StoreUnavailable` when the
        appender is closed.
        """
        if self._is_closing:
            raise StoreUnavailable("the server is shutting down")
        weight = DELTA_OVERHEAD_BYTES * len(deltas)
        for delta in deltas:
            weight += len(delta.update)
        # An empty queue takes anything: a bound no single upload may pass is the gate's business.
        if self._queued_bytes and self._queued_bytes + weight > self._max_queued_bytes:
            raise Overloaded(f"{self._queued_bytes} bytes wait for the log already")
        entry = _Entry(deltas, landed, weight, self._loop.time())
        if not deltas:
            self._loop.call_soon(self._call, entry, [], None)
        elif self._lost and any(not lost.isdisjoint(entry.issues()) for lost in self._lost):
            failure = StoreUnavailable("an earlier delta of this issue was lost")
            self._loop.call_soon(self._call, entry, [], failure)
        else:
            if not self._queue:
                self._wake.set()
            self._queue.append(entry)
            self._queued_bytes += weight

    async def run(self) -> None:
        """Commit batches until `close`. Ended early, it fails everything that waits."""
        try:
            while not (self._is_closing and not self._queue):
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._commit(self._next_batch())
        finally:
            self._is_closing = True
            self._fail([*self._in_flight, *self._queue], StoreUnavailable("the server is shutting down"))
            self._in_flight = []
            self._queue.clear()
            self._done.set()

    async def close(self) -> None:
        """Take nothing more, commit what is queued, and return when `run` has."""
        self._is_closing = True
        self._wake.set()
        await self._done.wait()

    def _next_batch(self) -> list[_Entry]:
        batch = [self._queue.popleft()]
        deltas, weight = len(batch[0].deltas), batch[0].weight
        while self._queue:
            deltas += len(self._queue[0].deltas)
            weight += self._queue[0].weight
            if deltas > self._max_batch_deltas or weight > self._max_batch_bytes:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _commit(self, batch: list[_Entry]) -> None:
        self._in_flight = batch
        failure = await self._attempt(batch)
        self._in_flight = []
        if failure is None:
            return
        if isinstance(failure, StoreUnavailable) or len(batch) == 1:
            self._lose(batch, failure)
        else:
            await self._commit_singly(batch)

    async def _commit_singly(self, batch: list[_Entry]) -> None:
        """The statement was refused, not the store: one entry is to blame, and only its issues shall suffer."""
        self._in_flight = batch
        while self._in_flight:
            entry, *rest = self._in_flight
            failure = await self._attempt([entry])
            if isinstance(failure, StoreUnavailable):
                lost, self._in_flight = self._in_flight, []
                self._lose(lost, failure)
            else:
                self._in_flight = rest
                if failure is not None:
                    self._lose([entry], failure)

    async def _attempt(self, entries: list[_Entry]) -> StoreError | None:
        """Commit entries and tell of it, or say why not."""
        started = self._loop.time()
        deltas = [delta for entry in entries for delta in entry.deltas]
        failure: StoreError | None = None
        try:
            async with asyncio.timeout(self._commit_timeout):
                seqs = await self._store.append(deltas)
            self._queued_bytes -= sum([entry.weight for entry in entries])
            # In the next turn: the next batch leaves before those of this one are busy with it. One callback for all.
            self._loop.call_soon(self._tell, entries, seqs)
        except StoreError as error:
            failure = error
        except TimeoutError:
            failure = StoreUnavailable(f"no COMMIT within {self._commit_timeout:g} s; whether it happened is unknown")
        except Exception as error:  # noqa: BLE001 -- a defect in one delta must not stop the log for everybody
            self._log.exception("append failed", deltas=len(deltas))
            failure = StoreError(f"the log refused a delta: {type(error).__name__}")
        self._last_failure = failure
        if self._on_commit is not None:
            update_bytes = sum(len(delta.update) for delta in deltas)
            waited = started - entries[0].queued_at
            workspaces = frozenset(delta.workspace_id for delta in deltas)
            took = self._loop.time() - started
            self._on_commit(CommitStats(len(deltas), update_bytes, waited, took, failure, workspaces))
        return failure

    def _tell(self, entries: list[_Entry], seqs: list[int]) -> None:
        start = 0
        for entry in entries:
            end = start + len(entry.deltas)
            self._call(entry, seqs[start:end], None)
            start = end

    def _call(self, entry: _Entry, seqs: Sequence[int], failure: StoreError | None) -> None:
        try:
            entry.landed(seqs, failure)
        except Exception:  # noqa: BLE001 -- the others of the batch have to hear of it all the same
            self._log.exception("nobody heard what became of deltas", deltas=len(entry.deltas))

    def _lose(self, entries: Iterable[_Entry], failure: StoreError) -> None:
        """Fail entries, and those behind them whose issues lost something, in their order."""
        lost: set[_Issue] = set()
        for entry in entries:
            lost.update(entry.issues())
        self._fail(entries, failure)
        self._in_flight = self._unharmed(self._in_flight, lost, failure)
        self._queue = deque(self._unharmed(self._queue, lost, failure))
        # Those who hear of it are ahead of this in the loop's queue: until all have, a room may not know yet and append
        # once more.
        self._lost.append(lost)
        self._loop.call_soon(self._lost.popleft)

    def _unharmed(self, entries: Iterable[_Entry], lost: set[_Issue], failure: StoreError) -> list[_Entry]:
        unharmed = []
        for entry in entries:
            if lost.isdisjoint(entry.issues()):
                unharmed.append(entry)
            else:
                lost.update(entry.issues())
                self._fail([entry], failure)
        return unharmed

    def _fail(self, entries: Iterable[_Entry], failure: StoreError) -> None:
        for entry in entries:
            self._queued_bytes -= entry.weight
            self._loop.call_soon(self._call, entry, [], failure)
