"""What an operation of a client's queue rests on, read from the log; and what it conflicts with, for the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from crdt.based import Clash
from crdt.jobs_outbox import Based, Head
from crdt.records import FieldWrite
from crdt.shape import FIELD_KEYS, Author
from server.record_errors import Unavailable
from storage.conflict_findings import FIELD_NAMES, clock_of, side_of
from storage.conflicts import CREATE_CREATE, MERGE_FIELDS, UPDATE_UPDATE, NewConflict, Side, Strategy
from storage.engine import IssueKey
from storage.errors import Trimmed
from storage.log_reader import LogReader
from storage.timeline import SpanTooLong, Timeline, logged


class NoBase(Exception):
    """The base that an operation names is none; the message says why. `field`: which member names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Base:
    """The issue as somebody saw it: by its version, or by a seq of the workspace."""

    version: int | None = None
    seq: int | None = None

    @property
    def field(self) -> str:
        """Which member of an operation it is."""
        return "base_version" if self.seq is None else "base_seq"


class Bases:
    """Reads them."""

    def __init__(self, log: LogReader, timeline: Timeline) -> None:
        self._log = log
        self._timeline = timeline

    async def seq_of(self, key: IssueKey, base: Base, newest: int) -> int:
        """The seq of a base of an issue that is at `newest`. Raises `NoBase`, and `Unavailable` where the issue is not
        here yet as somebody saw it elsewhere."""
        if base.seq is not None:  # of the workspace, which may be further
            return min(base.seq, newest)
        assert base.version is not None
        seq = await self._log.seq_of_version(key.workspace_id, key.issue_id, base.version)
        if seq is None:
            raise NoBase(base.field, "the issue does not have that version, or its history is not kept so far back")
        if seq > newest:
            raise Unavailable("this node has not heard of that version yet")
        return seq

    async def read(self, key: IssueKey, seq: int, newest: int, field: str) -> Based:
        """The issue as it was at `seq`, and what came since. Raises `NoBase`."""
        try:
            span = await self._timeline.span(key, seq)
        except Trimmed as trimmed:
            raise NoBase(field, f"{trimmed}: read the record and send the operation on that") from None
        except SpanTooLong as long:
            raise NoBase(
                field, f"there are {long} since then: read the record and send the operation on that"
            ) from None
        deltas = [delta for delta in span.deltas if delta.seq <= newest]
        return Based(seq, span.seen.updates, logged(deltas))


def heads_of(heads: Mapping[str, FieldWrite], author: Author, max_lead: timedelta) -> dict[str, Head]:
    """Column → what stands there, as an edit of this author is measured by it."""
    me = author.user or "", author.device
    return {
        FIELD_NAMES[key]: Head(
            (write.client, write.clock), clock_of(write, max_lead), (write.actor, write.device) == me
        )
        for key, write in heads.items()
        if key in FIELD_NAMES
    }


def conflicts_of(
    clashes: Iterable[Clash],
    operation: str,
    author: Author,
    heads: Mapping[str, FieldWrite],
    max_lead: timedelta,
) -> list[NewConflict]:
    """What the ledger is told of an operation. `author`: of the operation, with its clock."""
    found = []
    for clash in clashes:
        ours = Side(f"{author.device}:{operation}", clash.ours, author.user or "", author.device, author.at)
        theirs = _theirs(clash, heads, max_lead)
        standing, losing = (ours, theirs) if clash.is_ours else (theirs, ours)
        otherwise: Strategy | None = MERGE_FIELDS if clash.kind == UPDATE_UPDATE else None
        found.append(NewConflict(clash.kind, clash.field or "", standing, losing, otherwise=otherwise))
    return found


def _theirs(clash: Clash, heads: Mapping[str, FieldWrite], max_lead: timedelta) -> Side:
    head = heads.get(FIELD_KEYS[clash.field]) if clash.field and clash.kind == UPDATE_UPDATE else None
    if head is not None:
        return side_of(head, max_lead)
    key = "begun" if clash.kind == CREATE_CREATE else f"seq:{clash.seq}"
    return Side(key, clash.theirs, clash.actor or "", clash.device, clash.at)
