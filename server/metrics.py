"""Every number an operator sees, one instance per server: nothing here is global."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from server.tally import Tally

_FAST_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Alone(Collector):
    """One metric, as the library takes it to write it down."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


class Metrics:
    """Prometheus collectors under the prefix `syncline_`. Labels have few values, never the name of a user."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._edits()
        self._peers()
        self._readers()

    async def render(self) -> bytes:
        """The text exposition format, for `GET /metrics`: a metric a turn of the loop, for there are many."""
        parts: list[bytes] = []
        for metric in self.registry.collect():
            parts.append(generate_latest(_Alone(metric)))
            await asyncio.sleep(0)
        return b"".join(parts)

    def _edits(self) -> None:
        self.updates = self._tally("updates", "Updates received from sessions.")
        self.update_bytes = self._tally("update_bytes", "Bytes of updates received from sessions.")
        self.deltas = self._counter("deltas", "Deltas committed by this node.")
        self.delta_bytes = self._counter("delta_bytes", "Bytes of deltas committed by this node.")
        self.foreign_deltas = self._counter("foreign_deltas", "Deltas of other nodes fed to rooms here.")
        self.commits = self._counter("commits", "Batches committed.")
        self.failed_commits = self._counter("failed_commits", "Batches that failed or whose outcome is unknown.")
        self.commit_seconds = self._histogram("commit_seconds", "From the statement's start to its commit.")
        self.queue_bytes = self._gauge("queue_bytes", "Bytes of deltas waiting for their commit.")
        self.refusals = self._counter("refusals", "Input refused, by reason.", "reason")
        self.slowed = self._counter("slowed", "Times a socket was not read from, because its peer sends too fast.")
        self.over_rates = self._counter("over_rates", "Requests above a rate, by the limit they were over.", "limit")
        self.lost_audits = self._counter("lost_audits", "Notes for the audit log that found no room in its queue.")
        self.left_out_lines = self._tally("left_out_log_lines", "Lines of the log that were counted and not written.")
        self.gaps = self._counter("gaps", "Updates whose causes were missing.")
        self.asks = self._counter("asks", "SyncStep1 sent to a peer because of a gap.")
        self.conflicts = self._counter("conflicts", "Conflicts recorded with a delta of this node, by kind.", "kind")
        self.settled_conflicts = self._counter(
            "settled_conflicts", "Conflicts settled by this node: by a person, or by the system.", "by"
        )

    def _peers(self) -> None:
        self.rooms = self._gauge("rooms", "Issues open on this node.")
        self.resident_bytes = self._gauge("resident_bytes", "Bytes of updates held by open rooms.")
        self.sessions = self._gauge("sessions", "Sessions in rooms.")
        self.behind_sessions = self._gauge("behind_sessions", "Sessions fed by a difference, not by every update.")
        self.behinds = self._counter("behinds", "Times a session fell behind.")
        self.fan_out = self._tally("fan_out", "Frames with edits sent to sessions.")
        self.presence_fan_out = self._tally("presence_fan_out", "Frames with presence sent to sessions.")
        self.loads = self._counter("loads", "Rooms loaded, by outcome.", "outcome")
        self.load_seconds = self._histogram("load_seconds", "From the first join to an open room.")
        self.evictions = self._counter("evictions", "Idle rooms dropped.")
        self.reopened_rooms = self._counter("reopened_rooms", "Rooms loaded anew because they seemed full.")
        self.failed_rooms = self._counter("failed_rooms", "Rooms forgotten because of a failure, by its kind.", "kind")
        self.loop_failures = self._counter("loop_failures", "Failures caught by a top loop, by its name.", "loop")
        self.loop_lag = self._histogram("loop_lag_seconds", "How late a timer came, of up to a hundred a second.")

    def _readers(self) -> None:
        self.relay_pages = self._counter("relay_pages", "Pages of the log read for open rooms.")
        self.followers = self._gauge("followers", "Clients that follow a workspace.")
        self.feed_rows = self._counter("feed_rows", "Rows of the log read for feeds.")
        self.feed_frames = self._counter("feed_frames", "Pages sent to followers, by kind.", "kind")
        self.feed_bytes = self._counter("feed_bytes", "Bytes of those pages.")
        self.feed_resets = self._counter("feed_resets", "Followers that had to reload, by reason.", "reason")
        self.projected = self._counter("projected_issues", "Issues projected.")
        self.projection_lag = self._gauge("projection_lag_seconds", "Age of the oldest delta not projected yet.")
        self.snapshots = self._counter("snapshots", "Snapshots written.")
        self.compactions = self._counter("compactions", "Issues compacted, by outcome.", "outcome")
        self.purges = self._counter("purges", "Issues deleted for good.")
        self.trimmed_deltas = self._counter("trimmed_deltas", "Deltas trimmed below the watermark.")
        self.quarantines = self._counter("quarantines", "Issues put under quarantine.")
        self.jobs = self._counter("engine_jobs", "Engine jobs, by job and outcome.", "job", "outcome")
        self.job_seconds = self._histogram("engine_job_seconds", "Engine jobs, queueing included.")
        self.engine_restarts = self._counter("engine_restarts", "Engine processes replaced, by reason.", "reason")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="syncline", registry=self.registry)

    def _tally(self, name: str, text: str) -> Tally:
        tally = Tally(name, text)
        self.registry.register(tally)
        return tally

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace="syncline", registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, namespace="syncline", registry=self.registry, buckets=_FAST_SECONDS)
