"""What a write gives back: a promise for each of the two moments that matter, and who keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from uuid import UUID
from weakref import WeakSet

from syncline.errors import ClientClosed, NotAccepted, SynclineError
from syncline.issue import Issue
from syncline.records import Acked, Nacked


class Receipt:
    """A write on its way. Both promises may be awaited any number of times, or never.

    `issue`: the issue right after the write, None for edits of an open document.
    """

    __slots__ = ("__weakref__", "_committed", "_durable", "issue", "issue_id")

    def __init__(self, issue_id: UUID, issue: Issue | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.issue_id = issue_id
        self.issue = issue
        self._durable: asyncio.Future[None] = loop.create_future()
        self._committed: asyncio.Future[int] = loop.create_future()
        for promise in (self._durable, self._committed):
            # A bound method: who awaits a promise keeps the receipt, which `Receipts` knows only weakly.
            promise.add_done_callback(self._retrieve)

    @property
    def id(self) -> UUID:
        """The issue's."""
        return self.issue_id

    @property
    def durable(self) -> Awaitable[None]:
        """Done when the write is in the local store, to be sent however often it takes. Raises StoreFailed."""
        return asyncio.shield(self._durable)

    @property
    def committed(self) -> Awaitable[int]:
        """The seq at or below which the server has committed it. Raises NotAccepted when the server refuses it, and
        ClientClosed when the client is closed first (it is sent when the store is opened again)."""
        return asyncio.shield(self._committed)

    @property
    def is_committed(self) -> bool:
        """Whether the server has it."""
        return self._committed.done() and not self._committed.cancelled() and self._committed.exception() is None

    def kept(self) -> None:
        """For the client: it is in the local store."""
        if not self._durable.done():
            self._durable.set_result(None)

    def settle(self, outcome: Acked | Nacked) -> None:
        """For the client: the server has answered."""
        self.kept()
        if self._committed.done():
            return
        if isinstance(outcome, Acked):
            self._committed.set_result(outcome.seq)
        else:
            self._committed.set_exception(NotAccepted(outcome.code, outcome.message))

    def fail(self, error: SynclineError) -> None:
        """For the client: it will not come to that."""
        for promise in (self._durable, self._committed):
            if not promise.done():
                promise.set_exception(error)

    def _retrieve(self, promise: asyncio.Future[None] | asyncio.Future[int]) -> None:
        """A promise nobody awaits must not complain when it is thrown away."""
        if not promise.cancelled():
            promise.exception()


class Receipts:
    """Receipts that somebody still holds, by the id of their outbox entry: a write that changes nothing waits for the
    entry of the write before it."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[int, WeakSet[Receipt]] = {}

    def expect(self, entry_id: int, receipt: Receipt) -> None:
        """The entry is in the outbox; its outcome goes to `receipt`."""
        receipt.kept()
        self._open.setdefault(entry_id, WeakSet()).add(receipt)

    def settle(self, outcomes: Collection[Acked | Nacked]) -> None:
        """Tell whom it concerns."""
        for outcome in outcomes:
            for receipt in self._open.pop(outcome.entry_id, ()):
                receipt.settle(outcome)

    def awaited(self) -> list[int]:
        """Entries that somebody waits for."""
        return [entry_id for entry_id, receipts in self._open.items() if receipts]

    def close(self) -> None:
        """No answer can come any more."""
        for receipt in [receipt for receipts in self._open.values() for receipt in receipts]:
            receipt.fail(ClientClosed("the client was closed before the server answered"))
