"""What an engine process can be asked: one frozen record a job, one a result, and their wire form (msgpack).

Jobs are pure but for `Resident`, the live documents a process keeps between projections of the same issue. They hold
the only code that touches documents, so they may crash, hang or eat memory: run them behind the wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from crdt.compaction import compact
from crdt.document import Document
from crdt.edits import LEFT_OUT, Edit, make
from crdt.errors import Refused
from crdt.gate import check, fold, index_of, index_of_snapshot
from crdt.index import Index
from crdt.issue import IssueContent, read
from crdt.loading import admit, expect_all, load_whole
from crdt.records import UNKNOWN_ARRIVAL, Arrival, Limits, Mandate, Overwrite
from crdt.resident import Resident, ResidentIssue
from crdt.shape import Author
from crdt.update import EMPTY_UPDATE, diff, merge

Result_co = TypeVar("Result_co", covariant=True)


class Job(Protocol[Result_co]):
    """A record with the work it asks for. Raises `Refused` on bytes that are not sound."""

    def run(self, resident: Resident) -> Result_co:
        """Do the work. Anything but `Refused` that comes out of here is the issue's failure."""


@dataclass(frozen=True, slots=True)
class Projected:
    """The issue as its document shows it; None when the process does not hold the issue and needs all of it."""

    content: IssueContent | None


@dataclass(frozen=True, slots=True)
class ProjectTail:
    """Read an issue the process already holds at seq `after`, having merged `updates`, which end at `seq`."""

    issue: str
    after: int
    seq: int
    updates: Sequence[bytes]

    def run(self, resident: Resident) -> Projected:
        """The new content, or None as content: send `ProjectWhole`."""
        # Taken out while it changes: an entry whose change failed half-way must not be found again.
        entry = resident.take(self.issue, self.after)
        if entry is None:
            return Projected(None)
        for update in self.updates:
            admit(entry.index, update)
        if entry.index.cuts:
            return Projected(None)  # a document counts halved characters wrongly: read it from repaired bytes
        merged = merge(self.updates)  # a document takes one update at much less than many
        entry.document.apply(merged)
        expect_all(entry.document, entry.index)
        resident.put(self.issue, entry.grown(self.seq, len(merged)))
        return Projected(read(entry.document))


@dataclass(frozen=True, slots=True)
class ProjectWhole:
    """Read an issue from all there is: `updates` from the first on, or a snapshot and what follows, up to `seq`."""

    issue: str
    seq: int
    updates: Sequence[bytes]

    def run(self, resident: Resident) -> Projected:
        """The content, never None. The process keeps the document for the next `ProjectTail`."""
        merged = merge(self.updates)
        document, index = load_whole(merged)
        if not index.cuts:
            resident.put(self.issue, ResidentIssue(document, index, self.seq, len(merged)))
        return Projected(read(document))


@dataclass(frozen=True, slots=True)
class Answers:
    """One entry a job: its result, or a `Refusal`."""

    each: Sequence[object]


