"""The way into a room: updates in the order they came, gated a turn at a time, one delta a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from crdt.errors import CLIENT_ID, FORBIDDEN, FULL, TOO_LARGE, Refused
from crdt.gate import check
from crdt.index import Index
from crdt.jobs import Check, Checked
from crdt.keystrokes import runs_of_keystrokes
from crdt.novelty import says_something_new
from crdt.records import UNKNOWN_ARRIVAL, Arrival, Overwrite, Verdict
from crdt.update import EMPTY_UPDATE, merge
from server import close_codes
from server.gaps import Gaps, Submission, Tried
from server.ground import Ground
from server.session import Incomplete, Outcome, Overtaken, Receipt, Rejected, Session, Stored
from storage.conflict_findings import conflicts_of, milliseconds
from storage.conflicts import NewConflict
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.store import NewDelta


class Outgrown(Exception):
    """The issue seems full, and much of that came since it was opened: merged bytes never shrink, snapshots do, so
    loaded anew it may be smaller."""


class Batch:
    """What one turn accepted. `authors[i]` wrote `updates[i]`, and each is causally closed with those before it.

    `weight` counts the bytes of what was submitted · `stuck`: sessions that wait for what other nodes committed ·
    `conflicts`: by number of the update they were found in · `is_overtaken`: nothing of it is kept.
    """

    __slots__ = ("authors", "conflicts", "is_overtaken", "receipts", "stuck", "updates", "weight")

    def __init__(self) -> None:
        self.conflicts: dict[int, list[NewConflict]] = {}
        self.authors: list[Session] = []
        self.updates: list[bytes] = []
        self.receipts: list[tuple[Receipt, Callable[[int], Outcome]]] = []
        self.stuck: list[Session] = []
        self.weight = 0
        self.is_overtaken = False

    def note(self, found: Sequence[NewConflict]) -> None:
        """Conflicts in what is accepted next. A loser whose author replaces it in the same turn has lost nothing, and
        what it made up for, its replacement does."""
        replaced = {(conflict.field, conflict.supersedes) for conflict in found}
        made_up_for: dict[tuple[str, str | None], str | None] = {}
        for number, earlier in self.conflicts.items():
            kept: list[NewConflict] = []
            for conflict in earlier:
                loser = (conflict.field, conflict.losing.key)
                if loser in replaced:
                    made_up_for[loser] = conflict.supersedes
                else:
                    kept.append(conflict)
            self.conflicts[number] = kept
        self.conflicts.setdefault(len(self.updates), []).extend(
            replace(one, supersedes=made_up_for.get((one.field, one.supersedes), one.supersedes)) for one in found
        )

    def deltas(self, key: IssueKey, now: datetime, after: int | None) -> list[NewDelta]:
        """What goes into the log. `after`: see `NewDelta`, of a batch of one update."""
        return [
            NewDelta(
                key.workspace_id,
                key.issue_id,
                update,
                author.identity.user_id,
                author.identity.device_id,
                now,
                self.conflicts.get(at, ()),
                after,
                author.mark,
            )
            for at, (author, update) in enumerate(zip(self.authors, self.updates, strict=True))
        ]

    def call_receipts(self, seq: int) -> None:
        """Tell everybody in here what became of their updates; `seq` is the newest of the issue."""
        for receipt, outcome in self.receipts:
            receipt(Overtaken() if self.is_overtaken else outcome(seq))


class Intake:
    """What a room was sent and has not gated yet, and the index it is gated against."""

    def __init__(self, key: IssueKey, index: Index, ground: Ground, ask_peer: Callable[[Session], bool]) -> None:
        self.index = index
        self.gaps = Gaps(ground.limits, ask_peer)
        self._key = key
        self._ground = ground
        self._limits = ground.limits
        self._metrics = ground.metrics
        self._inbox: list[Submission] = []
        self._waiting_bytes = 0
        self._received = 0
        self._received_bytes = 0
        self._paused: dict[Session, None] = {}
        self._is_unwritten = not index.state_vector
        self._opened_at = ground.clock.monotonic()
        self._opened_structs = index.structs
        self._opened_bytes = index.stored_bytes
        self._arrival = UNKNOWN_ARRIVAL  # of what is being judged
        self._log = structlog.get_logger().bind(workspace=key.workspace_id, issue=str(key.issue_id))

    @property
    def is_empty(self) -> bool:
        """Whether the next turn has nothing to do."""
        return not self._inbox

    def put(self, session: Session, update: bytes, receipt: Receipt | None) -> None:
        """Queue an update for the next turn. Above the bound its session is read no further for now."""
        self._inbox.append((session, update, receipt))
        self._received += 1
        self._received_bytes += len(update)
        self._waiting_bytes += len(update)
        if self._waiting_bytes > self._limits.max_waiting_bytes:
            self._paused[session] = None
            session.connection.pause_reading()

    def release(self, weight: int) -> None:
        """That many submitted bytes have come to their end."""
        self._waiting_bytes -= weight
        if self._paused and self._waiting_bytes <= self._limits.max_waiting_bytes // 2:
            paused, self._paused = self._paused, {}
            for session in paused:
                session.connection.resume_reading()

    def retry(self, session: Session) -> None:
        """Check what waits of this session again, ahead of everything."""
        self._inbox[:0] = self.gaps.unpark(session)

    def forget(self, session: Session) -> None:
        """The session has ended. What it sent is still taken in."""
        self._paused.pop(session, None)
        self.gaps.forget(session)

    def clear(self) -> None:
        """The room has ended: nothing of this is acknowledged, its peers send it again."""
        self._inbox.clear()
        self._paused.clear()
        self.gaps.clear()

    def take_alone(self) -> Submission | None:
        """The next submission if it is checked by an engine, as a turn of its own: it is too big for the loop, or may
        be overtaken, after which the index must be what it was."""
        if self._inbox and self._is_alone(self._inbox[0]) and not self.gaps.holds(self._inbox[0][0]):
            return self._inbox.pop(0)
        return None

    def overtaken(self, submission: Submission) -> Batch:
        """A turn of an update that comes too late for what it was to come right after."""
        batch = Batch()
        batch.weight = len(submission[1])
        if submission[2] is not None:
            batch.receipts.append((submission[2], Stored))
        batch.is_overtaken = True
        return batch

    def take_turn(self) -> Batch:
        """Gate what has come in, up to the next update that goes alone."""
        batch = Batch()
        self._count()
        groups = self._groups()
        now_ms = milliseconds(self._ground.clock.now())
        for session, submissions in groups.items():
            self._arrival = Arrival(session.identity.device_id or "", now_ms)
            accepted: list[bytes] = []
            if len(submissions) > 1 and session.may_edit:
                submissions = self._admit_runs(batch, accepted, submissions)
            for at, submission in enumerate(submissions):
                if session.is_dismissed:
                    batch.weight += len(submission[1])
                elif not self._admit(batch, accepted, submission):
                    self._park(batch, submissions[at:], others_came=len(groups) > 1)
                    break
            self._accept(batch, session, accepted)
        return batch

    def _admit_runs(self, batch: Batch, accepted: list[bytes], submissions: list[Submission]) -> list[Submission]:
        """Whoever types faster than turns come has sent strokes that follow one another: they are judged as one. What
        is left from the first one on that is not simply accepted is returned, to be judged one by one."""
        at = 0
        for update, count in runs_of_keystrokes([update for _, update, _ in submissions]):
            run = submissions[at : at + count]
            if count == 1 or run[0][0].is_dismissed or not self._admit_run(batch, accepted, update, run):
                break
            at += count
        return submissions[at:]

    def _admit_run(self, batch: Batch, accepted: list[bytes], update: bytes, run: list[Submission]) -> bool:
        try:
            session = run[0][0]
            verdict = check(self.index, update, session.identity.user_id, self._limits.update, session.mandate)
        except Refused:
            return False
        if verdict.update:
            accepted.append(verdict.update)
        if verdict.gap:
            return False  # what was taken of it is nothing new when its parts are judged
        for submission in run:
            self._settle(batch, submission, has_gap=False)
        return True

    async def check(self, batch: Batch, submission: Submission) -> None:
        """Have an engine gate an update, on a copy of the index, which must not change meanwhile."""
        session, update, _ = submission
        if session.is_dismissed:
            batch.weight += len(update)
            return
        user = session.identity.user_id
        mandate = session.mandate if session.may_comment else None  # nothing at all may be new: that is seen below
        arrival = Arrival(session.identity.device_id or "", milliseconds(self._ground.clock.now()))
        job = Check(self.index.encode(), update, user, self._limits.update, mandate, arrival, self.index.stored_bytes)
        try:
            self._expect_place()
            checked = await self._ground.engine.run(job, key=self._key, deadline=self._limits.engine_timeout)
            self._take_checked(batch, submission, checked)
        except Refused as refused:
            self._unless_outgrown(refused)
            if self._may_be_late(session, refused):
                self._park(batch, [submission], others_came=False)
            else:
                self._refuse(batch, submission, refused)
        except EngineFailed as failure:
            self._ground.quarantine(failure)
            self._refuse(batch, submission, Refused(TOO_LARGE, "too much to check"))
        except EngineUnavailable:
            batch.weight += len(update)
            session.dismiss(close_codes.TRY_LATER, "too busy to check")

    def _take_checked(self, batch: Batch, submission: Submission, checked: Checked) -> None:
        session = submission[0]
        if checked.update and not session.may_comment:
            raise Refused(FORBIDDEN, "a viewer may not edit")
        if checked.update:
            self._replace_index(session, Index.decode(checked.index))
            self._note(batch, checked.overwrites)
            self._accept(batch, session, [checked.update])
        if not self._settle(batch, submission, has_gap=checked.gap):
            self._park(batch, [submission], others_came=False)

    def _replace_index(self, session: Session, index: Index) -> None:
        """The engine knows nothing of presence: what it took in may come with a client id that others announced."""
        index.announced = self.index.announced
        index.stored_bytes = self.index.stored_bytes
        user = session.identity.user_id
        for client in index.owners.keys() - self.index.owners.keys():
            if index.announced.get(client, user) != user:
                raise Refused(CLIENT_ID, f"client id {client} is another user's")
        self.index = index

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

    def _settle(self, batch: Batch, submission: Submission, *, has_gap: bool) -> bool:
        """An update was judged. False: it has a gap, and must wait because there is something left to try."""
        session, update, receipt = submission
        if has_gap:
            self._metrics.gaps.inc()
            if self.gaps.may_wait(session):
                return False
            self.gaps.ask(session)
        else:
            self.gaps.passed(session)
        batch.weight += len(update)
        if receipt is not None:
            batch.receipts.append((receipt, Incomplete if has_gap else Stored))
        return True

    def _refuse(self, batch: Batch, submission: Submission, refused: Refused) -> None:
        """An update is not accepted: its receipt says so, or its session is closed."""
        session, update, receipt = submission
        batch.weight += len(update)
        self.note_refusal(session, refused)
        if receipt is None:
            session.refuse(refused)
        else:
            batch.receipts.append((receipt, lambda seq: Rejected(refused)))

    def _may_be_late(self, session: Session, refused: Refused) -> bool:
        """Whether a refusal may be our ignorance: a client that comes from another node brings what it saw there, by
        other users, and it may not have come here yet. Such an update waits like one with a gap."""
        return refused.reason in (CLIENT_ID, FORBIDDEN) and not self.gaps.knows_log(session)

    def note_refusal(self, session: Session, refused: Refused) -> None:
        """Count and log it, and tell who keeps account. `detail` says what and where, never content."""
        self._metrics.refusals.labels(refused.reason).inc()
        self._log.warning("refused", session=session.name, reason=refused.reason, detail=refused.detail)
        if session.on_refused is not None:
            session.on_refused(refused.reason)

    def _groups(self) -> dict[Session, list[Submission]]:
        """What this turn gates, by session in the order they came. A session's own order is kept, and what one needs of
        a session further down makes a gap that the next turn closes: so every delta follows its causes in the log."""
        groups: dict[Session, list[Submission]] = {}
        taken = len(self._inbox)
        for at, submission in enumerate(self._inbox):
            session = submission[0]
            if self.gaps.holds(session):
                self.gaps.park(session, [submission])
            elif self._is_alone(submission):
                taken = at
                break
            else:
                groups.setdefault(session, []).append(submission)
        self._inbox = self._inbox[taken:]
        return groups

    def _count(self) -> None:
        """Once a turn: a counter costs as much as the gate does."""
        self._metrics.updates.inc(self._received)
        self._metrics.update_bytes.inc(self._received_bytes)
        self._received = self._received_bytes = 0

    def _is_alone(self, submission: Submission) -> bool:
        session, update, _ = submission
        return len(update) > self._limits.max_inline_update_bytes or session.after is not None

    def _admit(self, batch: Batch, accepted: list[bytes], submission: Submission) -> bool:
        session, update, _ = submission
        if update == EMPTY_UPDATE:
            return self._settle(batch, submission, has_gap=False)
        try:
            verdict = self._judge(session, update)
        except Refused as refused:
            self._unless_outgrown(refused)
            if self._may_be_late(session, refused):
                return False
            self._refuse(batch, submission, refused)
            return True
        if verdict.update:
            accepted.append(verdict.update)
        if verdict.overwrites:
            self._note(batch, verdict.overwrites)
        return self._settle(batch, submission, has_gap=verdict.gap)

    def _judge(self, session: Session, update: bytes) -> Verdict:
        if session.may_comment:
            self._expect_place()
            user, limits = session.identity.user_id, self._limits.update
            return check(self.index, update, user, limits, session.mandate, self._arrival)
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

    def _park(self, batch: Batch, submissions: list[Submission], *, others_came: bool) -> None:
        session = submissions[0][0]
        self.gaps.park(session, submissions)
        if self.gaps.next_try(session, others_came) is Tried.LOG:
            batch.stuck.append(session)
        else:
            self.retry(session)
