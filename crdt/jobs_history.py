"""Jobs that tell what happened to an issue: what each delta changed and who touched what since a moment.

They get the issue as it was (`seen`) and the deltas after that, and walk along them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from crdt.blame import MAX_MARKS, Marks, attributed, brought, older_marks
from crdt.changes import Change, OtherChange, changes_between, is_one_entry, size_of
from crdt.document import Document
from crdt.errors import TOO_LARGE, Refused
from crdt.index import Index
from crdt.issue import IssueContent, printable, read
from crdt.loading import admit, expect_all, load_whole
from crdt.resident import Resident
from crdt.touches import Path, others, touched
from crdt.update import EMPTY_UPDATE, merge, repair_cuts


@dataclass(frozen=True, slots=True)
class LoggedDelta:
    """A delta of the log, without whose it is."""

    seq: int
    update: bytes
    actor_id: str
    device_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EntryHead:
    """Deltas of the log that are one entry, `deltas` of them, from `first_seq` to `seq`, without their updates."""

    first_seq: int
    seq: int
    deltas: int
    actor_id: str
    device_id: str | None
    began_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry of the log. `updates`: what makes the issue with it of the issue before it: those of its deltas, or a
    snapshot among them and the updates after that."""

    head: EntryHead
    updates: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one actor did on one device in deltas that follow each other: `deltas` of them, from `first_seq` to `seq`.

    No changes: it has no visible effect, like a value that lost against a concurrent one. `version`: of the issue, with
    this entry.
    """

    first_seq: int
    seq: int
    deltas: int
    version: int
    actor_id: str
    device_id: str | None
    began_at: datetime
    created_at: datetime
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Told:
    """Entries, oldest first."""

    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class TellChanges:
    """What changed, entry by entry. Of more than `max_chars` of changes the newest are told, at least one entry.

    `version`: of the issue as it was seen.
    """

    seen: Sequence[bytes]
    version: int
    entries: Sequence[LoggedEntry]
    max_chars: int

    def run(self, resident: Resident) -> Told:
        """The entries. Raises `Refused` for bytes that are not sound."""
        walk = Walk(merge(self.seen))
        told: deque[Entry] = deque()
        version, chars = self.version, 0
        for entry in self.entries:
            version += entry.head.deltas
            told.append(_told(entry, version, walk.step(entry.updates)))
            chars += sum(map(size_of, told[-1].changes))
            while chars > self.max_chars and len(told) > 1:
                chars -= sum(map(size_of, told.popleft().changes))
        walk.end()
        return Told(list(told))


@dataclass(frozen=True, slots=True)
class Touch:
    """The newest delta in which this actor, on this device, touched this path (see `crdt.touches`)."""

    path: Path
    actor_id: str
    device_id: str | None
    seq: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Since:
    """The issue as it was seen, as it is with all deltas, and who touched what in between, oldest first. `seen`: client
    id → next clock, of what was seen."""

    before: IssueContent
    after: IssueContent
    touches: Sequence[Touch]
    seen: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class TellSince:
    """Which parts of an issue were touched by `deltas`, and by whom. Reads two states, whatever their number."""

    seen: Sequence[bytes]
    deltas: Sequence[LoggedDelta]

    def run(self, resident: Resident) -> Since:
        """The touches. Raises `Refused` for bytes that are not sound."""
        walk = Walk(merge(self.seen))
        seen = walk.state_vector()
        touches: dict[tuple[Path, str, str | None], Touch] = {}
        for delta in self.deltas:
            for path in walk.admit(delta.update):
                key = path, delta.actor_id, delta.device_id
                touches.pop(key, None)
                touches[key] = Touch(path, delta.actor_id, delta.device_id, delta.seq, delta.created_at)
        before, after = walk.content, walk.read([delta.update for delta in self.deltas])
        walk.end()
        return Since(before, after, list(touches.values()), seen)


@dataclass(frozen=True, slots=True)
class Difference:
    """What one reading says and the other does not."""

    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class TellDifference:
    """What differs between two states of an issue, each all of its updates; none: there was no issue yet."""

    earlier: Sequence[bytes]
    later: Sequence[bytes]

    def run(self, resident: Resident) -> Difference:
        """The difference. Raises `Refused` for bytes that are not sound."""
        before, after = (read(load_whole(merge(updates))[0]) for updates in (self.earlier, self.later))
        return Difference(changes_between(before, after))


@dataclass(frozen=True, slots=True)
class Run:
    """Characters that follow each other and were written in one entry, whose deltas go from `first_seq` to `seq`.

    Where the log is trimmed only `actor_id` is known, from who first wrote with that client id; None: not even that.
    """

    text: str
    actor_id: str | None
    device_id: str | None = None
    first_seq: int | None = None
    seq: int | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Blame:
    """A text in runs; None where the entries do not say of all ids who brought them."""

    runs: Sequence[Run] | None


@dataclass(frozen=True, slots=True)
class TellBlame:
    """Who wrote which characters of a text. `updates`: the whole issue · `older`: the index of what was there before
    the first of `entries`, if anything. Of an entry the first and the last of its updates mostly name all ids it
    brought: one replica's ids follow each other. Where they do not, all of its updates are needed."""

    updates: Sequence[bytes]
    older: bytes | None
    entries: Sequence[LoggedEntry]
    root: str

    def run(self, resident: Resident) -> Blame:
        """All of the text. Raises `Refused` for bytes that are not sound."""
        marks = Marks()
        writers: list[Run] = []
        known: dict[int, int] = {}  # client id → next clock of what has a mark
        if self.older is not None:
            index = Index.decode(self.older)
            known = dict(index.state_vector)
            writers += [Run("", name) for name in older_marks(marks, index.owners, known)]
        if len(writers) + len(self.entries) > MAX_MARKS:
            raise Refused(TOO_LARGE, f"more than {MAX_MARKS} entries")
        for entry in self.entries:
            for client, (start, end) in brought(entry.updates).items():
                marks.put(client, start, len(writers))
                known[client] = end if known.get(client, 0) == start else -1
            head = entry.head
            writers.append(Run("", head.actor_id, head.device_id, head.first_seq, head.seq, head.created_at))
        merged = merge(self.updates)
        document, whole = load_whole(merged)
        if known != whole.state_vector:
            return Blame(None)
        runs = attributed(merged, document.text(self.root), self.root, marks)
        return Blame([replace(writers[mark], text=printable(text)) for text, mark in runs])


