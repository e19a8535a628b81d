"""An open issue: a live document whose local edits stream out and into which remote edits come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from uuid import UUID

from pycrdt import Map, Text

from crdt.document import Document as EngineDocument
from crdt.issue import IssueContent, read
from crdt.shape import Shape
from crdt.update import diff, merge
from syncline.cuts import CutWatch
from syncline.errors import SynclineError
from syncline.outbox import AFTER_REFUSED
from syncline.presence import Presence
from syncline.pulse import Pulse
from syncline.receipts import Receipt
from syncline.records import Acked, Nacked
from syncline.replica import LiveDoc, Replica


@dataclass(frozen=True, slots=True)
class Moorings:
    """What ties a document to its client.

    `keep(update, client_id)` writes to the outbox · `expect(entry_id, receipt)` has its outcome told · `say` sends
    presence · `let_go` is called when the last user closes the document.
    """

    keep: Callable[[bytes, int], asyncio.Future[int | Nacked]]
    expect: Callable[[int, Receipt], None]
    say: Callable[[bytes], None]
    let_go: Callable[[], None]


class Document:
    """One issue, live. Edit the pycrdt types it gives out, or use `Issues.update`; either way is kept and sent.

    Fetch the texts and maps at each use: after a refused edit the document is loaded anew, and types fetched before are
    those of the old one. Positions in pycrdt texts are UTF-8 bytes. For the loop it was opened on.
    """

    def __init__(self, issue_id: UUID, state: bytes, client_id: int, started_at: int, moorings: Moorings) -> None:
        self.id = issue_id
        self.users = 0
        self._moorings = moorings
        self._client_id = client_id
        self._started_at = started_at
        self._pulse = Pulse()
        self._unsaved: list[bytes] = []
        self._saving: bytes | None = None
        self._is_adrift = False
        self._next: Receipt | None = None
        self._last = _settled(issue_id)
        self._replica = Replica(state, client_id, self._edited)
        self._cuts = CutWatch(state)
        self.presence = Presence(client_id, started_at, moorings.say)

    @property
    def title(self) -> Text:
        """The title."""
        return self._replica.shape.title

    @property
    def description(self) -> Text:
        """The description, Markdown."""
        return self._replica.shape.description

    @property
    def fields(self) -> Map[Any]:
        """status, priority, userId, sessionId, claudeTaskId, createdAt, createdBy, completedAt, deletedAt."""
        return self._replica.shape.fields

    @property
    def labels(self) -> Map[Any]:
        """Label → true."""
        return self._replica.shape.labels

    @property
    def comments(self) -> Map[Any]:
        """Comment id → map of author, createdAt, editedAt, deletedAt, body (text)."""
        return self._replica.shape.comments

    @property
    def doc(self) -> LiveDoc:
        """The pycrdt document itself, for other roots and for transactions."""
        return self._replica.doc

    @property
    def client_id(self) -> int:
        """What this device writes with here."""
        return self._client_id

    def content(self) -> IssueContent:
        """The issue as it reads now."""
        return read(EngineDocument.load(self._replica.state()))

    def save(self) -> Receipt:
        """The receipt of everything edited here so far. Edits are kept and sent without it, too."""
        receipt = self._last if self._next is None else self._next
        self._flush()
        return receipt

    async def changes(self) -> AsyncIterator[IssueContent]:
        """The issue now, then whenever anybody changed it; quick successions may be one. Ends when it is closed."""
        async for _ in self._pulse.beats():
            yield self.content()

    async def close(self) -> None:
        """Keep what was edited, and leave. Others who have it open on this client stay."""
        self.users -= 1
        if self.users > 0:
            return
        await self.settle()
        if self.users <= 0:
            self.presence.stop()
            self._pulse.stop()
            self._replica.release()
            self._moorings.let_go()

    async def settle(self) -> None:
        """Wait until everything edited here is in the local store. Raises StoreFailed."""
        while self._unsaved or self._saving is not None:
            await self.save().durable

    async def __aenter__(self) -> Document:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # For the client.

    def write(self, write: Callable[[Shape], None]) -> Receipt:
        """Edit in one transaction."""
        self._replica.edit(write)
        return self.save()

    def apply(self, update: bytes) -> bool:
        """Merge in what was committed. True when the document must be loaded anew for it to read right."""
        is_cut = self._cuts.sees_cut(update, self._replica.state)
        self._replica.apply(update)
        self._pulse.beat()
        return is_cut

    def cut_adrift(self) -> None:
        """Edits made here were refused: what is edited from now until `load` rests on them and cannot be kept."""
        self._is_adrift = True
        self._unsaved.clear()
        self._refuse_next()

    def load(self, state: bytes, client_id: int) -> None:
        """Begin anew from what the store says, with the edits that are not in it yet on top."""
        self._replica.release()
        self._replica = Replica(state, client_id, self._edited)
        self._cuts = CutWatch(state)
        if client_id != self._client_id:
            self.presence.clear()
            self.presence = Presence(client_id, self._started_at, self._moorings.say)
        self._client_id = client_id
        if self._saving is not None and not self._is_adrift:
            self._replica.apply(self._saving)
        for update in self._unsaved:
            self._replica.apply(update)
        self._is_adrift = False
        self._pulse.beat()

    def lacks(self, state: bytes) -> bytes:
        """What of a state is not in here."""
        return diff(state, self._replica.state_vector())

    def _edited(self, update: bytes) -> None:
        if self._next is None:
            self._next = Receipt(self.id)
        if self._is_adrift:
            self._refuse_next()
            return
        self._unsaved.append(update)
        self._cuts.wrote(update)
        self._pulse.beat()
        # One entry a turn of the loop, however many transactions it has.
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """One write at a time: an edit must not be kept when the one it rests on could not be."""
        if self._saving is not None or not self._unsaved or self._next is None:
            return
        update = merge(self._unsaved)
        receipt, self._next = self._next, None
        self._last = receipt
        self._unsaved.clear()
        self._saving = update
        self._moorings.keep(update, self._client_id).add_done_callback(lambda kept: self._kept(update, receipt, kept))

    def _kept(self, update: bytes, receipt: Receipt, kept: asyncio.Future[int | Nacked]) -> None:
        self._saving = None
        error = kept.exception()
        if error is not None:
            self._unsaved.insert(0, update)
            self._next = self._next or Receipt(self.id)
            receipt.fail(error if isinstance(error, SynclineError) else SynclineError(str(error)))
            return
        entry = kept.result()
        if isinstance(entry, Nacked):
            receipt.settle(entry)
        else:
            self._moorings.expect(entry, receipt)
        self._flush()

    def _refuse_next(self) -> None:
        if self._next is not None:
            self._last, self._next = self._next, None
            self._last.settle(Nacked(0, AFTER_REFUSED, "rests on a refused edit"))


def _settled(issue_id: UUID) -> Receipt:
    receipt = Receipt(issue_id)
    receipt.settle(Acked(0, 0))
    return receipt
