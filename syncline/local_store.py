"""The local store: documents, cursor and outbox of one workspace in one SQLite file, changed together or not at all.

Blocking, and for one thread; several processes may use one file. `Disk` puts it beside an event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import assert_never
from uuid import UUID

from pycrdt import get_state

from crdt.shape import Author, Shape
from crdt.update import EMPTY_UPDATE, merge
from crdt.writing import seed
from syncline import conflict_list, documents, feed, identity, outbox, tables
from syncline.conflict import Conflict
from syncline.errors import ConflictNotFound, IssueExists, IssueNotFound, StoreFailed
from syncline.issue import Issue
from syncline.records import (
    Acked,
    Applied,
    ConflictCursor,
    ConflictsCame,
    Content,
    ContentCame,
    Entry,
    Event,
    Feed,
    MissingCame,
    Nacked,
    PageCame,
    PurgedCame,
    ReloadCame,
    ResetCame,
    Written,
)
from syncline.replica import write_update
from syncline.slot import take_slot

Clock = Callable[[], datetime]
Write = Callable[[Shape, Author], None]
Beginning = tuple[str, str, tuple[str, ...]]  # title, description, labels


class LocalStore:
    """One open store. Every method is one transaction, and raises StoreFailed when the file cannot serve it."""

    def __init__(self, path: str, clock: Clock) -> None:
        """Open or create the file at `path`; ":memory:" keeps nothing."""
        self._clock = clock
        self._path = path
        self._slot = take_slot(path)
        try:
            with _failures():
                self._connection = tables.connect(path)
                self._file = identity.file_identity(path)
                with self._transaction():
                    identity.begin(self._connection)
                    self.device_id = identity.device_id(self._connection)
        except BaseException:
            self._slot.release()
            raise

    def close(self) -> None:
        """Close the file; it can be opened again at once."""
        self._connection.close()
        self._slot.release()

    # What the server says.

    def feed(self) -> Feed:
        """How far the store follows the workspace."""
        with self._transaction() as connection:
            return feed.read(connection)

    def become(self, user: str) -> None:
        """Write for `user` from now on."""
        with self._transaction() as connection:
            identity.become(connection, user)

    def apply(self, events: Sequence[Event]) -> Applied:
        """Take in what came, in order, all or nothing. Raises feed.Stale when it does not continue what is here."""
        content: list[Content] = []
        rebuilt: set[UUID] = set()
        settled: list[Acked | Nacked] = []
        with self._transaction() as connection:
            for event in events:
                match event:
                    case PurgedCame():
                        settled += [why for _, why in outbox.bury(connection, event.issue_id, self._clock())]
                        rebuilt.add(event.issue_id)
                    case PageCame():
                        content += feed.take_page(connection, event, self._clock())
                    case ContentCame():
                        content += documents.add_committed(connection, event.entries, self._clock())
                    case ResetCame():
                        feed.take_reset(connection, event)
                    case ReloadCame():
                        content += feed.take_reload(connection, event, self._clock())
                    case ConflictsCame():
                        conflict_list.take(connection, event)
                    case Acked():
                        settled += outbox.acknowledge(connection, event, self._clock())
                    case Nacked():
                        refused = outbox.refuse(connection, event, self._clock())
                        settled += [why for _, why in refused]
                        rebuilt.update(entry.issue_id for entry, _ in refused)
                    case MissingCame():
                        outbox.append_whole(connection, event, self._clock())
                    case _:
                        assert_never(event)
            pending = outbox.count(connection)
        return Applied(tuple(content), frozenset(rebuilt), tuple(settled), pending)

    # Conflicts.

    def conflict_cursor(self) -> ConflictCursor:
        """How far the store follows conflicts."""
        with self._transaction() as connection:
            return conflict_list.read_cursor(connection)

    def conflict(self, conflict_id: UUID) -> Conflict:
        """One conflict. Raises ConflictNotFound."""
        with self._transaction() as connection:
            found = conflict_list.read(connection, conflict_id)
        if found is None:
            raise ConflictNotFound(conflict_id)
        return found

    def conflicts(self, issue_id: UUID | None, is_open: bool | None) -> list[Conflict]:
        """Those of an issue, or of all; None: open or not."""
        with self._transaction() as connection:
            return conflict_list.read_all(connection, issue_id, is_open)

    def conflicts_after(self, change: int, limit: int) -> list[Conflict]:
        """By their newest change, from after `change`."""
        with self._transaction() as connection:
            return conflict_list.changed_after(connection, change, limit)

    # What is written here.

    def create(self, issue_id: UUID, beginning: Beginning, write: Write) -> Written:
        """Begin an issue, then `write`. Creating it again changes nothing.

        Raises IssueExists where it began with something else.
        """
        with self._transaction() as connection:
            begun = seed(issue_id, *beginning)
            present = documents.view(connection, issue_id)
            if present is not None:
                if documents.beyond(begun, present) is not None:
                    raise IssueExists(issue_id)
                return self._written(connection, issue_id, None)
            rest = write_update(begun, self._client_id(connection, issue_id), self._signed(connection, write))
            return self._keep(connection, issue_id, merge([begun, rest]))

    def edit(self, issue_id: UUID, write: Write) -> Written:
        """Edit an issue that nobody here has open. Raises IssueNotFound and what `write` raises."""
        with self._transaction() as connection:
            state = documents.view(connection, issue_id)
            if state is None:
                raise IssueNotFound(issue_id)
            update = write_update(state, self._client_id(connection, issue_id), self._signed(connection, write))
            if update == EMPTY_UPDATE:
                return self._written(connection, issue_id, None)
            return self._keep(connection, issue_id, update)

    def keep(self, issue_id: UUID, update: bytes, client_id: int) -> int | Nacked:
        """Keep an edit made in an open document; returns its id in the outbox, or that it rests on a refused one."""
        with self._transaction() as connection:
            return outbox.append_unless_retired(connection, issue_id, update, client_id, self._clock())

    # What is read here.

    def open(self, issue_id: UUID) -> tuple[bytes, int]:
        """The issue as one update, and the client id to edit it with. Unknown issues are empty."""
        with self._transaction() as connection:
            return documents.view(connection, issue_id) or EMPTY_UPDATE, self._client_id(connection, issue_id)

    def state_vector(self, issue_id: UUID) -> bytes | None:
        """Of an issue with what waits of it, None when nothing is known of it."""
        with self._transaction() as connection:
            state = documents.view(connection, issue_id)
            return None if state is None else get_state(state)

    def unsent_issues(self, most: int) -> list[tuple[UUID, int, bytes]]:
        """Issues with edits that wait, those that wait longest first: the newest of these edits, and the state vector
        with all of them."""
        with self._transaction() as connection:
            waiting = outbox.issues(connection, most)
            return [(each, newest, get_state(documents.view(connection, each) or b"")) for each, newest in waiting]

    def author(self) -> Author:
        """Who edits here, now."""
        with self._transaction() as connection:
            return self._author(connection)

    def read(self, issue_id: UUID) -> Issue:
        """One issue. Raises IssueNotFound."""
        with self._transaction() as connection:
            return self._read(connection, issue_id)

    def read_all(self) -> list[Issue]:
        """Every issue, in the order of their ids."""
        with self._transaction() as connection:
            return documents.read_all(connection)

    def committed_after(self, seq: int, limit: int) -> list[Issue]:
        """Issues by their newest delta, from after `seq` through the cursor."""
        with self._transaction() as connection:
            return documents.committed_after(connection, seq, limit)

    def revised_after(self, revision: int, limit: int) -> list[Issue]:
        """Issues by their newest change on this device, from after `revision`."""
        with self._transaction() as connection:
            return documents.revised_after(connection, revision, limit)

    def unsent(self, after: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """The next outbox entries after the id `after`, as many as fit, one at least."""
        with self._transaction() as connection:
            return outbox.read_after(connection, after, max_entries, max_bytes)

    def pending(self) -> int:
        """Outbox entries."""
        with self._transaction() as connection:
            return outbox.count(connection)

    def outcomes(self, entry_ids: Collection[int]) -> list[Acked | Nacked]:
        """How these entries ended, whichever process heard of it."""
        with self._transaction() as connection:
            return outbox.outcomes(connection, entry_ids)

    def is_retired(self, issue_id: UUID, client_id: int) -> bool:
        """Whether an open document must be loaded anew, because edits made with its client id were refused."""
        with self._transaction() as connection:
            return identity.is_retired(connection, issue_id, client_id)

    def version(self) -> int:
        """Changes when another process writes to the file."""
        with _failures():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(version)

    def _keep(self, connection: sqlite3.Connection, issue_id: UUID, update: bytes) -> Written:
        return self._written(connection, issue_id, outbox.append(connection, issue_id, update, self._clock()))

    def _written(self, connection: sqlite3.Connection, issue_id: UUID, entry_id: int | None) -> Written:
        if entry_id is None:
            # Nothing new to write; it is committed when what was written before is.
            before = documents.waiting(connection, issue_id)
            entry_id = before[-1].id if before else None
        return Written(entry_id, self._read(connection, issue_id), outbox.count(connection))

    def _read(self, connection: sqlite3.Connection, issue_id: UUID) -> Issue:
        issue = documents.read_issue(connection, issue_id)
        if issue is None:
            raise IssueNotFound(issue_id)
        return issue

    def _signed(self, connection: sqlite3.Connection, write: Write) -> Callable[[Shape], None]:
        author = self._author(connection)
        return lambda shape: write(shape, author)

    def _author(self, connection: sqlite3.Connection) -> Author:
        return Author(identity.user_id(connection), self.device_id, self._clock())

    def _client_id(self, connection: sqlite3.Connection, issue_id: UUID) -> int:
        return identity.client_id(connection, self._slot.number, self._file, issue_id)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _failures(), tables.transaction(self._connection):
            yield self._connection


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFailed(str(error)) from error
