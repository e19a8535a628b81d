"""What the parts of the client hand to one another: what came from the server, what the store made of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from syncline.conflict import Conflict
from syncline.issue import Issue


@dataclass(frozen=True, slots=True)
class Content:
    """Committed content of one issue. `seq`: its newest delta in here, 0 when not told."""

    issue_id: UUID
    seq: int
    update: bytes


@dataclass(frozen=True, slots=True)
class PageCame:
    """The log in (from_seq, to_seq], merged per issue."""

    from_seq: int
    to_seq: int
    entries: tuple[Content, ...]


@dataclass(frozen=True, slots=True)
class ResetCame:
    """The log alone does not bring us up to date: a reload of what changed after `since` begins, towards `base`.

    `is_new_history`: what we hold as committed may not be, because the server's history was replaced.
    """

    epoch: UUID
    base: int
    since: int
    is_new_history: bool


@dataclass(frozen=True, slots=True)
class ReloadCame:
    """Whole issues with ids in (…, until]. `until` None: the reload is complete."""

    base: int
    until: UUID | None
    entries: tuple[Content, ...]


@dataclass(frozen=True, slots=True)
class ContentCame:
    """Committed content ahead of the feed; the cursor does not move."""

    entries: tuple[Content, ...]


@dataclass(frozen=True, slots=True)
class Acked:
    """An outbox entry is committed at `seq` or below."""

    entry_id: int
    seq: int


@dataclass(frozen=True, slots=True)
class Nacked:
    """An outbox entry is refused for good."""

    entry_id: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class MissingCame:
    """The server has no more of an issue than `state_vector`, and something we sent rests on more."""

    issue_id: UUID
    state_vector: bytes


@dataclass(frozen=True, slots=True)
class PurgedCame:
    """An issue was deleted for good."""

    issue_id: UUID


@dataclass(frozen=True, slots=True)
class ConflictsCame:
    """Conflicts by their newest change, in (from_change, to_change]; of an issue that was deleted for good its id
    alone. From 0: they take the place of what was there."""

    epoch: UUID
    from_change: int
    to_change: int
    changed: tuple[Conflict | UUID, ...]


_FeedEvent: TypeAlias = PurgedCame | PageCame | ResetCame | ReloadCame | ConflictsCame
Event: TypeAlias = _FeedEvent | ContentCame | Acked | Nacked | MissingCame


@dataclass(frozen=True, slots=True)
class ConflictCursor:
    """How far the store follows conflicts. `epoch` None: not at all yet."""

    epoch: UUID | None
    change: int


@dataclass(frozen=True, slots=True)
class ReloadProgress:
    """An unfinished reload: every issue changed after `since` through the id `after` is here; its end is `base`."""

    base: int
    since: int
    after: UUID | None
    is_new_history: bool


@dataclass(frozen=True, slots=True)
class Feed:
    """How far the store follows the workspace. `epoch` None: it has never been connected · `synced_at`: when the cursor
    was last moved."""

    epoch: UUID | None
    cursor: int
    reload: ReloadProgress | None
    synced_at: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One edit in the outbox. The bytes never change, however often they are sent."""

    id: int
    issue_id: UUID
    update: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch of events did, after COMMIT. `content`: to be merged into open documents, in order · `rebuilt`:
    issues that lost a refused edit and must be loaded anew · `pending`: entries left in the outbox."""

    content: tuple[Content, ...]
    rebuilt: frozenset[UUID]
    settled: tuple[Acked | Nacked, ...]
    pending: int


@dataclass(frozen=True, slots=True)
class Written:
    """A write to the local store, after COMMIT. `entry_id`: what it is committed with, None when it is."""

    entry_id: int | None
    issue: Issue
    pending: int


@dataclass(frozen=True, slots=True)
class Change:
    """An issue changed in the log. `seq` is the cursor to go on from; several deltas may be one change."""

    seq: int
    issue: Issue
