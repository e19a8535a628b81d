"""Jobs that tell what happened to an issue: what each delta changed and who touched what since a moment.

They get the issue as it was (`seen`) and the deltas after that, and walk along them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from crdt.blame import MAX_MARKS, Marks, attributed, older_marks
from crdt.changes import Change, OtherChange, changes_between, is_one_entry, size_of
from crdt.document import Document
from crdt.errors import TOO_LARGE, Refused
from crdt.index import Index
from crdt.issue import IssueContent, printable, read
from crdt.loading import admit, expect_all, load_whole
from crdt.resident import Resident
from crdt.touches import Path, others, touched
from crdt.update import merge, repair_cuts


@dataclass(frozen=True, slots=True)
class LoggedDelta:
    """A delta of the log, without whose it is."""

    seq: int
    update: bytes
    actor_id: str
    device_id: str | None
    created_at: datetime


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
    """What deltas changed, entry by entry. Of more than `max_chars` of changes the newest are told, at least one entry.

    `version`: of the issue as it was seen.
    """

    seen: Sequence[bytes]
    version: int
    deltas: Sequence[LoggedDelta]
    max_chars: int

    def run(self, resident: Resident) -> Told:
        """The entries. Raises `Refused` for bytes that are not sound."""
        walk = Walk(merge(self.seen))
        entries: deque[Entry] = deque()
        version, chars = self.version, 0
        for group in groups_of(self.deltas):
            version += len(group)
            entries.append(_entry(group, version, walk.step(group)))
            chars += sum(map(size_of, entries[-1].changes))
            while chars > self.max_chars and len(entries) > 1:
                chars -= sum(map(size_of, entries.popleft().changes))
        walk.end()
        return Told(list(entries))


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
            for path in walk.admit(delta):
                key = path, delta.actor_id, delta.device_id
                touches.pop(key, None)
                touches[key] = Touch(path, delta.actor_id, delta.device_id, delta.seq, delta.created_at)
        before, after = walk.content, walk.read(self.deltas)
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
    """A text in runs."""

    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class TellBlame:
    """Who wrote which characters of a text. `state` and `index`: the snapshot before the first of `deltas`, if any."""

    state: bytes | None
    index: bytes | None
    deltas: Sequence[LoggedDelta]
    root: str

    def run(self, resident: Resident) -> Blame:
        """All of the text. Raises `Refused` for bytes that are not sound."""
        marks = Marks()
        writers: list[Run] = []
        if self.state is not None and self.index is not None:
            known = Index.decode(self.index)
            writers += [Run("", name) for name in older_marks(marks, known.owners, known.state_vector)]
        groups = list(groups_of(self.deltas))
        if len(writers) + len(groups) > MAX_MARKS:
            raise Refused(TOO_LARGE, f"more than {MAX_MARKS} entries")
        for group in groups:
            for delta in group:
                marks.put_update(delta.update, len(writers))
            last = group[-1]
            writers.append(Run("", last.actor_id, last.device_id, group[0].seq, last.seq, last.created_at))
        head = [] if self.state is None else [self.state]
        merged = merge([*head, *(delta.update for delta in self.deltas)])
        document, _ = load_whole(merged)
        runs = attributed(merged, document.text(self.root), self.root, marks)
        return Blame([replace(writers[mark], text=printable(text)) for text, mark in runs])


class Walk:
    """A document on its way along a log."""

    def __init__(self, merged: bytes) -> None:
        self._document, self._index = load_whole(merged)
        self._updates = [merged]
        self.content = read(self._document)

    def admit(self, delta: LoggedDelta) -> set[Path]:
        """Take a delta in, to be read later; what it touches."""
        admit(self._index, delta.update)
        return touched(self._index, delta.update)

    def state_vector(self) -> dict[int, int]:
        """Client id → next clock, with all that was admitted."""
        return dict(self._index.state_vector)

    def text(self, root: str) -> str:
        """What a text reads now."""
        return self._document.text(root)

    def read(self, group: Sequence[LoggedDelta]) -> IssueContent:
        """The issue with a group of deltas that were admitted."""
        updates = [delta.update for delta in group]
        self._updates += updates
        if self._index.cuts:  # a document counts halved characters wrongly: read it from repaired bytes
            self._updates = [merge(self._updates)]
            self._document = Document.load(repair_cuts(self._updates[0], self._index.cuts))
        else:
            for update in updates:
                self._document.apply(update)
        self.content = read(self._document)
        return self.content

    def take(self, group: Sequence[LoggedDelta]) -> IssueContent:
        """The issue with a group of deltas."""
        for delta in group:
            self.admit(delta)
        return self.read(group)

    def step(self, group: Sequence[LoggedDelta]) -> list[Change]:
        """What a group of deltas changes."""
        before = self.content
        paths = {path for delta in group for path in self.admit(delta)}
        changes = changes_between(before, self.read(group))
        unshown = others(paths)
        if unshown:
            changes.append(OtherChange(unshown))
        return changes

    def take_telling(self, delta: LoggedDelta, roots: Sequence[str]) -> dict[str, list[dict[str, Any]]] | None:
        """Take one delta in, and tell what it did to these texts (`Document.apply_telling`). None: with halved
        characters in the issue that cannot be told. `content` is not read anew."""
        self.admit(delta)
        if self._index.cuts:
            self.read([delta])
            return None
        self._updates.append(delta.update)
        return self._document.apply_telling(delta.update, roots)

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


def _entry(group: Sequence[LoggedDelta], version: int, changes: Sequence[Change]) -> Entry:
    first, last = group[0], group[-1]
    return Entry(
        first.seq,
        last.seq,
        len(group),
        version,
        last.actor_id,
        last.device_id,
        first.created_at,
        last.created_at,
        changes,
    )
