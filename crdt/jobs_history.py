"""Jobs that tell what happened to an issue: what each delta changed and who touched what since a moment.

They get the issue as it was (`seen`) and the deltas after that, and walk along them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from crdt.changes import Change, OtherChange, changes_between, is_one_entry, size_of
from crdt.document import Document
from crdt.issue import IssueContent, read
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
        walk = _Walk(merge(self.seen))
        entries: deque[Entry] = deque()
        version, chars = self.version, 0
        for group in _groups(self.deltas):
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
    """The issue as it was seen, as it is with all deltas, and who touched what in between, oldest first."""

    before: IssueContent
    after: IssueContent
    touches: Sequence[Touch]


@dataclass(frozen=True, slots=True)
class TellSince:
    """Which parts of an issue were touched by `deltas`, and by whom. Reads two states, whatever their number."""

    seen: Sequence[bytes]
    deltas: Sequence[LoggedDelta]

    def run(self, resident: Resident) -> Since:
        """The touches. Raises `Refused` for bytes that are not sound."""
        walk = _Walk(merge(self.seen))
        touches: dict[tuple[Path, str, str | None], Touch] = {}
        for delta in self.deltas:
            for path in walk.admit(delta):
                key = path, delta.actor_id, delta.device_id
                touches.pop(key, None)
                touches[key] = Touch(path, delta.actor_id, delta.device_id, delta.seq, delta.created_at)
        before, after = walk.content, walk.read(self.deltas)
        walk.end()
        return Since(before, after, list(touches.values()))


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


class _Walk:
    """A document on its way along a log."""

    def __init__(self, merged: bytes) -> None:
        self._document, self._index = load_whole(merged)
        self._updates = [merged]
        self.content = read(self._document)

    def admit(self, delta: LoggedDelta) -> set[Path]:
        """Take a delta in, to be read later; what it touches."""
        admit(self._index, delta.update)
        return touched(self._index, delta.update)

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

    def step(self, group: Sequence[LoggedDelta]) -> list[Change]:
        """What a group of deltas changes."""
        before = self.content
        paths = {path for delta in group for path in self.admit(delta)}
        changes = changes_between(before, self.read(group))
        unshown = others(paths)
        if unshown:
            changes.append(OtherChange(unshown))
        return changes

    def end(self) -> None:
        """Raises `Refused` when the document does not show all it was given."""
        expect_all(self._document, self._index)


def _groups(deltas: Sequence[LoggedDelta]) -> Iterator[list[LoggedDelta]]:
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
