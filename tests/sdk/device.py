"""A device of the store's tests: a real local store on disk, fed by hand, that can die between any two calls."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

from crdt.document import Document
from crdt.issue import IssueContent, read
from crdt.shape import Author, Changes, Shape
from crdt.update import EMPTY_UPDATE
from syncline import documents
from syncline.local_store import LocalStore
from syncline.records import Applied, Entry, Event, ReloadProgress
from tests.sdk.log import Log


class Ticking:
    """A clock that moves a second at every look."""

    def __init__(self) -> None:
        self._seconds = count()

    def __call__(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(self._seconds))


class Device:
    """One user's copy of the workspace behind `log`."""

    def __init__(self, path: Path, log: Log, user: str) -> None:
        self._path = path
        self._clock = Ticking()
        self.log = log
        self.user = user
        self.sent_through = 0
        self.store = self._open()

    def create(self, issue_id: UUID, title: str, description: str = "") -> None:
        self.store.create(issue_id, (title, description, ()), _sign)

    def edit(self, issue_id: UUID, changes: Changes) -> int | None:
        return self.store.edit(issue_id, changes.make).entry_id

    def unsent(self, limit: int = 10) -> list[Entry]:
        """What a connection would push next."""
        return self.store.unsent(self.sent_through, limit, 1 << 20)

    def push(self, limit: int = 10) -> list[Event]:
        """Push the next entries; the server's answers, not taken in yet."""
        answers: list[Event] = []
        for entry in self.unsent(limit):
            answers += self.log.push(entry, self.user)
            self.sent_through = entry.id
        return answers

    def take(self, events: Iterable[Event]) -> Applied:
        return self.store.apply(list(events))

    def pull(self, limit: int = 3) -> bool:
        """Take one page of the feed; whether there was more."""
        feed = self.store.feed()
        if feed.epoch is None:
            self.take([self.log.reset()])
            return True
        if feed.reload is not None:
            self.take([self._reload_page(feed.reload, limit)])
            return True
        page = self.log.page(feed.cursor, limit)
        self.take([page])
        return page.to_seq > page.from_seq

    def settle(self) -> None:
        """A connection that lasts until there is nothing more to do."""
        self.sent_through = 0
        while answers := self.push():
            self.take(answers)
        while self.pull():
            pass

    def crash(self) -> None:
        """The process dies and starts again: what was not committed to the file is gone."""
        self.store.close()
        self.sent_through = 0
        self.store = self._open()

    def content(self, issue_id: UUID) -> IssueContent:
        """The issue as it reads here."""
        return read(Document.load(self.store.open(issue_id)[0]))

    def committed(self, issue_id: UUID) -> bytes:
        """What this device believes committed."""
        return documents.base_of(self.store._connection, issue_id) or EMPTY_UPDATE

    def _reload_page(self, progress: ReloadProgress, limit: int) -> Event:
        return self.log.reload(progress.base, progress.after, limit)

    def _open(self) -> LocalStore:
        store = LocalStore(str(self._path), self._clock)
        store.become(self.user)
        return store


def _sign(shape: Shape, author: Author) -> None:
    Changes(fields={"created_at": author.at, "created_by": author.user}).make(shape, author)
