"""What must hold, checked while it happens: the laws, as an onlooker of the log and of every frame sees them."""

from __future__ import annotations

import hashlib
from uuid import UUID

from crdt.gate import fold
from crdt.index import Index
from crdt.novelty import says_something_new
from crdt.records import UNBOUNDED
from storage.memory import MemoryStore
from storage.store import Delta, NewDelta


class LawBroken(AssertionError):
    """A run did what must never happen."""


class Oracle:
    """Watches one store. `trace` digests everything that happened, so that two runs can be compared."""

    def __init__(self) -> None:
        self.trace = hashlib.sha256()
        self.rows: list[Delta] = []
        self.told = 0
        self.acked = 0
        self.broken: list[str] = []
        self._known: dict[UUID, Index] = {}
        self._committed: set[tuple[UUID, bytes]] = set()

    def committed(self, delta: Delta) -> None:
        """A row is in the log. Laws 2 and 3: seqs are dense, and every prefix is causally closed."""
        self.note("row", delta.update)
        if delta.seq != len(self.rows) + 1:
            self.blame(f"seq {delta.seq} follows {len(self.rows)}")
        self.rows.append(delta)
        verdict = fold(self._index(delta.issue_id), delta.update, delta.actor_id)
        if verdict.gap:
            self.blame(f"seq {delta.seq} has no causes in the log")

    def tell(self, issue: UUID, update: bytes, who: str) -> None:
        """A node sends an update to somebody. Law 1: it is committed, whatever happens next."""
        self.told += 1
        self.note(f"to {who}", update)
        self._expect_committed(issue, update, f"{who} was told what is not committed")

    def acknowledge(self, issue: UUID, update: bytes, who: str) -> None:
        """A node says that an update is stored. Law 1 again."""
        self.acked += 1
        self.note(f"ack {who}", update)
        self._expect_committed(issue, update, f"{who} was promised what is not committed")

    def blame(self, what: str) -> None:
        """Remember it, too: where it is raised somebody may catch it."""
        self.broken.append(what)
        raise LawBroken(what)

    def note(self, what: str, data: bytes = b"") -> None:
        """Something happened."""
        self.trace.update(what.encode() + data)

    def state_vector(self, issue: UUID) -> dict[int, int]:
        """Of everything the log ever held of an issue."""
        return self._index(issue).state_vector

    def _expect_committed(self, issue: UUID, update: bytes, otherwise: str) -> None:
        if (issue, update) in self._committed:  # once is for ever, and most is told to several
            return
        if says_something_new(self._index(issue), update, UNBOUNDED):
            self.blame(otherwise)
        self._committed.add((issue, update))

    def _index(self, issue: UUID) -> Index:
        return self._known.setdefault(issue, Index())


class WatchedStore(MemoryStore):
    """The store in memory; an oracle sees each row at the moment of its commit."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self._oracle = oracle

    def _append(self, new: NewDelta) -> int:
        seq = super()._append(new)
        self._oracle.committed(
            Delta(new.workspace_id, seq, new.issue_id, new.update, new.actor_id, new.device_id, new.created_at)
        )
        return seq
