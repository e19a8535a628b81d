"""The conflicts of a workspace as a program uses them: read from this device; a decision goes to the server at once."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from syncline.conflict import Conflict
from syncline.disk import Disk
from syncline.local_store import LocalStore
from syncline.pulse import Pulse

_PAGE: Final = 500

Keep: TypeAlias = Literal["standing", "losing", "value"]
Resolve: TypeAlias = Callable[[UUID, dict[str, Any]], Awaitable[Conflict]]


class Conflicts:
    """All that are open, and the newest that are not. Reads need no connection and raise StoreFailed."""

    def __init__(self, disk: Disk, moved: Pulse, resolve: Resolve) -> None:
        self._disk = disk
        self._moved = moved
        self._resolve = resolve

    async def get(self, conflict_id: UUID) -> Conflict:
        """One of them. Raises ConflictNotFound."""
        return await self._disk.call(LocalStore.conflict, conflict_id)

    async def list(self, issue_id: UUID | None = None, *, is_open: bool | None = True) -> builtins.list[Conflict]:
        """Those of an issue, or of all, the oldest change first. `is_open`: True, False, or None for both."""
        return await self._disk.call(LocalStore.conflicts, issue_id, is_open)

    async def watch(self, since: int | None = None) -> AsyncIterator[Conflict]:
        """Each conflict whenever it is recorded or decided, as it is then: what two people wrote at once is here even
        where the clocks have decided it. `since`: a `change` to go on from; None: first what is open.

        What went with its issue, which was deleted for good, is not told. Ends when the client is closed.
        """
        seen = 0 if since is None else since
        if since is None:
            for conflict in await self.list():
                yield conflict
            seen = (await self._disk.call(LocalStore.conflict_cursor)).change
        async for _ in self._moved.beats():
            while page := await self._disk.page(LocalStore.conflicts_after, seen, _PAGE):
                for conflict in page:
                    seen = conflict.change
                    yield conflict

    async def resolve(self, conflict_id: UUID, keep: Keep, value: Any = None) -> Conflict:
        """Keep what stands, what lost, or another `value`; returns the conflict as the server has it then.

        It is an ordinary edit of the issue, and comes to this device like any other. Raises ConflictResolved when
        somebody was first, ConflictNotFound, NotAccepted, and ServerUnreachable: a decision does not wait in the
        outbox, because somebody else may make it meanwhile. It waits a little where the server takes no more requests
        of this user; TooManyRequests says for how long, where that would be too long.
        """
        wanted: dict[str, Any] = {"keep": keep} if keep != "value" else {"keep": keep, "value": value}
        return await self._resolve(conflict_id, wanted)