@dataclass(frozen=True, slots=True)
class Several:
    """Small jobs, of which each alone would cost more to send than to do."""

    jobs: Sequence[Job[object]]

    def run(self, resident: Resident) -> Answers:
        """All answers. What one of them fails of is the failure of all: ask again one by one."""
        return Answers([_answer(job, resident) for job in self.jobs])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job refused bytes."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """A snapshot's `state` and `index`. `kept`: why the merged bytes were kept as they are, None when compacted.

    `overwrites`: what the tail overwrote, with the place of its delta in the tail.
    """

    state: bytes
    index: bytes
    kept: str | None
    overwrites: Sequence[tuple[int, Overwrite]] = ()


@dataclass(frozen=True, slots=True)
class Compact:
    """Fold a snapshot (None: there is none) and the deltas after it into one. `tail`: (update, actor) in log order ·
    `arrivals`: of each of them, where it is known."""

    state: bytes | None
    index: bytes | None
    tail: Sequence[tuple[bytes, str]]
    arrivals: Sequence[Arrival] = ()

    def run(self, resident: Resident) -> Compacted:
        """The new snapshot, which says all that its parts said."""
        known = Index()
        if self.state is not None and self.index is not None:
            known = index_of_snapshot(self.state, self.index)
        overwrites: list[tuple[int, Overwrite]] = []
        for place, (update, actor) in enumerate(self.tail):
            arrival = self.arrivals[place] if self.arrivals else UNKNOWN_ARRIVAL
            overwrites += [(place, found) for found in fold(known, update, actor, arrival).overwrites]
        head = [] if self.state is None else [self.state]
        merged = merge([*head, *(update for update, _ in self.tail)])
        compaction = compact(merged, known.cuts)
        # A repaired snapshot has no cuts left; merged bytes kept as they were have all of theirs.
        index = index_of(compaction.state, known.owners) if compaction.kept is None else known
        index.heads = known.heads  # the state does not say when and from where its values came
        return Compacted(compaction.state, index.encode(), compaction.kept, overwrites)


@dataclass(frozen=True, slots=True)
class Compared:
    """`difference` names what differs first between two states of an issue, without content; None: they are equal."""

    difference: str | None


@dataclass(frozen=True, slots=True)
class Compare:
    """Are two sets of updates the same state: state vector, deletes and what a reader sees?"""

    left: Sequence[bytes]
    right: Sequence[bytes]

    def run(self, resident: Resident) -> Compared:
        """The first difference found."""
        left, right = merge(self.left), merge(self.right)
        if left == right:
            return Compared(None)
        (one, _), (other, _) = load_whole(left), load_whole(right)
        if one.state_vector() != other.state_vector():
            return Compared("state vector")
        # Asked of the documents: what lost against a concurrent write is deleted there, but in no update.
        if index_of(one.snapshot(), {}).deleted != index_of(other.snapshot(), {}).deleted:
            return Compared("deletes")
        return Compared(None if read(one) == read(other) else "content")


@dataclass(frozen=True, slots=True)
class CheckIndex:
    """Does a stored index say of its snapshot what the snapshot itself says?"""

    state: bytes
    index: bytes

    def run(self, resident: Resident) -> Compared:
        """The first difference found."""
        stored, derived = Index.decode(self.index), index_of(self.state, {})
        if stored.state_vector != derived.state_vector:
            return Compared("index: state vector")
        if stored.deleted != derived.deleted:
            return Compared("index: deletes")
        return Compared(None)


@dataclass(frozen=True, slots=True)
class Checked:
    """The gate's verdict on a big update, and the index that now includes what was accepted."""

    update: bytes
    gap: bool
    overwrites: Sequence[Overwrite]
    index: bytes


@dataclass(frozen=True, slots=True)
class Check:
    """Pass an update too big for the edge's loop through the gate."""

    index: bytes
    update: bytes
    actor: str
    limits: Limits
    mandate: Mandate | None = None
    arrival: Arrival = UNKNOWN_ARRIVAL
    stored_bytes: int = 0

    def run(self, resident: Resident) -> Checked:
        """The verdict. Raises `Refused` as the gate does."""
        index = Index.decode(self.index)
        index.stored_bytes = self.stored_bytes
        verdict = check(index, self.update, self.actor, self.limits, self.mandate, self.arrival)
        return Checked(verdict.update, verdict.gap, verdict.overwrites, index.encode())


@dataclass(frozen=True, slots=True)
class Bytes:
    """One update."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge updates too big for the edge's loop."""

    updates: Sequence[bytes]

    def run(self, resident: Resident) -> Bytes:
        """All of them as one."""
        return Bytes(merge(self.updates))


@dataclass(frozen=True, slots=True)
class Diff:
    """Find what a peer at `state_vector` lacks of an update too big for the edge's loop."""

    update: bytes
    state_vector: bytes

    def run(self, resident: Resident) -> Bytes:
        """What it lacks."""
        return Bytes(diff(self.update, self.state_vector))


@dataclass(frozen=True, slots=True)
class Edited:
    """One update for all edits, EMPTY_UPDATE when nothing changes, and what became of each (see `crdt.edits`)."""

    update: bytes
    outcomes: Sequence[str]


@dataclass(frozen=True, slots=True)
class MakeEdits:
    """Edit an issue that is all of `updates`, in order; a later edit sees what the earlier ones made. None: one that is
    left out.

    Nobody else may write with `client_id` meanwhile.
    """

    issue: str
    updates: Sequence[bytes]
    client_id: int
    author: Author
    edits: Sequence[Edit | None]

    def run(self, resident: Resident) -> Edited:
        """The update, causally closed over `updates`."""
        document, _ = load_whole(merge(self.updates), self.client_id)
        made = [self._make(document, edit) for edit in self.edits]
        updates = [update for update, _ in made if update != EMPTY_UPDATE]
        return Edited(merge(updates), [outcome for _, outcome in made])

    def _make(self, document: Document, edit: Edit | None) -> tuple[bytes, str]:
        return (EMPTY_UPDATE, LEFT_OUT) if edit is None else make(document, UUID(self.issue), self.author, edit)


def _answer(job: Job[object], resident: Resident) -> object:
    try:
        return job.run(resident)
    except Refused as refused:
        return Refusal(refused.reason, refused.detail)
