"""Presence in one room: taken in as it comes, signed with who says it, sent out once a loop turn, bound to the sessions
that announced it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from crdt.awareness import AwarenessLimits, States, decode, signed
from server.clock import Clock
from server.session import Session


class Presence:
    """Who is in a room. `tell` gets what changed in this turn as one awareness update, for everybody."""

    __slots__ = ("_changed", "_clock", "_limits", "_loop", "_states", "_tell")

    def __init__(self, limits: AwarenessLimits, clock: Clock, tell: Callable[[bytes], None]) -> None:
        self._limits = limits
        self._clock = clock
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._states: States[Session] = States(limits)
        self._changed: dict[int, None] = {}

    def hear(self, session: Session, update: bytes) -> None:
        """Take in what a session says. Raises `Refused` on malformed or unbounded bytes."""
        entries = decode(update, self._limits)
        user, role = session.identity.user_id, session.identity.role.value
        sign = partial(signed, user=user, role=role)
        heard = self._states.hear(entries, session, user, self._clock.monotonic(), sign)
        self._mark(heard.changed)
        if heard.outdated and session.behind is None:
            session.send(session.dialect.awareness(self._states.encode(heard.outdated)))

    def leave(self, session: Session) -> None:
        """The session has ended; everybody hears at once."""
        self._mark(self._states.leave(session))

    def end(self) -> None:
        """The room has ended: nobody is left to be told, and who would tell them is let go."""
        self._tell = _tell_nobody

    def expire(self, timeout: float) -> None:
        """Drop clients that were not renewed for `timeout` seconds."""
        self._mark(self._states.expire(self._clock.monotonic(), timeout))

    def update(self) -> bytes:
        """Everybody who is here, as one awareness update."""
        return self._states.encode_all()

    @property
    def users(self) -> Mapping[int, str]:
        """Whose the client ids are that were announced here."""
        return self._states.users

    @property
    def is_empty(self) -> bool:
        """Whether nobody is here, nor has been lately."""
        return not len(self._states)

    def _mark(self, clients: Iterable[int]) -> None:
        for client in clients:
            if not self._changed:
                self._loop.call_soon(self._flush)
            self._changed[client] = None

    def _flush(self) -> None:
        changed, self._changed = self._changed, {}
        self._tell(self._states.encode(changed))


def _tell_nobody(update: bytes) -> None:
    """What an ended room says."""
