"""The issues that are open in this process, and the way content takes into them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from uuid import UUID

from crdt.errors import Refused
from crdt.native import Awareness, ClientFrame, Close
from syncline.disk import Disk
from syncline.document import Document, Moorings
from syncline.local_store import LocalStore
from syncline.receipts import Receipts
from syncline.records import Applied, Nacked


class Desk:
    """Open documents by issue. An issue is open once, however often it is asked for."""

    def __init__(
        self,
        disk: Disk,
        receipts: Receipts,
        clock: Callable[[], datetime],
        post: Callable[[ClientFrame], None],
        grown: Callable[[], None],
    ) -> None:
        """`post` sends a frame if there is a connection · `grown` is called when the outbox has."""
        self._disk = disk
        self._receipts = receipts
        self._clock = clock
        self._post = post
        self._grown = grown
        self._places: dict[UUID, asyncio.Task[Document]] = {}
        self._reloads: set[asyncio.Task[None]] = set()

    async def open(self, issue_id: UUID) -> Document:
        """The document of an issue, for one more user."""
        document = await self.present(issue_id)
        if document is None:
            place = asyncio.get_running_loop().create_task(self._load(issue_id))
            self._places[issue_id] = place
            try:
                document = await asyncio.shield(place)
            except BaseException:
                if place.done() and self._places.get(issue_id) is place:
                    del self._places[issue_id]
                raise
        document.users += 1
        return document

    async def present(self, issue_id: UUID) -> Document | None:
        """The document, if it is open or being opened."""
        place = self._places.get(issue_id)
        while place is not None:
            document = await asyncio.shield(place)
            if self._places.get(issue_id) is place:
                return document
            place = self._places.get(issue_id)
        return None

    def documents(self) -> list[Document]:
        """All that are open."""
        return [place.result() for place in self._places.values() if place.done() and not place.exception()]

    def take(self, applied: Applied) -> None:
        """The store has taken this in: show it in what is open."""
        for content in applied.content:
            document = self._get(content.issue_id)
            if document is not None and document.apply(content.update):
                self._reload(document)
        for issue_id in applied.rebuilt:
            document = self._get(issue_id)
            if document is not None:
                document.cut_adrift()
                self._reload(document)

    def hear(self, issue_id: UUID, update: bytes) -> None:
        """Presence came."""
        document = self._get(issue_id)
        if document is not None:
            try:
                document.presence.hear(update)
            except (Refused, ValueError):
                return  # another client's state that is no JSON: nothing to show

    def renew_presence(self, issue_ids: Iterable[UUID] | None = None) -> None:
        """Say again what was said, so that the server keeps it; in all or in some."""
        chosen = None if issue_ids is None else set(issue_ids)
        for document in self.documents():
            if chosen is None or document.id in chosen:
                document.presence.renew()

    def forget_presence(self) -> None:
        """The connection is gone."""
        for document in self.documents():
            document.presence.forget()

    async def refresh(self) -> None:
        """Another process wrote to the store: show what it wrote in what is open."""
        for document in self.documents():
            state, client_id = await self._disk.call(LocalStore.open, document.id)
            if self._get(document.id) is not document:
                continue
            if client_id != document.client_id:
                document.cut_adrift()
                self._reload(document)
            elif document.apply(document.lacks(state)):
                self._reload(document)

    async def close(self) -> None:
        """Keep what was edited, close all. Raises StoreFailed."""
        for document in self.documents():
            document.users = 1
            await document.close()
        for reload in list(self._reloads):
            reload.cancel()

    def _get(self, issue_id: UUID) -> Document | None:
        place = self._places.get(issue_id)
        return place.result() if place is not None and place.done() and not place.exception() else None

    async def _load(self, issue_id: UUID) -> Document:
        state, client_id = await self._disk.call(LocalStore.open, issue_id)
        moorings = Moorings(
            keep=partial(self._keep, issue_id),
            expect=self._receipts.expect,
            say=lambda update: self._post(Awareness(issue_id, update)),
            let_go=partial(self._let_go, issue_id),
        )
        return Document(issue_id, state, client_id, int(self._clock().timestamp()), moorings)

    def _keep(self, issue_id: UUID, update: bytes, client_id: int) -> asyncio.Future[int | Nacked]:
        kept = self._disk.call(LocalStore.keep, issue_id, update, client_id)
        kept.add_done_callback(lambda _: self._grown())
        return kept

    def _let_go(self, issue_id: UUID) -> None:
        self._places.pop(issue_id, None)
        self._post(Close(issue_id))

    def _reload(self, document: Document) -> None:
        task = asyncio.get_running_loop().create_task(self._load_anew(document))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _load_anew(self, document: Document) -> None:
        state, client_id = await self._disk.call(LocalStore.open, document.id)
        if self._get(document.id) is document:
            document.load(state, client_id)
