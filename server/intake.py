"""The way into a room: updates in the order they came, gated a turn at a time, one delta a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crdt.errors import FORBIDDEN, TOO_LARGE, Refused
from crdt.gate import check
from crdt.index import Index
from crdt.jobs import Check, Checked
from crdt.keystrokes import runs_of_keystrokes
from crdt.overwrites import deletion_in
from crdt.parser import is_quick
from crdt.records import UNKNOWN_ARRIVAL, Arrival
from crdt.update import EMPTY_UPDATE
from server import close_codes
from server.batch import Batch
from server.committed import Committed
from server.gaps import Gaps, Submission, Tried
from server.ground import Ground
from server.judging import Judging
from server.large_updates import Judgement, LargeUpdates
from server.session import Incomplete, Receipt, Session, Stored
from storage.conflict_findings import milliseconds
from storage.engine import EngineFailed, EngineUnavailable, IssueKey


class Intake(Judging):
    """What a room was sent and has not gated yet, and the index it is gated against."""

    def __init__(
        self,
        key: IssueKey,
        index: Index,
        committed: Committed,
        ground: Ground,
        ask_peer: Callable[[Session], bool],
        wake: Callable[[], None],
    ) -> None:
        """`wake`: there is something for a turn to do that nobody submitted just now."""
        super().__init__(key, index, ground, Gaps(ground.limits, ask_peer), LargeUpdates(key, ground, wake))
        self._committed = committed
        self._inbox: list[Submission] = []
        self._waiting_bytes = 0
        self._received = 0
        self._received_bytes = 0
        self._paused: dict[Session, None] = {}

    @property
    def is_empty(self) -> bool:
        """Whether the next turn has nothing to do."""
        return not self._inbox and not self._large.is_due

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits for anything but a turn."""
        return self.gaps.is_empty and self._large.is_empty

    def put(self, session: Session, update: bytes, receipt: Receipt | None) -> None:
        """Queue an update for the next turn. Above the bound its session is read no further for now."""
        self._inbox.append((session, update, receipt, self._committed.state_vector))
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
                if not self._large.holds(session):
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
        self._large.clear()
        self.gaps.clear()

    def take_alone(self) -> Submission | None:
        """The next submission if an engine checks it while the room waits: it may be overtaken, after which the index
        must be what it was, or it is a large one that was judged in vain."""
        if self._large.is_judged:
            return None
        large = self._large.next_alone()
        if large is not None:
            return large
        if self._inbox and self._goes_alone(self._inbox[0]) and not self._is_held(self._inbox[0][0]):
            return self._inbox.pop(0)
        return None

    def overtaken(self, submission: Submission) -> Batch:
        """A turn of an update that comes too late for what it was to come right after."""
        batch = Batch(self._ground.clock.now())
        batch.weight = len(submission[1])
        if submission[2] is not None:
            batch.receipts.append((submission[2], Stored))
        batch.is_overtaken = True
        return batch

    def take_turn(self) -> Batch:
        """Gate what has come in, up to the next update that goes alone. A large one that was accepted is a turn of its
        own."""
        batch = Batch(self._ground.clock.now())
        self._count()
        if self._large.is_judged:
            self._take_large(batch)
        if not batch.updates:
            self._gate(batch)
        self._large.judge_next(self._job)
        return batch

    def _gate(self, batch: Batch) -> None:
        groups, large = self._groups()
        now_ms = milliseconds(batch.at)
        for session, submissions in groups.items():
            self._arrival = Arrival(session.identity.device_id or "", now_ms)
            accepted: list[bytes] = []
            if len(submissions) > 1 and session.may_edit and deletion_in(self.index) is None:
                submissions = self._admit_runs(batch, accepted, submissions)
            for at, submission in enumerate(submissions):
                if session.is_dismissed:
                    batch.weight += len(submission[1])
                elif not self._admit(batch, accepted, submission):
                    self._park(batch, submissions[at:] + large.pop(session, []), others_came=len(groups) > 1)
                    break
            self._accept(batch, session, accepted)
        for submissions in large.values():
            self._large.put(submissions)
            self.release(_weight(submissions))  # its session is read no further, others are

    def _admit_runs(self, batch: Batch, accepted: list[bytes], submissions: list[Submission]) -> list[Submission]:
        """Whoever types faster than turns come has sent strokes that follow one another: they are judged as one. What
        is left from the first one on that is not simply accepted is returned, to be judged one by one."""
        at = 0
        for update, count in runs_of_keystrokes([submission[1] for submission in submissions]):
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
            self._tell_hearing(verdict, session.identity.user_id, UNKNOWN_ARRIVAL)
        if verdict.gap:
            return False  # what was taken of it is nothing new when its parts are judged
        for submission in run:
            self._settle(batch, submission, has_gap=False)
        return True

    async def check(self, batch: Batch, submission: Submission) -> None:
        """Have an engine gate an update, on a copy of the index, which must not change meanwhile."""
        if self._large.hearing is not None:
            self._large.hearing.is_outdated = True
        judgement = None if submission[0].is_dismissed else await self._large.ask(self._job(submission))
        self._conclude(batch, submission, judgement, None, others_came=False)

    def _take_large(self, batch: Batch) -> None:
        """What an engine said of a large update, unless what came meanwhile may make another judgement of it."""
        hearing = self._large.hearing
        assert hearing is not None
        if hearing.defect is not None:
            raise hearing.defect
        judgement, submission = hearing.judgement, hearing.submission
        index = None
        if isinstance(judgement, Checked) and judgement.update:
            index = hearing.caught_up(judgement, self.index, self._limits.update.capacity)
            if index is None:
                self._large.judge_again()
                return
        if submission[0].is_dismissed:
            judgement = None
        self._conclude(batch, submission, judgement, index, others_came=hearing.had_company)

    def _job(self, submission: Submission) -> Check:
        session, update = submission[0], submission[1]
        user = session.identity.user_id
        mandate = session.mandate if session.may_comment else None  # nothing at all may be new: that is seen below
        arrival = Arrival(session.identity.device_id or "", milliseconds(self._ground.clock.now()))
        return Check(self.index.encode(), update, user, self._limits.update, mandate, arrival, self.index.stored_bytes)

    def _conclude(
        self,
        batch: Batch,
        submission: Submission,
        judgement: Judgement | None,
        index: Index | None,
        *,
        others_came: bool,
    ) -> None:
        """An engine has judged an update, and its session may go on. None: it is not to be taken in any more."""
        session, update = submission[0], submission[1]
        waited = [submission]
        if self._large.holds(session):
            waited += self._large.release(session)
            self._waiting_bytes += _weight(waited)
            if session not in self._paused:
                session.connection.resume_reading()
        try:
            if isinstance(judgement, Checked):
                is_through = self._take_checked(batch, submission, judgement, index)
            elif judgement is None:
                batch.weight += len(update)
                is_through = True
            else:
                raise judgement
        except Refused as refused:
            self._unless_outgrown(refused)
            is_through = not self._may_be_late(session, refused)
            if is_through:
                self._refuse(batch, submission, refused)
        except EngineFailed as failure:
            self._ground.quarantine(failure)
            self._refuse(batch, submission, Refused(TOO_LARGE, "too much to check"))
            is_through = True
        except EngineUnavailable:
            batch.weight += len(update)
            session.dismiss(close_codes.TRY_LATER, "too busy to check")
            is_through = True
        if is_through:
            self._inbox[:0] = waited[1:]
        else:
            self._park(batch, waited, others_came=others_came)

    def _take_checked(self, batch: Batch, submission: Submission, checked: Checked, index: Index | None) -> bool:
        """False: it has to wait. `index`: with it and with what came meanwhile; None: nothing did."""
        session, deletion = submission[0], deletion_in(self.index)
        if checked.update and not session.may_comment:
            raise Refused(FORBIDDEN, "a viewer may not edit")
        if checked.update:
            self._expect_place()
            self._replace_index(session, index or Index.decode(checked.index))
            self._note(batch, checked.overwrites)
            self._note_unheard(batch, submission, checked.update, deletion)
            self._accept(batch, session, [checked.update])
        return self._settle(batch, submission, has_gap=checked.gap)

    def _settle(self, batch: Batch, submission: Submission, *, has_gap: bool) -> bool:
        """An update was judged. False: it has a gap, and must wait because there is something left to try."""
        session, update, receipt, _ = submission
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

    def _groups(self) -> tuple[dict[Session, list[Submission]], dict[Session, list[Submission]]]:
        """What this turn gates, by session in the order they came, and the large ones with what is behind them. A
        session's own order is kept, and what one needs of a session further down makes a gap that the next turn closes:
        so every delta follows its causes in the log."""
        groups: dict[Session, list[Submission]] = {}
        large: dict[Session, list[Submission]] = {}
        taken = len(self._inbox)
        for at, submission in enumerate(self._inbox):
            session = submission[0]
            if self.gaps.holds(session):
                self.gaps.park(session, [submission])
            elif self._large.holds(session):
                self._large.wait(submission)
                self.release(len(submission[1]))
            elif self._goes_alone(submission):
                taken = at
                break
            elif session in large or self._is_large(submission[1]):
                large.setdefault(session, []).append(submission)
            else:
                groups.setdefault(session, []).append(submission)
        self._inbox = self._inbox[taken:]
        return groups, large

    def _count(self) -> None:
        """Once a turn: a counter costs as much as the gate does."""
        self._metrics.updates.inc(self._received)
        self._metrics.update_bytes.inc(self._received_bytes)
        self._received = self._received_bytes = 0

    def _is_large(self, update: bytes) -> bool:
        """Whether to check it takes longer than a turn of the loop should."""
        limits, size = self._limits, len(update)
        if size > limits.max_inline_update_bytes:
            return True
        most = limits.max_inline_update_items  # an item is a byte or more
        return size > most and not is_quick(update, limits.update, most)

    def _goes_alone(self, submission: Submission) -> bool:
        return submission[0].after is not None

    def _is_held(self, session: Session) -> bool:
        return self.gaps.holds(session) or self._large.holds(session)

    def _admit(self, batch: Batch, accepted: list[bytes], submission: Submission) -> bool:
        session, update = submission[0], submission[1]
        if update == EMPTY_UPDATE:
            return self._settle(batch, submission, has_gap=False)
        deletion = deletion_in(self.index)
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
            self._tell_hearing(verdict, session.identity.user_id, self._arrival)
            self._note_unheard(batch, submission, verdict.update, deletion)
        if verdict.overwrites:
            self._note(batch, verdict.overwrites)
        return self._settle(batch, submission, has_gap=verdict.gap)

    def _park(self, batch: Batch, submissions: list[Submission], *, others_came: bool) -> None:
        session = submissions[0][0]
        self.gaps.park(session, submissions)
        if self.gaps.next_try(session, others_came) is Tried.LOG:
            batch.stuck.append(session)
        else:
            self.retry(session)


def _weight(submissions: Sequence[Submission]) -> int:
    return sum([len(submission[1]) for submission in submissions])
