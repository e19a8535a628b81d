"""What the parts below the server report, as numbers for the operator."""

from __future__ import annotations

import structlog

from server.engine import JobStats
from server.metrics import Metrics
from storage.appender import CommitStats
from storage.compactor import CompactionStats
from storage.conflicts import SYSTEM, Conflict
from storage.engine import IssueKey
from storage.projector import PageStats

log = structlog.get_logger()


class Observation:
    """One method for each report; all of them only count."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def commit(self, stats: CommitStats) -> None:
        """The appender tried to commit a batch."""
        if stats.failure is not None:
            self._metrics.failed_commits.inc()
            log.warning("commit failed", deltas=stats.deltas, reason=str(stats.failure))
            return
        self._metrics.commits.inc()
        self._metrics.deltas.inc(stats.deltas)
        self._metrics.delta_bytes.inc(stats.update_bytes)
        self._metrics.commit_seconds.observe(stats.commit_seconds)

    def page(self, stats: PageStats) -> None:
        """The projector committed a page."""
        self._metrics.projected.inc(stats.issues)
        self._metrics.projection_lag.set(stats.lag_seconds)

    def quarantine(self, _key: IssueKey) -> None:
        """The projector quarantined an issue."""
        self._metrics.quarantines.inc()

    def compaction(self, _key: IssueKey, stats: CompactionStats) -> None:
        """The compactor handled an issue."""
        self._metrics.compactions.labels(stats.outcome).inc()
        self._metrics.trimmed_deltas.inc(stats.trimmed_deltas)
        if stats.outcome in ("compacted", "kept"):
            self._metrics.snapshots.inc()
        elif stats.outcome == "quarantined":
            self._metrics.quarantines.inc()

    def purge(self, _key: IssueKey) -> None:
        """The purger deleted an issue for good."""
        self._metrics.purges.inc()

    def over_rate(self, limit: str) -> None:
        """A request came too early, or a refused token waits for its answer."""
        self._metrics.over_rates.labels(limit).inc()

    def settled_conflict(self, conflict: Conflict) -> None:
        """A conflict was settled here."""
        self._metrics.settled_conflicts.labels("system" if conflict.resolved_by == SYSTEM else "person").inc()

    def job(self, stats: JobStats) -> None:
        """An engine finished a job, or died of it."""
        self._metrics.jobs.labels(stats.job, stats.outcome).inc()
        self._metrics.job_seconds.observe(stats.seconds)

    def engine_restart(self, reason: str) -> None:
        """An engine process was replaced."""
        self._metrics.engine_restarts.labels(reason.split(" at ")[0]).inc()
        log.warning("engine process replaced", reason=reason)

    def failure(self, loop: str) -> None:
        """A worker's loop caught a failure."""
        self._metrics.loop_failures.labels(loop).inc()
