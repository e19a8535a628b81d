"""Where a client stands: for a status line, and for programs that wait for a state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from syncline.pulse import Pulse


class State(StrEnum):
    """What the connection is doing. `NEEDS_AUTH` and `ERROR` stay until something is changed, `OFFLINE` does not."""

    CONNECTING = "connecting"
    CATCHING_UP = "catching-up"
    LIVE = "live"
    OFFLINE = "offline"
    NEEDS_AUTH = "needs-auth"
    ERROR = "error"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Status:
    """One moment. `pending`: edits not committed yet · `last_synced`: when the cursor last moved, UTC · `reason`: why
    it is offline, needs a token or failed."""

    state: State = State.CONNECTING
    pending: int = 0
    last_synced: datetime | None = None
    reason: str = ""


class StatusBoard:
    """The status of one client, and its changes."""

    __slots__ = ("_now", "_pulse")

    def __init__(self) -> None:
        self._now = Status()
        self._pulse = Pulse()

    @property
    def now(self) -> Status:
        """This moment's status."""
        return self._now

    @property
    def state(self) -> State:
        """What the connection is doing."""
        return self._now.state

    @property
    def pending(self) -> int:
        """Edits in the outbox."""
        return self._now.pending

    @property
    def last_synced(self) -> datetime | None:
        """When the cursor last moved."""
        return self._now.last_synced

    async def until(self, *states: State) -> Status:
        """Wait for one of `states`; also returns when the client is closed, which nothing follows."""
        async for status in self:
            if status.state in states:
                return status
        return self._now

    async def __aiter__(self) -> AsyncIterator[Status]:
        """The present status, then each later one; quick successions may be one. Ends when the client is closed."""
        async for _ in self._pulse.beats():
            yield self._now

    def enter(self, state: State, reason: str = "") -> None:
        """For the client: the connection does something else now."""
        self._show(replace(self._now, state=state, reason=reason))

    def count(self, pending: int) -> None:
        """For the client: so many edits wait."""
        self._show(replace(self._now, pending=pending))

    def close(self) -> None:
        """For the client: this is the end."""
        self.enter(State.CLOSED)
        self._pulse.stop()

    def synced(self, at: datetime | None) -> None:
        """For the client: the cursor moved."""
        self._show(replace(self._now, last_synced=at))

    def _show(self, status: Status) -> None:
        if status != self._now:
            self._now = status
            self._pulse.beat()
