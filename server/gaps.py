"""Updates whose causes are missing: they wait, and what their session sends after them waits behind them.

First for what the same turn brought from others, then for what other nodes committed; then their peer is asked, with
one SyncStep1 at a time, again and again until it sends something without a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import IntEnum

from server.limits import RoomLimits
from server.session import Receipt, Session

# With what was committed when it arrived. A plain tuple: one is made for every update.
Submission = tuple[Session, bytes, Receipt | None, Mapping[int, int]]


class Tried(IntEnum):
    """What a session with a gap has been through."""

    NOTHING = 0
    TURN = 1  # checked again after what others sent in the same turn
    LOG = 2  # checked again after what other nodes committed


class _Ask:
    """An outstanding SyncStep1. `is_open`: the peer has sent nothing without a gap since."""

    __slots__ = ("is_open", "timeout", "timer")

    def __init__(self, timeout: float, timer: asyncio.TimerHandle) -> None:
        self.is_open = True
        self.timeout = timeout
        self.timer = timer


class Gaps:
    """The sessions of one room that are waiting or were asked. `ask` sends SyncStep1; False: the session is gone."""

    __slots__ = ("_ask_peer", "_asks", "_limits", "_loop", "_parked", "_tried")

    def __init__(self, limits: RoomLimits, ask_peer: Callable[[Session], bool]) -> None:
        self._limits = limits
        self._ask_peer = ask_peer
        self._loop = asyncio.get_running_loop()
        self._parked: dict[Session, list[Submission]] = {}
        self._tried: dict[Session, Tried] = {}
        self._asks: dict[Session, _Ask] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._parked

    def holds(self, session: Session) -> bool:
        """Whether updates of this session wait, so that its next ones must wait too."""
        return session in self._parked

    def may_wait(self, session: Session) -> bool:
        """Whether anything is left to try. A peer that was asked just now sends what is missing anyway."""
        return session not in self._asks and not self.knows_log(session)

    def knows_log(self, session: Session) -> bool:
        """Whether what waits of this session was checked after everything was read that others had committed."""
        return self._tried.get(session, Tried.NOTHING) is Tried.LOG

    def park(self, session: Session, submissions: list[Submission]) -> None:
        """Let these wait, behind those that wait already."""
        self._parked.setdefault(session, []).extend(submissions)

    def next_try(self, session: Session, others_came: bool) -> Tried:
        """What a session that has just been parked waits for. `others_came`: other sessions were in the turn too."""
        tried = Tried.TURN if others_came and session not in self._tried else Tried.LOG
        self._tried[session] = tried
        return tried

    def unpark(self, session: Session) -> list[Submission]:
        """What waited, to be checked again, in order."""
        return self._parked.pop(session, [])

    def passed(self, session: Session) -> None:
        """An update of this session had no gap."""
        self._tried.pop(session, None)
        ask = self._asks.get(session)
        if ask is not None:
            ask.is_open = False
            ask.timeout = self._limits.ask_timeout

    def ask(self, session: Session) -> None:
        """Nothing helped: ask the peer, unless it was asked and has its time to answer."""
        self._tried.pop(session, None)
        ask = self._asks.get(session)
        if ask is not None:
            ask.is_open = True
        elif self._ask_peer(session):
            self._asks[session] = _Ask(self._limits.ask_timeout, self._arm(session, self._limits.ask_timeout))

    def forget(self, session: Session) -> None:
        """The session has ended; what waits of it is still tried."""
        ask = self._asks.pop(session, None)
        if ask is not None:
            ask.timer.cancel()

    def clear(self) -> None:
        """The room has ended."""
        for session in list(self._asks):
            self.forget(session)
        self._parked.clear()
        self._tried.clear()

    def _arm(self, session: Session, timeout: float) -> asyncio.TimerHandle:
        return self._loop.call_later(timeout, self._ask_again, session)

    def _ask_again(self, session: Session) -> None:
        ask = self._asks[session]
        if ask.is_open and self._ask_peer(session):
            ask.timeout = min(2 * ask.timeout, self._limits.max_ask_timeout)
            ask.timer = self._arm(session, ask.timeout)
        else:
            del self._asks[session]