class Walk:
    """A document on its way along a log."""

    def __init__(self, merged: bytes) -> None:
        self._document, self._index = load_whole(merged)
        self._updates = [merged]
        self.content = read(self._document)

    def admit(self, update: bytes) -> set[Path]:
        """Take an update in, to be read later; what it touches."""
        return touched(self._index, admit(self._index, update) or EMPTY_UPDATE)

    def state_vector(self) -> dict[int, int]:
        """Client id → next clock, with all that was admitted."""
        return dict(self._index.state_vector)

    def text(self, root: str) -> str:
        """What a text reads now."""
        return self._document.text(root)

    def read(self, updates: Sequence[bytes]) -> IssueContent:
        """The issue with updates that were admitted."""
        self._updates += updates
        if self._index.cuts:  # a document counts halved characters wrongly: read it from repaired bytes
            self._updates = [merge(self._updates)]
            self._document = Document.load(repair_cuts(self._updates[0], self._index.cuts))
        else:
            for update in updates:
                self._document.apply(update)
        self.content = read(self._document)
        return self.content

    def step(self, updates: Sequence[bytes]) -> list[Change]:
        """What these updates change together."""
        before, update = self.content, merge(updates)
        paths = self.admit(update)
        changes = changes_between(before, self.read([update]))
        unshown = others(paths)
        if unshown:
            changes.append(OtherChange(unshown))
        return changes

    def take_telling(self, update: bytes, roots: Sequence[str]) -> dict[str, list[dict[str, Any]]] | None:
        """Take an update in, and tell what it did to these texts (`Document.apply_telling`). None: with halved
        characters in the issue that cannot be told. `content` is not read anew."""
        self.admit(update)
        if self._index.cuts:
            self.read([update])
            return None
        self._updates.append(update)
        return self._document.apply_telling(update, roots)

    def end(self) -> None:
        """Raises `Refused` when the document does not show all it was given."""
        expect_all(self._document, self._index)


def groups_of(deltas: Sequence[LoggedDelta]) -> Iterator[list[LoggedDelta]]:
    """The deltas of each entry."""
    group: list[LoggedDelta] = []
    for delta in deltas:
        if group and not is_one_entry(group[-1], delta):
            yield group
            group = []
        group.append(delta)
    if group:
        yield group


def entry_of(group: Sequence[LoggedDelta]) -> LoggedEntry:
    """Deltas of one entry as such."""
    first, last = group[0], group[-1]
    whose = (last.actor_id, last.device_id)
    head = EntryHead(first.seq, last.seq, len(group), *whose, first.created_at, last.created_at)
    return LoggedEntry(head, [delta.update for delta in group])


def _told(entry: LoggedEntry, version: int, changes: Sequence[Change]) -> Entry:
    head = entry.head
    return Entry(
        head.first_seq,
        head.seq,
        head.deltas,
        version,
        head.actor_id,
        head.device_id,
        head.began_at,
        head.created_at,
        changes,
    )
