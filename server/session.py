"""One peer's place in one room: who it is, where its frames go, and how far it got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crdt.errors import Refused
from server import close_codes
from server.permissions import Identity, mandate_of, may_comment, may_edit
from server.websocket.connection import Connection
from storage.conflicts import NewConflict
from storage.store import Mark


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """How one wire format frames what a room says. Rooms encode once for all sessions that share an instance, so share
    it wherever the frames are the same."""

    sync_step1: Callable[[bytes], bytes]  # of our state vector: a question
    sync_step2: Callable[[bytes], bytes]  # of an update: the answer to theirs
    update: Callable[[bytes], bytes]
    awareness: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything the update says is committed; `seq`: the newest seq of the issue that it takes to see it."""

    seq: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Part of the update has no causes here: that part is not stored, and its peer was asked for what is missing."""

    seq: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing of the update was kept."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Nothing of the update was kept: the issue was written to since the seq that it was to come right after."""


Outcome = Stored | Incomplete | Rejected | Overtaken
Receipt = Callable[[Outcome], None]


class Behind:
    """A session that is not fed: it has what `state_vector` says and will get one difference from there.

    `is_new`: it has not sent its first SyncStep1 · `asked`: the difference answers a SyncStep1 · `computing`: an engine
    is at it.
    """

    __slots__ = ("asked", "computing", "is_new", "state_vector", "timer")

    def __init__(self, state_vector: Mapping[int, int], timer: asyncio.TimerHandle) -> None:
        self.state_vector = state_vector
        self.asked = False
        self.is_new = False
        self.computing = False
        self.timer = timer


class Session:
    """One peer in one room. Doors make it, a room feeds it; `name` is for logs only."""

    __slots__ = (
        "after",
        "answered_at",
        "behind",
        "conflicts",
        "connection",
        "dialect",
        "identity",
        "is_closed",
        "is_dismissed",
        "is_lingering",
        "is_server",
        "lacks_presence",
        "mandate",
        "mark",
        "may_comment",
        "may_edit",
        "name",
        "on_refused",
        "stated",
    )

    def __init__(
        self,
        identity: Identity,
        connection: Connection,
        dialect: Dialect,
        name: str = "",
        *,
        is_server: bool = False,
    ) -> None:
        self.connection = connection
        self.dialect = dialect
        self.name = name
        self.is_server = is_server
        self.conflicts: Sequence[NewConflict] = ()  # what its update conflicts with beside what its bytes show
        self.after: int | None = None  # the seq of the issue that its update is to come right after, or not at all
        self.mark: Mark | None = None  # committed with its update
        self.on_refused: Callable[[str], None] | None = None  # hears why something it sent was not taken
        self._allow(identity)
        self.behind: Behind | None = None
        self.answered_at = -1.0  # loop time of the last difference it was sent at once
        self.lacks_presence = False
        self.stated: Mapping[int, int] = {}  # its first state vector that had what was not committed
        self.is_closed = False
        self.is_dismissed = False  # nothing it sent is taken in any more
        self.is_lingering = False  # has nothing to do here but may in a moment: its room may be dropped

    def renew(self, identity: Identity) -> None:
        """The same user with another token: from now on what that one allows."""
        assert identity.user_id == self.identity.user_id
        self._allow(identity)

    def _allow(self, identity: Identity) -> None:
        self.identity = identity
        self.may_edit = may_edit(identity)
        self.may_comment = may_comment(identity)
        self.mandate = mandate_of(identity, is_server=self.is_server)

    def send(self, frame: bytes) -> None:
        """Queue a frame; nothing after the close."""
        if not self.is_closed:
            self.connection.send(frame)

    def close(self, code: int, reason: str) -> None:
        """Close the connection, once. What it sent before is still taken in."""
        if not self.is_closed:
            self.is_closed = True
            self.connection.close(code, reason)

    def dismiss(self, code: int, reason: str) -> None:
        """Close, and take in nothing more of what it sent."""
        self.is_dismissed = True
        self.close(code, reason)

    def refuse(self, refused: Refused) -> None:
        """Dismiss because of what the peer sent."""
        self.dismiss(close_codes.for_refusal(refused.reason), refused.reason)
