"""The job that makes the operations of a client's queue: each an update of its own, with the clock of its author, on
what that author saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from crdt.based import Clash, Plan, View, in_json, others, plan, seen_after, unanswered, view_of
from crdt.document import Document
from crdt.edits import MADE, OTHER_BEGINNING, UNCHANGED, Begin, Delete, Edit, make
from crdt.issue import IssueContent, read
from crdt.jobs_history import LoggedDelta, Since, TellSince, Touch
from crdt.loading import load_whole
from crdt.resident import Resident
from crdt.shape import FIELD_KEYS, Author, Changes, iso
from crdt.touches import Path
from crdt.update import EMPTY_UPDATE, merge


@dataclass(frozen=True, slots=True)
class Based:
    """An issue as it was seen at `seq`, and the deltas since."""

    seq: int
    seen: Sequence[bytes]
    deltas: Sequence[LoggedDelta]


@dataclass(frozen=True, slots=True)
class Dated:
    """An edit, and when its author made it, by their clock.

    `base`: the seq at which they saw the issue; None: they do not say · `made_in`: the seq that holds it already, 0
    where that is about to be committed; None: it is to be made.
    """

    edit: Edit
    at: datetime
    base: int | None = None
    made_in: int | None = None


@dataclass(frozen=True, slots=True)
class MadeDated:
    """One update for each edit that was to be made, EMPTY_UPDATE where nothing changes, what became of it (see
    `crdt.edits`), what it met, and whether others have touched the issue since its author saw it."""

    updates: Sequence[bytes]
    outcomes: Sequence[str] = ()
    clashes: Sequence[Sequence[Clash]] = ()
    beside_others: Sequence[bool] = ()

    @property
    def update(self) -> bytes:
        """All of them as one."""
        return merge([update for update in self.updates if update != EMPTY_UPDATE])


@dataclass(frozen=True, slots=True)
class Head:
    """What stands in a field. `struct`: client id and clock · `at`: its clock, where it has one · `is_own`: the author
    of the edits wrote it, on the same device."""

    struct: tuple[int, int]
    at: datetime | None
    is_own: bool


@dataclass(frozen=True, slots=True)
class MakeDated:
    """Edit an issue that is all of `seen`, in order; a later edit sees what the earlier ones made. `bases`: every base
    that is named · `heads`: column → what stands there.

    Nobody else may write with `client_id` meanwhile.
    """

    issue: str
    seen: Sequence[bytes]
    client_id: int
    author: Author
    edits: Sequence[Dated]
    bases: Sequence[Based] = ()
    heads: Mapping[str, Head] = field(default_factory=dict)

    def run(self, resident: Resident) -> MadeDated:
        """The updates; each is causally closed over `seen` and those before it."""
        document, _ = load_whole(merge(self.seen), self.client_id)
        desk = _Desk(self, document, resident)
        results = [desk.make(at, each) for at, each in enumerate(self.edits) if each.made_in is None]
        updates, outcomes, clashes, beside = zip(*results, strict=True) if results else ((), (), (), ())
        return MadeDated(updates, outcomes, clashes, beside)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What their author saw, what of it others have written since, and whether others have touched anything."""

    before: IssueContent
    theirs: Sequence[Touch]
    is_old: bool


class _Desk:
    """One document, and what its author saw at the bases they name."""

    def __init__(self, job: MakeDated, document: Document, resident: Resident) -> None:
        self._job = job
        self._document = document
        self._sights: dict[int, _Sight] = {}
        me = job.author.user or "", job.author.device
        for base in job.bases:
            since = TellSince(base.seen, base.deltas).run(resident)
            known = self._known(since)
            theirs = [touch for touch in unanswered(since, *me) if touch.path not in known]
            self._sights[base.seq] = _Sight(since.before, theirs, bool(others(since, *me)))
        self._clocks = {name: head.at for name, head in job.heads.items() if head.at is not None}
        self._settled: set[str] = set()

    def make(self, place: int, each: Dated) -> tuple[bytes, str, Sequence[Clash], bool]:
        """Update, outcome, clashes, and whether it is beside others."""
        planned = self._plan(place, each)
        author = replace(self._job.author, at=each.at)
        update, outcome = make(self._document, UUID(self._job.issue), author, planned.edit)
        clashes = planned.clashes
        if isinstance(each.edit, Begin) and outcome in (OTHER_BEGINNING, UNCHANGED):
            now = read(self._document)
            if outcome == OTHER_BEGINNING or _began_otherwise(each.edit, author, now):
                clashes = [_begun_twice(each.edit, now)]
        if outcome == MADE:
            self._settled |= _fields_of(planned.edit)
        beside_others = each.base in self._sights and self._sights[each.base].is_old
        return update, outcome, clashes, beside_others

    def _known(self, since: Since) -> set[Path]:
        """Fields where there stands what the author saw, or wrote: what others wrote there since has lost, and that was
        told when it did."""
        return {
            ("fields", FIELD_KEYS[name])
            for name, head in self._job.heads.items()
            if head.is_own or head.struct[1] < since.seen.get(head.struct[0], 0)
        }

    def _plan(self, place: int, each: Dated) -> Plan:
        if each.base is None or not self._document.state_vector():
            return Plan(each.edit)
        sight = self._sights[each.base]
        view = self._view(place, each.base, sight.before)
        return plan(each.edit, each.at, view, read(self._document), sight.theirs, self._clocks, self._settled)

    def _view(self, place: int, base: int, before: IssueContent) -> View:
        """What their author saw: the base, and what they did themselves since."""
        view = view_of(before)
        for earlier in self._job.edits[:place]:
            if not earlier.made_in or earlier.made_in > base:
                view = seen_after(view, earlier.edit, earlier.at)
        return view


def _began_otherwise(edit: Begin, author: Author, now: IssueContent) -> bool:
    """Whether an issue with these texts and labels is somebody else's, and says something else in its fields. Those of
    whoever comes with their own once more may have changed since."""
    is_theirs = now.created_by == author.user and now.created_at and iso(now.created_at) == iso(author.at)
    return not is_theirs and any(in_json(getattr(now, name)) != in_json(value) for name, value in edit.fields.items())


def _begun_twice(edit: Begin, now: IssueContent) -> Clash:
    ours: dict[str, object] = {"title": edit.title, "description": edit.description, "labels": sorted(set(edit.labels))}
    ours |= {name: in_json(value) for name, value in edit.fields.items()}
    theirs: dict[str, object] = {"title": now.title, "description": now.description, "labels": list(now.labels)}
    theirs |= {name: in_json(getattr(now, name)) for name in edit.fields}
    return Clash("create_create", None, False, ours, theirs, now.created_by, at=now.created_at)


def _fields_of(edit: Edit) -> set[str]:
    if isinstance(edit, Delete):
        return {"deleted_at"}
    return set(edit.fields or ()) if isinstance(edit, Begin | Changes) else set()
