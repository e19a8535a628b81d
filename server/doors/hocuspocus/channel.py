"""One document of one socket: waits for its token, opens its issue, speaks, and outlives everything but its client.

What is ours to mend (a failed commit, a store that is away) ends only the room behind it: the channel opens the issue
again and asks for what the client has, and the client sees nothing but late acknowledgements.
"""

from __future__ import annotations

from functools import partial
from typing import assert_never

import structlog

from crdt.errors import FORBIDDEN, Refused
from crdt.native import PURGED
from crdt.sync import SyncStep1, SyncStep2, Update
from crdt.update import EMPTY_STATE_VECTOR
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.dialects.hocuspocus import Authenticate, Event, Leave, Stateless
from server.dialects.y_websocket import AwarenessUpdate, QueryAwareness
from server.doors.hocuspocus.admission import Admission, Verdicts
from server.doors.hocuspocus.answers import Answers
from server.doors.hocuspocus.line import Line
from server.doors.hocuspocus.opening import Opening, Way
from server.doors.hocuspocus.socket import SharedSocket
from server.doors.hocuspocus.surroundings import Surroundings
from server.doors.hocuspocus.tally import Tally, Ticket
from server.doors.hocuspocus.token import TokenWatch
from server.doors.hocuspocus.waiting import Waiting
from server.doors.yjs import DIALECT, NOBODY, PREFIX, Address
from server.permissions import Identity, at_least, may_comment
from server.room import Room
from server.session import Outcome, Rejected, Session, Stored
from server.visits import Guest, Visit

log = structlog.get_logger()


