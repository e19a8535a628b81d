"""What is known of a room's issue, and what is let into it: who may write, whether there is room, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from crdt import gate
from crdt.errors import CLIENT_ID, FORBIDDEN, FULL, Refused
from crdt.field_writes import DELETED_AT
from crdt.index import Index
from crdt.novelty import says_something_new
from crdt.overwrites import deletion_in
from crdt.records import UNKNOWN_ARRIVAL, Arrival, FieldWrite, Overwrite, Verdict
from crdt.update import merge
from server.batch import Batch
from server.gaps import Gaps, Submission
from server.ground import Ground
from server.hearsay import found_around
from server.large_updates import LargeUpdates
from server.lately import Lately
from server.session import Rejected, Session
from storage.conflict_findings import arrival_of, conflicts_of
from storage.conflicts import NewConflict
from storage.engine import IssueKey
from storage.store import Delta


class Outgrown(Exception):
    """The issue seems full, and much of that came since it was opened: merged bytes never shrink, snapshots do, so
    loaded anew it may be smaller."""


class Judging:
    """Of one room. `index`: what updates are gated against."""

    def __init__(self, key: IssueKey, index: Index, ground: Ground, gaps: Gaps, large: LargeUpdates) -> None:
        self.index = index
        self.gaps = gaps
        self.lately = Lately()
        self.late: list[tuple[Delta, Sequence[Overwrite], bool]] = []  # what the log told of, and may be a conflict
        self._large = large
        self._key = key
        self._ground = ground
        self._limits = ground.limits
        self._metrics = ground.metrics
        self._is_unwritten = not index.state_vector
        self._opened_at = ground.clock.monotonic()
        self._opened_structs = index.structs
        self._opened_bytes = index.stored_bytes
        self._arrival = UNKNOWN_ARRIVAL  # of what is being judged
        self._log = structlog.get_logger().bind(workspace=key.workspace_id, issue=str(key.issue_id))

    def fold(self, delta: Delta) -> None:
        """Take in what another node committed. Raises `Refused` for bytes that are not sound."""
        arrival, was_deleted = arrival_of(delta), deletion_in(self.index) is not None
        verdict = gate.fold(self.index, delta.update, delta.actor_id, arrival)
        if verdict.gap:
            self._log.error("log is not causally closed", seq=delta.seq)
        self._tell_hearing(verdict, delta.actor_id, arrival)
        if verdict.overwrites or (verdict.update and DELETED_AT in self.index.heads):
            self.late.append((delta, verdict.overwrites, was_deleted))

    def take_late(self) -> list[tuple[Delta, list[NewConflict]]]:
        """What the log told of that met what others did, here or there. Asked for when nothing is in flight."""
        late, self.late = self.late, []
        lead = timedelta(seconds=self._limits.max_clock_lead)
        found = [
            (delta, conflicts_of(overwrites, lead) + self.lately.met(self.index, delta, was_deleted, lead))
            for delta, overwrites, was_deleted in late
        ]
        return [(delta, conflicts) for delta, conflicts in found if conflicts]

    def note_refusal(self, session: Session, refused: Refused) -> None:
        """Count and log it, and tell who keeps account. `detail` says what and where, never content."""
        self._metrics.refusals.labels(refused.reason).inc()
        self._log.warning("refused", session=session.name, reason=refused.reason, detail=refused.detail)
        if session.on_refused is not None:
            session.on_refused(refused.reason)

    def _judge(self, session: Session, update: bytes) -> Verdict:
        if session.may_comment:
            self._expect_place()
            user, limits = session.identity.user_id, self._limits.update
            return gate.check(self.index, update, user, limits, session.mandate, self._arrival)
        if says_something_new(self.index, update, self._limits.update):
            raise Refused(FORBIDDEN, "a viewer may not edit")
        return Verdict(b"", False, [])

    def _expect_place(self) -> None:
        """Raises `Refused` where this would be one issue too many."""
        if not self.index.state_vector and not self._ground.may_begin(self._key.workspace_id):
            raise Refused(FULL, "the workspace has as many issues as it may")

    def _unless_outgrown(self, refused: Refused) -> None:
        """Raises `Outgrown`, at most once in a tenth of what an issue may hold and in a while."""
        if refused.reason == FULL and self._ground.clock.monotonic() - self._opened_at > self._limits.reopen_seconds:
            capacity = self._limits.update.capacity
            structs = self.index.structs - self._opened_structs
            size = self.index.stored_bytes - self._opened_bytes
            if 10 * structs > capacity.max_structs or 10 * size > capacity.max_bytes:
                self._metrics.reopened_rooms.inc()
                raise Outgrown

    def _may_be_late(self, session: Session, refused: Refused) -> bool:
        """Whether a refusal may be our ignorance: a client that comes from another node brings what it saw there, by
        other users, and it may not have come here yet. Such an update waits like one with a gap."""
        return refused.reason in (CLIENT_ID, FORBIDDEN) and not self.gaps.knows_log(session)

    def _refuse(self, batch: Batch, submission: Submission, refused: Refused) -> None:
        """An update is not accepted: its receipt says so, or its session is closed."""
        session, update, receipt, _ = submission
        batch.weight += len(update)
        self.note_refusal(session, refused)
        if receipt is None:
            session.refuse(refused)
        else:
            batch.receipts.append((receipt, lambda seq: Rejected(refused)))

    def _accept(self, batch: Batch, session: Session, accepted: list[bytes]) -> None:
        """One delta for what was accepted from a session."""
        if accepted:
            if self._is_unwritten:
                self._is_unwritten = False
                self._ground.begun(self._key.workspace_id)
            if session.conflicts:
                batch.note(session.conflicts)
            batch.authors.append(session)
            batch.updates.append(accepted[0] if len(accepted) == 1 else merge(accepted))

    def _note(self, batch: Batch, overwrites: Sequence[Overwrite]) -> None:
        batch.note(conflicts_of(overwrites, timedelta(seconds=self._limits.max_clock_lead)))

    def _note_unheard(self, batch: Batch, submission: Submission, update: bytes, before: FieldWrite | None) -> None:
        """What meets a deletion. Most issues were never deleted, and for them this is all that it costs. `before`: what
        the issue was deleted by before the update."""
        if DELETED_AT in self.index.heads:
            deletion = deletion_in(self.index)
            if before is None and deletion is not None:
                self.lately.deletion = (deletion.client, deletion.clock)
            now, lead = self._ground.clock.now(), timedelta(seconds=self._limits.max_clock_lead)
            found = found_around(self.index, before, update, submission[0], submission[3], now, lead)
            if found:
                batch.note(found)

    def _tell_hearing(self, verdict: Verdict, actor: str, arrival: Arrival) -> None:
        if self._large.hearing is not None:
            self._large.hearing.accepted(verdict.update, actor, arrival, verdict.overwrites)

    def _replace_index(self, session: Session, index: Index) -> None:
        """The engine knows nothing of presence: what it took in may come with a client id that others announced."""
        index.announced = self.index.announced
        index.stored_bytes = self.index.stored_bytes
        user = session.identity.user_id
        for client in index.owners.keys() - self.index.owners.keys():
            if index.announced.get(client, user) != user:
                raise Refused(CLIENT_ID, f"client id {client} is another user's")
        self.index = index
