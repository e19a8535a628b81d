"""The sessions of one room and what they are sent: every committed update, or one difference when they are behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from crdt.update import EMPTY_UPDATE, decode_state_vector, encode_state_vector
from server import close_codes
from server.committed import Committed
from server.difference import DifferenceLimits, Differences
from server.ground import Ground
from server.presence import Presence
from server.session import Behind, Dialect, Session
from storage.engine import EngineUnavailable, IssueKey

MAX_STATED_STRANGERS: Final = 256  # client ids that nobody has met: a page that is loaded anew makes one


class Feeder:
    """Sends what is committed, and presence. Never waits for a reader: one that is slow is behind and gets a difference
    when it has drained; one that stays behind is closed with 1013."""

    def __init__(self, key: IssueKey, committed: Committed, ground: Ground) -> None:
        limits = ground.limits
        self.sessions: dict[Session, None] = {}
        self.presence = Presence(limits.awareness, ground.clock, self._tell_presence)
        self._key = key
        self._committed = committed
        self._limits = limits
        self._metrics = ground.metrics
        self._spawn = ground.spawn
        self._loop = asyncio.get_running_loop()
        self._differences = Differences(
            key,
            committed,
            ground.engine,
            DifferenceLimits(limits.max_inline_bytes, limits.engine_timeout),
            ground.quarantine,
        )

    @property
    def is_idle(self) -> bool:
        """Whether nobody is here who has anything to do."""
        for session in self.sessions:  # noqa: SIM110 -- compiled, and asked after every commit
            if not session.is_lingering:
                return False
        return True

    def enter(self, session: Session) -> None:
        """From now on the session is fed, behind the answer to its first SyncStep1: some replicas (pycrdt) lose their
        way when later updates come before earlier ones. One that never asks is given everything after a while."""
        self.sessions[session] = None
        self._metrics.sessions.inc()
        session.behind = Behind({}, self._loop.call_later(self._limits.ask_timeout, self._catch_up, session))
        session.behind.is_new = True

    def leave(self, session: Session) -> None:
        """The session is gone; its presence goes with it."""
        del self.sessions[session]
        self._metrics.sessions.dec()
        self._end_behind(session)
        self.presence.leave(session)

    def end(self) -> None:
        """The room has ended, and everybody has left."""
        self.presence.end()

    def ask(self, session: Session) -> bool:
        """SyncStep1 to a peer whose updates have a gap. False: it is gone."""
        if session not in self.sessions or session.is_closed:
            return False
        self._metrics.asks.inc()
        session.send(session.dialect.sync_step1(self._committed.encoded_state_vector()))
        return True

    def tell(self, update: bytes, author: Session | None) -> None:
        """One frame for each session; none for `author`, who is the only one that wrote in it."""
        bound = self._limits.max_buffered_bytes
        frames: dict[Dialect, bytes] = {}
        dialect: Dialect | None = None
        frame = b""
        slow: list[Session] = []
        told = 0
        for session in self.sessions:
            if session is author or session.behind is not None:
                continue
            if session.dialect is not dialect:
                dialect = session.dialect
                if dialect not in frames:
                    frames[dialect] = dialect.update(update)
                frame = frames[dialect]
            connection = session.connection
            connection.send(frame)
            told += 1
            if connection.buffered_bytes() > bound:
                slow.append(session)
        self._metrics.fan_out.inc(told)
        for session in slow:
            self._fall_behind(session, self._committed.state_vector)

    def answer(self, session: Session, state_vector: bytes) -> None:
        """Send SyncStep2 for the session's SyncStep1, at once if the document is small. Of questions that come together
        the first has an answer of its own, all others have one. Raises `Refused`."""
        has = decode_state_vector(state_vector)
        if not session.stated and self._is_statement(has):
            session.stated = has
        if session.behind is not None and session.behind.is_new:
            self._end_behind(session)
        if session.behind is not None:
            # What it was sent is before this on the wire: one answer from here covers all it lacks.
            session.behind.state_vector = has
            session.behind.asked = True
        elif not self._committed.is_small:
            self._fall_behind(session, has).asked = True
            self._catch_up(session)
        elif session.answered_at == self._loop.time():
            behind = self._fall_behind(session, has)
            behind.asked = True
            self._loop.call_soon(self._answer_the_rest, session, behind)
        else:
            session.answered_at = self._loop.time()
            session.send(session.dialect.sync_step2(self._committed.lacking(encode_state_vector(has))))
            self._watch(session)

    def _answer_the_rest(self, session: Session, behind: Behind) -> None:
        if session.behind is behind and not behind.computing:
            self._catch_up(session)

    def _is_statement(self, has: Mapping[int, int]) -> bool:
        """Whether a peer has anything that is not committed, and knows no crowd that nobody has met."""
        known = self._committed.state_vector
        if len(has) > len(known) + MAX_STATED_STRANGERS:
            return False
        return any(clock > known.get(client, 0) for client, clock in has.items())

    def drained(self, session: Session) -> None:
        """The session's connection has taken what was sent to it."""
        if session.behind is None:
            if session.lacks_presence:
                self._send_presence(session)
        elif not session.behind.computing and not session.behind.is_new:
            self._catch_up(session)

    def _watch(self, session: Session) -> None:
        if session.connection.buffered_bytes() > self._limits.max_buffered_bytes and session.behind is None:
            self._fall_behind(session, self._committed.state_vector)

    def _fall_behind(self, session: Session, has: Mapping[int, int]) -> Behind:
        timer = self._loop.call_later(self._limits.behind_timeout, self._lose_patience, session)
        session.behind = Behind(has, timer)
        session.lacks_presence = True
        self._metrics.behinds.inc()
        self._metrics.behind_sessions.inc()
        return session.behind

    def _end_behind(self, session: Session) -> Behind | None:
        behind, session.behind = session.behind, None
        if behind is not None:
            behind.timer.cancel()
            if not behind.is_new:
                self._metrics.behind_sessions.dec()
        return behind

    def _lose_patience(self, session: Session) -> None:
        assert session.behind is not None
        if not session.behind.computing and not session.connection.buffered_bytes():
            self._catch_up(session)  # its connection's high water is above our bound and it had nothing to say
            return
        structlog.get_logger().info(
            "slow reader closed",
            workspace=self._key.workspace_id,
            issue=str(self._key.issue_id),
            session=session.name,
            reason="behind",
        )
        session.close(close_codes.TRY_LATER, "reading too slowly")

    def _catch_up(self, session: Session) -> None:
        behind = session.behind
        assert behind is not None
        if self._committed.is_small:
            self._deliver(session, [self._committed.lacking(encode_state_vector(behind.state_vector))])
        else:
            behind.computing = True
            self._spawn(self._catch_up_by_engine(session, behind))

    async def _catch_up_by_engine(self, session: Session, behind: Behind) -> None:
        try:
            updates = await self._differences.lacking(encode_state_vector(behind.state_vector))
        except EngineUnavailable as error:
            session.close(close_codes.TRY_LATER, "busy")
            structlog.get_logger().warning("difference not computed", session=session.name, reason=str(error))
            return
        if session.behind is behind:
            self._deliver(session, updates)

    def _deliver(self, session: Session, updates: Sequence[bytes]) -> None:
        behind = self._end_behind(session)
        dialect = session.dialect
        if behind is not None and behind.asked:
            session.send(dialect.sync_step2(updates[0]))
            updates = updates[1:]
        for update in updates:
            if update != EMPTY_UPDATE:
                session.send(dialect.update(update))
        self._send_presence(session)
        self._watch(session)

    def _send_presence(self, session: Session) -> None:
        session.lacks_presence = False
        if not self.presence.is_empty:
            session.send(session.dialect.awareness(self.presence.update()))

    def _tell_presence(self, update: bytes) -> None:
        """Presence is dropped first: a slow reader gets the newest when it has drained."""
        bound = self._limits.max_buffered_bytes // 2
        frames: dict[Dialect, bytes] = {}
        told = 0
        for session in self.sessions:
            if session.behind is not None and not session.behind.is_new:
                continue
            if session.connection.buffered_bytes() > bound:
                session.lacks_presence = True
                continue
            told += 1
            if session.lacks_presence:
                self._send_presence(session)
                continue
            if session.dialect not in frames:
                frames[session.dialect] = session.dialect.awareness(update)
            session.connection.send(frames[session.dialect])
        self._metrics.presence_fan_out.inc(told)
