"""One open issue on this node: what arrives is gated once a loop turn, appended, and after COMMIT told to everybody.

One commit of a room is in flight at a time and what arrives meanwhile is gated when it comes back. So the turn widens
by itself under load (fewer and larger deltas, the cheapest way through), and the gate's index never runs further ahead
of the log than that one commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from crdt.errors import Refused
from crdt.index import Index
from crdt.native import PURGED
from crdt.records import FieldWrite
from crdt.update import merge
from server import close_codes
from server.batch import Batch
from server.claims import Claims
from server.committed import Committed
from server.feeder import Feeder
from server.flight import Flight, union
from server.gaps import Submission
from server.ground import Ground
from server.intake import Intake
from server.judging import Outgrown
from server.session import Receipt, Session
from storage.engine import IssueKey
from storage.errors import Overloaded, Overtaken, StoreError
from storage.store import Delta


class Room:
    """One issue and the sessions in it. Nothing here waits: sessions call in, the loop calls back.

    `seq`: the newest seq of the issue that is in here.
    """

    def __init__(self, key: IssueKey, index: Index, committed: Committed, seq: int, ground: Ground) -> None:
        self.key = key
        self.seq = seq
        self.is_closed = False
        self._loaded_seq = seq
        self._committed = committed
        self._ground = ground
        self._loop = asyncio.get_running_loop()
        self._feeder = Feeder(key, committed, ground)
        index.announced = self._feeder.presence.users
        index.stored_bytes = committed.size_bytes
        self._intake = Intake(key, index, committed, ground, self._feeder.ask, self._wake)
        self._claims = Claims(index)
        self._is_sealed = False
        self._is_busy = False  # a turn is due, a commit in flight, or an update being checked that goes alone
        self._is_checking = False
        self._flight: Flight | None = None
        self._fed: set[int] = set()  # seqs fed by the relay while a commit is in flight
        self._held_back: list[Delta] = []
        self._log = structlog.get_logger().bind(workspace=key.workspace_id, issue=str(key.issue_id))

    @property
    def sessions(self) -> Sequence[Session]:
        """Who is in here."""
        return list(self._feeder.sessions)

    @property
    def session_count(self) -> int:
        """How many are in here."""
        return len(self._feeder.sessions)

    @property
    def size_bytes(self) -> int:
        """Bytes of updates held."""
        return self._committed.size_bytes

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits or is in flight."""
        return self._flight is None and (self.is_closed or (not self._is_busy and self._intake.is_settled))

    @property
    def is_idle(self) -> bool:
        """Whether the room could be dropped and nobody would notice."""
        return self._feeder.is_idle and self.is_settled

    # What sessions and doors call.

    def enter(self, session: Session) -> None:
        """Feed a session from now on. The hub calls this; doors call `Hub.join`."""
        self._feeder.enter(session)

    def leave(self, session: Session) -> None:
        """A session has ended. What it sent is still taken in. The hub calls this; doors call `Hub.leave`."""
        if session in self._feeder.sessions:
            self._feeder.leave(session)
            self._intake.forget(session)
            self._ground.settled(self.key)

    def submit(self, session: Session, update: bytes, receipt: Receipt | None = None) -> None:
        """Take an update from a session (Update and SyncStep2 alike). The receipt is called after COMMIT, in order;
        without one a refused update closes its session. A room that fails calls no receipts, it closes its sessions."""
        if self.is_closed or self._is_sealed:
            return  # never acknowledged: its client sends it again
        self._intake.put(session, update, receipt)
        if not self._is_busy:
            self._is_busy = True
            self._ground.rota.put(self.take_turn)

    def answer(self, session: Session, state_vector: bytes) -> None:
        """Send SyncStep2 for a session's SyncStep1: at once, or when an engine has computed it for a big document."""
        try:
            self._feeder.answer(session, state_vector)
        except Refused as refused:
            self._intake.note_refusal(session, refused)
            session.refuse(refused)

    def state_vector(self) -> bytes:
        """What is committed, encoded for our SyncStep1."""
        return self._committed.encoded_state_vector()

    def drained(self, session: Session) -> None:
        """The session's connection has taken what was sent (`Peer.drained`)."""
        if session in self._feeder.sessions:
            self._feeder.drained(session)

    def present(self, session: Session, awareness_update: bytes) -> None:
        """Take presence from a session; everybody hears, the session too."""
        if session not in self._feeder.sessions:
            return
        try:
            self._feeder.presence.hear(session, awareness_update)
        except Refused as refused:
            self._intake.note_refusal(session, refused)
            session.refuse(refused)

    def awareness_update(self) -> bytes:
        """Everybody's presence, for a joiner or a QueryAwareness."""
        return self._feeder.presence.update()

    @property
    def heads(self) -> Mapping[str, FieldWrite]:
        """What stands in the decided fields, by key."""
        return self._intake.index.heads

    def updates(self) -> list[bytes]:
        """What is committed, whole, for an engine."""
        return self._committed.pieces()

    # What the hub and the relay call.

    def feed(self, deltas: Sequence[Delta]) -> None:
        """Take in what other nodes committed, in seq order."""
        try:
            self._feed(deltas)
        except Exception:  # noqa: BLE001 -- the relay feeds many rooms: one room's poison must not stop it
            self._crash("room feed")

    def _feed(self, deltas: Sequence[Delta]) -> None:
        news = [delta for delta in deltas if delta.seq > self._loaded_seq]
        if self.is_closed or not news:
            return
        if news[-1].is_tombstone:
            self.close(close_codes.GONE, PURGED)
            return
        if self._is_holding_back:
            self._held_back.extend(news)  # the index is out of the house
            return
        before = dict(self._intake.index.state_vector)
        try:
            for delta in news:
                self._intake.fold(delta)
        except Refused as refused:
            self._log.error("log holds unsound bytes", reason=refused.reason, detail=refused.detail)
            self._ground.metrics.failed_rooms.labels("log").inc()
            self.close(close_codes.TRY_LATER, "damaged")
            return
        self._claims.settle(self._intake.index, news)
        if self._flight is not None:
            self._fed.update(delta.seq for delta in news)
        grown = {c: clock for c, clock in self._intake.index.state_vector.items() if before.get(c) != clock}
        update = merge([delta.update for delta in news])
        self._committed.add(update, union(self._committed.state_vector, grown))
        self.seq = max(self.seq, news[-1].seq)
        self._ground.metrics.foreign_deltas.inc(len(news))
        self._feeder.tell(update, None)
        if self._flight is None:
            self._report_late()

    def expire_presence(self) -> None:
        """Drop presence that was not renewed in time."""
        self._feeder.presence.expire(self._ground.limits.presence_timeout)

    def seal(self) -> None:
        """Take no more updates; what is here is still committed."""
        self._is_sealed = True

    def close(self, code: int, reason: str) -> None:
        """End the room: every session is closed, what is not committed is forgotten, the hub forgets the room."""
        if self.is_closed:
            return
        self.is_closed = True
        self._intake.clear()
        self._held_back.clear()
        for session in self.sessions:
            session.close(code, reason)
            self._feeder.leave(session)
        self._feeder.end()
        self._ground.closed(self.key)

    # A turn.

    def take_turn(self) -> None:
        """Gate what has come in and send it to the log. The rota calls it."""
        if self.is_closed:
            return
        try:
            self._intake.index.stored_bytes = self._committed.size_bytes
            alone = self._intake.take_alone()
            if alone is None:
                self._launch(self._intake.take_turn())
            elif alone[0].after in (None, self.seq):
                self._is_checking = True
                self._ground.spawn(self._check(alone))
            else:
                self._launch(self._intake.overtaken(alone))
        except Outgrown:
            self.close(*close_codes.OPENED_ANEW)
        except Exception:  # noqa: BLE001 -- the top of a turn
            self._crash("room turn")

    def _launch(self, batch: Batch, before: Index | None = None) -> None:
        """Send a batch to the log, or be done with it if nothing in it is new. `before`: the index to go back to when
        the batch is overtaken."""
        for session in batch.stuck:
            self._ground.spawn(self._catch_up(session))
        if not batch.updates:
            batch.call_receipts(self.seq)
            self._intake.release(batch.weight)
            self._next_turn()
            return
        index = self._intake.index
        deltas = batch.deltas(self.key, None if before is None else self.seq)
        flight = self._flight = Flight(batch, deltas, dict(index.state_vector), self._claims.note(index), before)
        self._append(flight, self._loop.time() + self._ground.limits.overload_timeout)
        flight.update = merge(batch.updates)  # while the database works; the log may have refused it already

    def _append(self, flight: Flight, give_up_at: float) -> None:
        try:
            self._ground.appender.append(flight.deltas, self._landed)
        except Overloaded as error:
            if self.is_closed or self._loop.time() > give_up_at:
                self._lost(error)
            else:
                self._loop.call_later(self._ground.limits.overload_pause, self._append, flight, give_up_at)
        except StoreError as error:
            self._lost(error)

    def _landed(self, seqs: Sequence[int], failure: StoreError | None) -> None:
        """The commit came back: only now anybody hears of it."""
        flight, self._flight = self._flight, None
        assert flight is not None
        is_overtaken = isinstance(failure, Overtaken) and flight.before is not None
        if failure is not None and not is_overtaken:
            self._lost(failure)
            return
        if self.is_closed:
            # Not reported as ours: the relay feeds it to whatever room is here by then.
            self._ground.settled(self.key)
            return
        try:
            self._take_back(flight) if is_overtaken else self._publish(flight, seqs)
        except Exception:  # noqa: BLE001 -- the top of a turn
            self._crash("room publish")

    def _publish(self, flight: Flight, seqs: Sequence[int]) -> None:
        batch, fed, self._fed = flight.batch, self._fed, set()
        if self._held_back:
            self._held_back = [delta for delta in self._held_back if delta.seq not in seqs]
        self._ground.committed(self.key.workspace_id, seqs)
        self._claims.commit(flight.claims, seqs[-1])
        self._intake.lately.landed(batch, seqs)
        if not fed.issuperset(seqs):  # else the relay read them before the appender heard of its commit
            state_vector = union(flight.state_vector, self._committed.state_vector) if fed else flight.state_vector
            self._committed.add(flight.update, state_vector)
            self._feeder.tell(flight.update, batch.authors[0] if len(batch.authors) == 1 else None)
        self.seq = max(self.seq, seqs[-1])
        if batch.conflicts:
            self._ground.conflicts.committed(self.key, batch.conflicts)
        if self._intake.late:
            self._report_late()
        batch.call_receipts(self.seq)
        self._intake.release(batch.weight)
        self._feed_held_back()
        if self._intake.is_empty:
            self._next_turn()
        else:
            self.take_turn()  # at once, so that it is in the appender's next batch

    def _take_back(self, flight: Flight) -> None:
        """The log was written to by another node: the room is what it was before, and its session hears of it."""
        assert flight.before is not None
        self._intake.index = flight.before
        self._claims.forget(flight.claims)
        flight.batch.is_overtaken = True
        flight.batch.call_receipts(self.seq)
        self._intake.release(flight.batch.weight)
        self._feed_held_back()
        self._next_turn()

    def _next_turn(self) -> None:
        if not self._intake.is_empty:
            self._ground.rota.put(self.take_turn)
            return
        self._is_busy = False
        if self.is_settled and (self._is_sealed or self._feeder.is_idle):
            self._ground.settled(self.key)

    # What is rare.

    def _report_late(self) -> None:
        """What was committed here while another node committed too, and is in the log now."""
        for delta, found in self._intake.take_late():
            self._ground.conflicts.late(self.key, max(self.seq, delta.seq), found, delta.created_at)

    async def _check(self, submission: Submission) -> None:
        """What goes alone is checked by an engine, on a copy of the index; everything behind it waits."""
        batch, before = Batch(self._ground.clock.now()), self._intake.index
        try:
            await self._intake.check(batch, submission)
        except Outgrown:
            self.close(*close_codes.OPENED_ANEW)
        except Exception:  # noqa: BLE001 -- the top of a turn
            self._crash("room check")
        batch.at = self._ground.clock.now()  # times go up with seqs, however long it took
        self._checked(batch, None if submission[0].after is None else before)

    def _checked(self, batch: Batch, before: Index | None) -> None:
        self._is_checking = False
        if self.is_closed:
            self._ground.settled(self.key)
            return
        try:
            self._launch(batch, before)
        except Exception:  # noqa: BLE001 -- the top of a turn
            self._crash("room check")
        self._feed_held_back()

    @property
    def _is_holding_back(self) -> bool:
        """Whether the index must not change now: it is being copied, or may have to be put back."""
        return self._is_checking or (self._flight is not None and self._flight.before is not None)

    def _feed_held_back(self) -> None:
        if self._held_back and not self._is_holding_back:
            held_back, self._held_back = self._held_back, []
            self.feed(held_back)

    async def _catch_up(self, session: Session) -> None:
        """A gap: read what other nodes committed, then check the session's updates again."""
        try:
            async with asyncio.timeout(self._ground.limits.catch_up_timeout):
                await self._ground.catch_up(self.key.workspace_id)
        except (StoreError, TimeoutError) as error:
            # Without them there is no telling what is wrong with its updates; its client sends them again.
            self._log.warning("other nodes' commits not read", session=session.name, reason=str(error))
            session.dismiss(close_codes.TRY_LATER, "try again")
        if self.is_closed:
            return
        self._intake.retry(session)
        self._wake()

    def _wake(self) -> None:
        if not self._is_busy:
            self._is_busy = True
            self.take_turn()

    def _lost(self, error: BaseException) -> None:
        """The outcome of our commit is unknown: only the log knows what this issue is now."""
        self._flight = None
        self._ground.metrics.failed_rooms.labels("store").inc()
        self._log.warning("room forgotten", reason=str(error), sessions=len(self._feeder.sessions))
        self.close(*close_codes.for_lost_commit(error))
        self._ground.settled(self.key)

    def _crash(self, where: str) -> None:
        """A defect of ours costs one room, never another one."""
        self._ground.metrics.loop_failures.labels(where).inc()
        self._ground.metrics.failed_rooms.labels("defect").inc()
        self._log.exception("room failed", where=where)
        self.close(close_codes.INTERNAL_ERROR, "internal error")
