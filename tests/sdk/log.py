"""A server in memory for the store's tests: the real gate, one dense log, pages merged per issue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from crdt import gate, update
from crdt.errors import Refused
from crdt.index import Index
from crdt.records import Limits
from syncline.records import (
    Acked,
    Content,
    Entry,
    Event,
    MissingCame,
    Nacked,
    PageCame,
    ReloadCame,
    ResetCame,
)


@dataclass(slots=True)
class Log:
    """A workspace as the server holds it. `refuses`: bytes in an update that make it unacceptable."""

    epoch: UUID = field(default_factory=uuid4)
    deltas: list[tuple[UUID, bytes]] = field(default_factory=list)
    indexes: dict[UUID, Index] = field(default_factory=dict)
    refuses: bytes | None = None

    @property
    def head(self) -> int:
        return len(self.deltas)

    def push(self, entry: Entry, user: str) -> list[Event]:
        """What the server answers to one edit."""
        if self.refuses is not None and self.refuses in entry.update:
            return [Nacked(entry.id, "schema", "")]
        index = self.indexes.setdefault(entry.issue_id, Index())
        try:
            verdict = gate.check(index, entry.update, user, Limits())
        except Refused as refused:
            return [Nacked(entry.id, refused.reason, refused.detail)]
        if verdict.update:
            self.deltas.append((entry.issue_id, verdict.update))
        if verdict.gap:
            return [MissingCame(entry.issue_id, update.encode_state_vector(index.state_vector))]
        return [Acked(entry.id, self.head)]

    def page(self, since: int, limit: int) -> PageCame:
        """The log after `since`, at most `limit` deltas of it."""
        until = min(self.head, since + limit)
        merged: dict[UUID, tuple[int, list[bytes]]] = {}
        for seq in range(since + 1, until + 1):
            issue_id, delta = self.deltas[seq - 1]
            _, parts = merged.get(issue_id, (0, []))
            merged[issue_id] = (seq, [*parts, delta])
        entries = [Content(issue_id, seq, update.merge(parts)) for issue_id, (seq, parts) in merged.items()]
        return PageCame(since, until, tuple(sorted(entries, key=lambda content: content.seq)))

    def reset(self, *, is_new_history: bool = False) -> ResetCame:
        """The word before a reload of everything."""
        return ResetCame(self.epoch, self.head, 0, is_new_history)

    def reload(self, base: int, after: UUID | None, limit: int) -> ReloadCame:
        """Whole issues in id order."""
        ids = sorted(issue_id for issue_id in self.indexes if after is None or issue_id > after)
        chosen = [issue_id for issue_id in ids[:limit] if self.state(issue_id) != update.EMPTY_UPDATE]
        until = ids[limit - 1] if len(ids) > limit else None
        return ReloadCame(base, until, tuple(Content(one, self.newest(one), self.state(one)) for one in chosen))

    def state(self, issue_id: UUID) -> bytes:
        """The whole issue."""
        return update.merge([delta for one, delta in self.deltas if one == issue_id])

    def newest(self, issue_id: UUID) -> int:
        """The seq of an issue's last delta."""
        return max(seq for seq, (one, _) in enumerate(self.deltas, 1) if one == issue_id)

    def issues(self) -> Sequence[UUID]:
        """Every issue that has something."""
        return sorted({issue_id for issue_id, _ in self.deltas})
