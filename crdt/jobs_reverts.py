"""The job that takes changes back: on the issue as it is now, in one step, so that nothing slips in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crdt.changes import Change, changes_between
from crdt.issue import IssueContent, read
from crdt.jobs_history import LoggedEntry, Walk
from crdt.loading import load_whole
from crdt.resident import Resident
from crdt.reverts import (
    TEXTS,
    By,
    LeftAlone,
    Reversal,
    Undoing,
    Whose,
    compared_edits,
    exact_edits,
    texts_of,
    to_moment,
)
from crdt.shape import Author, NotPlain, Shape
from crdt.update import EMPTY_UPDATE, merge


@dataclass(frozen=True, slots=True)
class Reverted:
    """One update, EMPTY_UPDATE when nothing is taken back, what it changes, and what others have changed since.

    `is_plain`: False where a text holds an embedded object; then nothing is written.
    """

    update: bytes
    changes: Sequence[Change]
    left: Sequence[LeftAlone]
    is_plain: bool = True


@dataclass(frozen=True, slots=True)
class MakeRevert:
    """Take back, in an issue that is all of `updates`, what was done since it was as `seen`: everything, or what one
    writer did in `entries`, which follow upon `seen`; neighbours among them are of different writers. What `updates`
    hold beyond them counts as the work of others.

    Nobody else may write with `client_id` meanwhile.
    """

    updates: Sequence[bytes]
    client_id: int
    author: Author
    seen: Sequence[bytes]
    entries: Sequence[LoggedEntry]
    whose: Whose | None

    def run(self, resident: Resident) -> Reverted:
        """The update, causally closed over `updates`."""
        document, _ = load_whole(merge(self.updates), self.client_id)
        now = read(document)
        reversal, left = self._plan(now)
        try:
            update = document.edit(lambda roots: reversal.make(Shape.of(roots), self.author))
        except NotPlain:
            return Reverted(EMPTY_UPDATE, (), left, is_plain=False)
        return Reverted(update, changes_between(now, read(document)), left)

    def _plan(self, now: IssueContent) -> tuple[Reversal, list[LeftAlone]]:
        walk = Walk(merge(self.seen))
        if self.whose is None:
            return to_moment(now, walk.content), []
        undoing = Undoing(walk.content)
        for entry in self.entries:
            head = entry.head
            step = _Step(undoing, (head.actor_id, head.seq), self.whose.did(head.actor_id, head.device_id))
            before = walk.content
            step.take(walk, merge(entry.updates))
            step.end(before, walk.read(()))
        _Step(undoing, (None, None), is_theirs=False).end(walk.content, now, with_texts=True)
        return undoing.end(now)


@dataclass(frozen=True, slots=True)
class _Step:
    """What one writer did in deltas that follow each other: what it changes is told to `undoing`."""

    undoing: Undoing
    who: By
    is_theirs: bool

    def take(self, walk: Walk, update: bytes) -> None:
        """The characters that were written and deleted, exactly: a comparison of words would give the writer the
        letters of others between them."""
        old = {root: walk.text(root) for root in TEXTS}
        told = walk.take_telling(update, TEXTS)
        for root in TEXTS:
            new = walk.text(root)
            if new != old[root]:
                edits = compared_edits(old[root], new) if told is None else exact_edits(old[root], told[root], new)
                self.undoing.edit((root,), edits, self.who, is_theirs=self.is_theirs)

    def end(self, before: IssueContent, after: IssueContent, *, with_texts: bool = False) -> None:
        """The values they change, and the bodies of comments."""
        self.undoing.step(before, after, self.who, is_theirs=self.is_theirs)
        old, new = texts_of(before), texts_of(after)
        for part, text in new.items():
            if with_texts or part[0] not in TEXTS:
                edits = compared_edits(old.get(part, ""), text)
                self.undoing.edit(part, edits, self.who, is_theirs=self.is_theirs)