class Channel:
    """One address on one socket. Without an identity it waits for its first token, or is shut until the next one."""

    def __init__(self, header: bytes, socket: SharedSocket, around: Surroundings) -> None:
        """Raises `Refused` when the address is not text."""
        self.identity: Identity | None = None
        self.is_shut = False
        self.answers = Answers(header, socket)
        self._header = header
        self._socket = socket
        self._around = around
        self._address = Address.of(PREFIX + hocuspocus.name_of(header))
        self._log = log.bind(session=socket.name, issue=str(self._address.issue_id) if self._address else None)
        guest = Guest("hocuspocus", self._change, self._revoke)
        verdicts = Verdicts(self._admitted, self._denied)
        workspace = self._address.workspace if self._address else ""
        self.admission = Admission(workspace, socket, around, guest, verdicts, self._log)
        self._tally = Tally()
        self._tokens = TokenWatch(around.services.clock, around.limits, self._request_token, self._expire)
        self._may_return = False
        self._is_welcomed = False
        self._was_open = False
        self._question: bytes | None = None  # the state vector of a SyncStep1 that is not answered yet
        self._waiting = Waiting(socket)
        self._opening = Opening(Way(self._join, self._bury, self._close_room), socket, around, self._log)
        self._room: Room | None = None
        self._session: Session | None = None
        self._line: Line | None = None

    def received(self, event: Event) -> None:
        """Take in a message."""
        match event:
            case Update(update):
                self.take_update(update)
            case SyncStep2(update):
                self._take(update, self._tally.sync_step2())
            case SyncStep1(state_vector):
                self._tally.restarted()
                self._hear_question(state_vector)
            case AwarenessUpdate(update):
                self._take(update, None)
            case Authenticate():
                self._authenticate(event)
            case QueryAwareness() | Stateless() | Leave():
                pass  # the reference server does not answer the first two either; the socket sees to the third
            case _:
                assert_never(event)

    def take_update(self, update: bytes) -> None:
        """Take in an Update."""
        self._take(update, self._tally.update())

    def refuse(self, refused: Refused) -> None:
        """A message was not one. Whoever is in ends here, whoever is not takes the socket along."""
        self._around.services.metrics.refusals.labels(refused.reason).inc()
        self._log.info("message refused", reason=refused.reason, detail=refused.detail)
        self.admission.refused(refused.reason)
        if self._session is not None:
            if self.admission.visit is not None:
                self.admission.visit.offended()
            self._session.refuse(refused)
        else:
            self._socket.close(close_codes.for_refusal(refused.reason), refused.reason)

    def drained(self) -> None:
        """The socket has room again."""
        if self._room is not None and self._session is not None:
            self._room.drained(self._session)

    def leave(self) -> None:
        """The client is done with this document, or the socket is gone."""
        self.admission.stop()
        self._opening.stop()
        self._close_room()
        self._forget_waiting()
        self._forget_identity()
        for part in (self.admission, self._opening, self._tokens):
            part.end()

    # Who it is.

    def _revoke(self, reason: str) -> None:
        """Take in nothing more until the client comes with a token that is good; with its last document the socket
        goes."""
        if self._session is not None:
            self._session.is_dismissed = True
        self._shut(reason)
        if not self._socket.documents:
            self._socket.close(close_codes.UNAUTHORIZED, reason)

    def _change(self, identity: Identity) -> None:
        """The user's role is another one."""
        if self.identity is not None:
            self._renew(identity)

    def _authenticate(self, claim: Authenticate) -> None:
        socket = self._socket
        socket.provider = hocuspocus.provider_major(claim.version) or socket.provider
        socket.answers_requests |= self._tokens.heard()
        self.is_shut = False  # what follows the token waits until it is known to be good
        if self._address is None:
            self._shut("not an issue's address")
        else:
            self.admission.check(claim.token)

    def _admitted(self, visit: Visit) -> None:
        identity = visit.identity
        if self.identity is not None and self.identity.user_id == identity.user_id:
            self._renew(identity)
        elif self.identity is None and self._socket.documents >= self._around.limits.max_documents:
            visit.leave()
            self._denied("too many documents on one socket")
            return
        else:
            self._opening.stop()
            self._close_room()
            self._forget_identity()
            self._admit(identity)
        self.admission.visit = visit
        self._tokens.accepted(identity.expires_at)

    def _denied(self, reason: str) -> None:
        self._shut(reason, may_return=self._may_return)

    def _admit(self, identity: Identity) -> None:
        self.identity = identity
        self.is_shut = self._may_return = self._is_welcomed = False
        self.answers.admitted()
        self._socket.documents += 1
        self._socket.known()
        self._opening.begin()

    def _renew(self, identity: Identity) -> None:
        """The same user with another token: the session goes on, with what that one allows."""
        self.identity = identity
        if self._is_welcomed:
            self._welcome(identity)
        session, room = self._session, self._room
        if session is not None and room is not None:
            may_more = at_least(identity.role, session.identity.role) and identity.role is not session.identity.role
            session.renew(identity)
            if may_more:
                self._ask(session, room)  # what was refused until now is welcome

    def _welcome(self, identity: Identity) -> None:
        self._is_welcomed = True
        self.answers.send(hocuspocus.authenticated(may_write=may_comment(identity)))

    def _request_token(self) -> None:
        self.answers.send(hocuspocus.TOKEN_REQUEST)

    def _expire(self) -> None:
        self._shut("token expired", may_return=True)

    def _shut(self, reason: str, *, is_denial: bool = True, may_return: bool = False) -> None:
        """The end of this document until its client sends a good token. `may_return`: a client that talks on is asked
        for one."""
        was_in = self.identity is not None and self._was_open
        self._around.services.metrics.refusals.labels("denied").inc()
        self.admission.stop()
        self._opening.stop()
        self._close_room()
        self._forget_waiting()
        self._forget_identity()
        self.is_shut, self._may_return = True, may_return
        self.answers.over(reason, is_denial=is_denial, was_in=was_in)

    def _forget_identity(self) -> None:
        self.admission.leave()
        if self.identity is not None:
            self.identity = None
            self._socket.documents -= 1
        self._tokens.stop()

    # The way into the room, and out of it.

    async def _join(self) -> None:
        assert self._address is not None
        assert self.identity is not None
        workspace = await self._around.workspace(self._address.workspace)
        if workspace is None:
            self._shut("unknown workspace")
            return
        if not self._is_welcomed:
            self._welcome(self.identity)
        await self._socket.until_writable()
        line = Line(self._socket, self._header, self._tally.asked, self._ended)
        session = Session(self.identity, line, DIALECT, self._socket.name)
        session.on_refused = self.admission.refused
        room = await self._around.services.hub.join(workspace, self._address.issue_id, session)
        self._enter(room, session, line)

    def _enter(self, room: Room, session: Session, line: Line) -> None:
        """Be in, then hear what was said meanwhile. Who was in before is asked for everything, and given everything."""
        assert self.identity is not None
        self._room, self._session, self._line = room, session, line
        session.renew(self.identity)  # it may have come with a newer token meanwhile
        known = room.awareness_update()
        if known != NOBODY:
            session.send(y_websocket.awareness(known))
        if self._question is None and (self._was_open or self._tally.owes):
            self._question = EMPTY_STATE_VECTOR
        self._was_open = True
        self._answer(session, room)
        for update, ticket in self._waiting.take():
            self._hand_in(room, session, update, ticket)

    def _close_room(self) -> None:
        """What was sent is still taken in; that it was is told when the client has been asked for it again."""
        if self._room is None or self._session is None or self._line is None:
            return
        room, session = self._room, self._session
        self._line.cut()
        self._room = self._session = self._line = None
        session.is_closed = True
        self._tally.lost()
        self._around.services.hub.leave(room, session)

    def _ended(self, line: Line, code: int, reason: str) -> None:
        """A room or the hub closed a session. Final codes end the document, others only the room."""
        if self._socket.is_closed or (line is not self._line and code != close_codes.RESTART):
            return
        is_slow = self._session is not None and self._session.behind is not None and self._socket.is_full
        if code == close_codes.RESTART or is_slow:
            self._socket.close(code, reason)
        elif code == close_codes.GONE:
            self._bury()
        elif close_codes.is_final(code):
            self._shut(reason, is_denial=False)
        else:
            self._close_room()
            self._opening.again()

    def _bury(self) -> None:
        """The issue was purged: whatever the client has of it is refused, and no token helps."""
        self.answers.refused(PURGED)
        self._shut(PURGED)

    # What it says.

    def _take(self, update: bytes, ticket: Ticket | None) -> None:
        if self._room is not None and self._session is not None:
            self._hand_in(self._room, self._session, update, ticket)
        elif self.is_shut:
            self._tally.dropped(ticket)
            if self._may_return:
                self._tokens.ask_to_return()
        elif ticket is not None and self._tally.owes:
            self._tally.dropped(ticket)  # it may rest on what is lost, and is asked for together with that
        elif self._may_wait(len(update)):
            self._waiting.add(update, ticket)
        else:
            self._tally.dropped(ticket)

    def _hear_question(self, state_vector: bytes) -> None:
        if self._room is not None and self._session is not None:
            self._question = state_vector
            self._answer(self._session, self._room)
        elif self.is_shut or not self._may_wait(len(state_vector)):
            self._question = EMPTY_STATE_VECTOR
        else:
            self._question = state_vector

    def _may_wait(self, size: int) -> bool:
        """Whether a message may wait for the issue, or the token. Else all that waits is forgotten: once the issue is
        open, the client is asked for it; without a token the socket is closed."""
        if self._waiting.has_room(size, is_authenticated=self.identity is not None):
            return True
        self._forget_waiting()
        if self.identity is None:
            self._socket.close(close_codes.RESET, "too much before authentication")
        return False

    def _answer(self, session: Session, room: Room) -> None:
        """Our SyncStep1 first, then the SyncStep2, as the reference server does."""
        question, self._question = self._question, None
        if question is not None:
            self._ask(session, room)
            room.answer(session, question)

    def _ask(self, session: Session, room: Room) -> None:
        session.send(y_websocket.sync_step1(room.state_vector()))

    def _hand_in(self, room: Room, session: Session, update: bytes, ticket: Ticket | None) -> None:
        if ticket is None:
            room.present(session, update)
        else:
            room.submit(session, update, partial(self._settled, session, ticket))
            owed = 0.0 if self.admission.visit is None else self.admission.visit.edited(1)
            if owed > 0:
                self._socket.keep_pace(owed, self._around.services.metrics)

    def _settled(self, session: Session, ticket: Ticket, outcome: Outcome) -> None:
        """The receipt of an update: called after its COMMIT."""
        if session is not self._session:
            return
        if isinstance(outcome, Stored):
            self._opening.stored()
        for _ in range(self._tally.settled(ticket, is_stored=isinstance(outcome, Stored))):
            self.answers.send(hocuspocus.STORED)
        if isinstance(outcome, Rejected):
            self._reject(session, outcome.refused)

    def _reject(self, session: Session, refused: Refused) -> None:
        """A viewer may stay and read. For everybody else the document ends: whatever they write next rests on what was
        refused, and only a copy that is opened anew is rid of it."""
        self.answers.refused(refused.reason)
        if refused.reason != FORBIDDEN or session.may_comment:
            session.refuse(refused)

    def _forget_waiting(self) -> None:
        for _, ticket in self._waiting.take():
            self._tally.dropped(ticket)
