"""A session without a socket: how the server itself writes into a room, with a receipt like anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from server import close_codes
from server.dialects.native import QUIET
from server.hub import Hub
from server.permissions import Identity
from server.record_errors import Gone, Unavailable
from server.room import Room
from server.session import Outcome, Session
from storage.conflicts import NewConflict
from storage.errors import Purged, StoreError
from storage.store import Mark, Workspace

_GONE: Final = "the issue was deleted for good"


class Pen:
    """One place in one room, for one update. To the room it is a connection that takes everything at once."""

    def __init__(self, hub: Hub, identity: Identity) -> None:
        self._hub = hub
        self._session = Session(identity, self, QUIET, f"record of {identity.user_id}", is_server=True)
        self._room: Room | None = None
        self._receipt: asyncio.Future[Outcome] | None = None

    async def enter(self, workspace: Workspace, issue_id: UUID) -> Room:
        """Open the issue. Raises `Unavailable`."""
        try:
            self._room = await self._hub.join(workspace, issue_id, self._session)
        except Purged:
            raise Gone(_GONE) from None
        except StoreError as error:
            raise Unavailable("the issue cannot be opened now") from error
        return self._room

    async def write(
        self,
        update: bytes,
        conflicts: Sequence[NewConflict] = (),
        after: int | None = None,
        mark: Mark | None = None,
    ) -> Outcome:
        """Submit, and wait for the commit; what it conflicts with and its mark are recorded with it. With `after`, only
        if that is the newest seq of the issue. Raises `Unavailable` when the room ends first."""
        assert self._room is not None
        if self._session.is_closed:
            raise Unavailable("the issue was closed meanwhile")
        self._session.conflicts = conflicts
        self._session.after = after
        self._session.mark = mark
        self._receipt = asyncio.get_running_loop().create_future()
        self._room.submit(self._session, update, self._answered)
        return await self._receipt

    def leave(self) -> None:
        """Done here."""
        self._session.is_closed = True
        if self._room is not None:
            self._hub.leave(self._room, self._session)

    # `Connection`, as the room sees it.

    def send(self, frame: bytes) -> None:
        """See `Connection.send`. Nobody reads."""

    def buffered_bytes(self) -> int:
        """See `Connection.buffered_bytes`."""
        return 0

    def close(self, code: int, reason: str) -> None:
        """See `Connection.close`."""
        if self._receipt is not None and not self._receipt.done():
            is_gone = code == close_codes.GONE
            self._receipt.set_exception(Gone(_GONE) if is_gone else Unavailable(f"not stored ({reason})"))

    def pause_reading(self) -> None:
        """See `Connection.pause_reading`. What is under way is one update."""

    def resume_reading(self) -> None:
        """See `Connection.resume_reading`."""

    def _answered(self, outcome: Outcome) -> None:
        if self._receipt is not None and not self._receipt.done():
            self._receipt.set_result(outcome)
