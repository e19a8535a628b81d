"""Folds long tails into snapshots, then trims what nobody needs: write, load back, compare, and only then trim.

One issue at a time, so a compaction that outlasts its interval is never joined by a second one. Another node at the
same issue writes the same snapshot, which changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

import structlog

from crdt.errors import Refused
from crdt.jobs import Compact, Compacted, Compare
from storage.backoff import Backoff
from storage.conflict_findings import arrivals_of, conflicts_of
from storage.engine import Engine, EngineFailed, EngineUnavailable, IssueKey
from storage.errors import Corrupt, Purged, StoreError, StoreUnavailable
from storage.store import Snapshot, Store, StoredIssue


@dataclass(frozen=True, slots=True)
class CompactorLimits:
    """When an issue is compacted and how long its history is kept. Times are in seconds unless their name says else.

    `tail_updates` / `tail_bytes` make an issue due; `idle_updates` when its room goes idle, where writing a whole
    snapshot for a few keystrokes would cost more than it saves. `apart_updates`: so many deltas lie between two kept
    snapshots of a small issue, about; of a large one more, so that they weigh no more than the log between them.
    `rest`: after each issue, so many times as long as it took, but no longer than the interval. Nobody waits for it,
    and many become due at once.
    """

    tail_updates: int = 500
    tail_bytes: int = 1 << 20
    idle_updates: int = 50
    apart_updates: int = 1_000
    history_days: float = 30.0
    interval_seconds: float = 5.0
    rest: float = 3.0
    job_seconds: float = 60.0
    picks_at_once: int = 64
    max_hints: int = 4_096
    longest_backoff_seconds: float = 30.0
    max_clock_lead_seconds: float = 60.0  # see `storage.conflict_findings`


@dataclass(frozen=True, slots=True)
class CompactionStats:
    """One issue handled. `outcome`: compacted, kept (merged bytes kept for a reason), quarantined or skipped."""

    outcome: str
    bytes_before: int = 0
    bytes_after: int = 0
    trimmed_deltas: int = 0


ROW_BYTES: Final = 200  # what a short delta takes in the log, with its indexes


class _Differs(Exception):
    """A snapshot is not what it was made of."""


class Compactor:
    """Compacts what is due in all workspaces. `hint` names issues whose room went idle."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        limits: CompactorLimits,
        *,
        now: Callable[[], datetime],
        on_issue: Callable[[IssueKey, CompactionStats], None] = lambda key, stats: None,
        on_failure: Callable[[str], None] = lambda name: None,
        random: Random | None = None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._limits = limits
        self._now = now
        self._on_issue = on_issue
        self._on_failure = on_failure
        self._backoff = Backoff(
            first_seconds=1.0,
            longest_seconds=limits.longest_backoff_seconds,
            random=random or Random(),  # noqa: S311 - jitter
        )
        self._hints: dict[IssueKey, None] = {}  # a set that remembers its order
        self._turn = asyncio.Lock()

    def hint(self, key: IssueKey) -> None:
        """Look at this issue at the next round. Beyond `max_hints` it is forgotten: its tail will make it due."""
        if len(self._hints) < self._limits.max_hints:
            self._hints[key] = None

    async def run(self) -> None:
        """Compact until cancelled."""
        while True:
            try:
                await self.compact_due()
            except Exception as error:  # noqa: BLE001 - a top loop
                reason = str(error) if isinstance(error, StoreError | EngineUnavailable) else type(error).__name__
                structlog.get_logger().warning("compactor failed", reason=reason)
                self._on_failure("compactor")
                await asyncio.sleep(self._backoff.next_seconds())
            else:
                self._backoff.reset()
                await asyncio.sleep(self._limits.interval_seconds)

    async def compact_due(self) -> list[IssueKey]:
        """One round: what is due by its tail, then what was hinted. Raises `StoreUnavailable`, `EngineUnavailable`."""
        due = await self._store.issues_to_compact(
            self._limits.tail_updates, self._limits.tail_bytes, self._limits.picks_at_once
        )
        wanted = {IssueKey(status.workspace_id, status.issue_id): 1 for status in due}
        wanted = dict.fromkeys(self._hints, self._limits.idle_updates) | wanted
        loop = asyncio.get_running_loop()
        for key, min_updates in wanted.items():
            began = loop.time()
            await self._attempt(key, min_updates)
            self._hints.pop(key, None)
            rest = self._limits.rest * (loop.time() - began)
            await asyncio.sleep(min(rest, self._limits.interval_seconds))
        return list(wanted)

    async def _attempt(self, key: IssueKey, min_updates: int) -> None:
        try:
            await self.compact(key, min_updates=min_updates)
        except (StoreUnavailable, EngineUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - one issue's failure must not stop the others
            structlog.get_logger().error(
                "compaction failed",
                workspace=key.workspace_id,
                issue=str(key.issue_id),
                reason=type(error).__name__,
            )
            self._on_failure("compaction")

    async def compact(self, key: IssueKey, *, min_updates: int = 1) -> CompactionStats:
        """Compact one issue if at least `min_updates` are in its tail, thin its snapshots and trim its log.

        A failure that is the issue's own puts it under quarantine, with its log untouched.
        """
        async with self._turn:
            try:
                stats = await self._fold_and_trim(key, min_updates)
            except (EngineFailed, Refused) as failure:
                stats = await self._quarantine(key, failure.reason)
            except (_Differs, Corrupt) as failure:
                stats = await self._quarantine(key, str(failure))
            except Purged:
                stats = CompactionStats("skipped")
        self._on_issue(key, stats)
        return stats

    async def _fold_and_trim(self, key: IssueKey, min_updates: int) -> CompactionStats:
        status = await self._store.document(key.workspace_id, key.issue_id)
        if status is not None and status.quarantined_at is not None:
            return CompactionStats("skipped")
        stored = await self._store.load(key.workspace_id, key.issue_id)
        if len(stored.tail) < min_updates:
            return CompactionStats("skipped", trimmed_deltas=await self._trim(key))
        bytes_before = sum(map(len, stored.updates))
        while True:
            step = self._step(stored)
            folded = await self._fold(key, step)
            await self._note(key, step, folded)
            written = await self._write(key, step, folded)
            if step is stored:
                break
            stored = StoredIssue(written, stored.tail[len(step.tail) :])
        return CompactionStats(
            outcome="compacted" if folded.kept is None else "kept",
            bytes_before=bytes_before,
            bytes_after=len(folded.state),
            trimmed_deltas=await self._trim(key),
        )

    def _step(self, stored: StoredIssue) -> StoredIssue:
        """What to fold at once: of a tail that grew faster than it was compacted not all, so that snapshots stand along
        it for those who ask what was."""
        apart = self._apart(len(stored.snapshot.state) + len(stored.snapshot.index) if stored.snapshot else 0)
        if len(stored.tail) <= 2 * apart:
            return stored
        return StoredIssue(stored.snapshot, stored.tail[:apart])

    def _apart(self, snapshot_bytes: int) -> int:
        """How many deltas lie between two snapshots, at least."""
        return max(self._limits.apart_updates, snapshot_bytes // ROW_BYTES)

    async def _fold(self, key: IssueKey, stored: StoredIssue) -> Compacted:
        """A snapshot's bytes, proven to say what the log says before they are written where readers look."""
        snapshot = stored.snapshot
        job = Compact(
            snapshot.state if snapshot else None,
            snapshot.index if snapshot else None,
            [(delta.update, delta.actor_id) for delta in stored.tail],
            arrivals_of(stored.tail),
        )
        folded = await self._engine.run(job, key=key, deadline=self._limits.job_seconds)
        if folded.kept is None:
            await self._expect_same(key, folded.state, stored)
        else:
            structlog.get_logger().info(
                "merged bytes kept", workspace=key.workspace_id, issue=str(key.issue_id), reason=folded.kept
            )
        return folded

    async def _note(self, key: IssueKey, stored: StoredIssue, folded: Compacted) -> None:
        """From here on the values that lost are nowhere but in the ledger. Mostly they have been there since they were
        committed; not where two nodes committed at once and died before they had heard of each other."""
        for place, overwrite in folded.overwrites:
            delta = stored.tail[place]
            found = conflicts_of([overwrite], timedelta(seconds=self._limits.max_clock_lead_seconds))
            await self._store.ledger.note(key.workspace_id, key.issue_id, delta.seq, found, delta.created_at)

    async def _expect_same(self, key: IssueKey, state: bytes, stored: StoredIssue) -> None:
        compared = await self._engine.run(Compare([state], stored.updates), key=key, deadline=self._limits.job_seconds)
        if compared.difference is not None:
            raise _Differs(f"the snapshot differs from the log: {compared.difference}")

    async def _write(self, key: IssueKey, stored: StoredIssue, folded: Compacted) -> Snapshot:
        """Save the snapshot and load it back; what comes back must say what was compared."""
        # Its time is that of its last delta, so that "as it was at" finds it, and a row projected from it is the same.
        at = stored.tail[-1].created_at
        made = Snapshot(key.workspace_id, key.issue_id, stored.seq, stored.version, folded.state, folded.index, at)
        await self._store.save_snapshot(made)
        kept = await self._store.snapshots(key.workspace_id, key.issue_id)
        back = next((snapshot for snapshot in kept if snapshot.seq == stored.seq), None)
        if back is None:
            # Only a newer one, by another node, keeps ours out.
            if not kept or kept[0].seq < stored.seq:
                raise _Differs("the snapshot is not there when loaded back")
        elif (back.state, back.index) != (folded.state, folded.index):
            # Another node was faster, and its bytes may be arranged otherwise.
            await self._expect_same(key, back.state, stored)
        return back or made

    async def _trim(self, key: IssueKey) -> int:
        """Thin the snapshots, then trim the log below the watermark. Returns the number of deltas trimmed."""
        kept = await self._store.snapshots(key.workspace_id, key.issue_id)
        status = await self._store.document(key.workspace_id, key.issue_id)
        if len(kept) < 2 or status is None:
            return 0
        cutoff = self._now() - timedelta(days=self._limits.history_days)
        through = watermark(kept, cutoff, floor=status.floor, projected=status.last_seq)
        trimmed = 0
        if through is not None:
            trimmed = await self._store.trim(key.workspace_id, key.issue_id, through)
        above = [snapshot for snapshot in kept if snapshot.seq > max(through or 0, status.floor)]
        spare = superfluous(above, self._apart)
        if spare:
            await self._store.drop_snapshots(key.workspace_id, key.issue_id, spare)
        return trimmed

    async def _quarantine(self, key: IssueKey, reason: str) -> CompactionStats:
        structlog.get_logger().error(
            "issue quarantined", workspace=key.workspace_id, issue=str(key.issue_id), reason=reason
        )
        await self._store.quarantine(key.workspace_id, key.issue_id, reason)
        return CompactionStats("quarantined")


def watermark(kept: Sequence[Snapshot], cutoff: datetime, *, floor: int, projected: int) -> int | None:
    """Through which snapshot the log may go: the newest one that is older than the history window and projected,
    never the newest of all (its predecessor is kept beside it). None when there is nothing to trim."""
    seqs = [snapshot.seq for snapshot in kept[1:] if snapshot.created_at < cutoff and floor < snapshot.seq <= projected]
    return max(seqs, default=None)


def superfluous(kept: Sequence[Snapshot], apart: Callable[[int], int]) -> list[int]:
    """Seqs of the snapshots thinning drops, of those that are kept, newest first: all but the newest, the previous one,
    the newest of each day (UTC), and those that stand far enough from the next one that stays. `apart`: how many
    deltas that is, by the size of a snapshot."""
    days: set[date] = set()
    spare: list[int] = []
    following = 0  # version of the next newer one that stays
    for position, snapshot in enumerate(kept):
        day = snapshot.created_at.date()
        is_far = following - snapshot.version >= apart(len(snapshot.state) + len(snapshot.index))
        if position >= 2 and day in days and not is_far:
            spare.append(snapshot.seq)
        else:
            following = snapshot.version
        days.add(day)
    return spare
