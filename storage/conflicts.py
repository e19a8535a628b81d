"""The ledger of conflicts: what was found, what stands in it, and the methods that both twins of the store implement.

A conflict is a value that somebody wrote and that does not stand, because somebody else wrote another one without
knowing of it. docs/conflicts.md has the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

Kind: TypeAlias = Literal["update_update", "update_delete", "create_create"]
UPDATE_UPDATE: Final = "update_update"  # one field, two values
UPDATE_DELETE: Final = "update_delete"  # edited here, deleted there
CREATE_CREATE: Final = "create_create"  # one id begun twice

Strategy: TypeAlias = Literal["last_write_wins", "merge_fields", "user_decision"]
LAST_WRITE_WINS: Final = "last_write_wins"  # the newer one by the writers' clocks
MERGE_FIELDS: Final = "merge_fields"  # what merging chose; the other one is kept here
USER_DECISION: Final = "user_decision"  # open until somebody decides
STRATEGIES: Final[tuple[Strategy, ...]] = (LAST_WRITE_WINS, MERGE_FIELDS, USER_DECISION)

State: TypeAlias = Literal["open", "resolved"]
OPEN: Final = "open"
RESOLVED: Final = "resolved"

Resolution: TypeAlias = Literal["standing", "losing", "value", "superseded"]
STANDING: Final = "standing"
LOSING: Final = "losing"
VALUE: Final = "value"
SUPERSEDED: Final = "superseded"  # who wrote the losing value has changed it since

SYSTEM: Final = "system"  # the actor of what the server decides by a strategy
EVERY_FIELD: Final = "*"  # in a policy: every field that has no strategy of its own

# What a workspace that says nothing gets.
DEFAULT_STRATEGIES: Final[Mapping[Kind, Strategy]] = {
    UPDATE_UPDATE: LAST_WRITE_WINS,
    UPDATE_DELETE: USER_DECISION,
    CREATE_CREATE: USER_DECISION,
}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `key`: which write it is, within its issue ("client:clock" of its struct, or what its writer
    calls it) · `value`: as JSON has it · `at`: its writer's clock where it gave one, else when it was received."""

    key: str
    value: object
    actor_id: str
    device_id: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewConflict:
    """A conflict on its way into the ledger. `field` is empty where a whole issue is meant.

    `supersedes`: key of an earlier loser that the loser's own author has replaced by this · `otherwise`: the strategy
    where the workspace has none for this field; None: the default of its kind.
    """

    kind: Kind
    field: str
    standing: Side
    losing: Side
    supersedes: str | None = None
    otherwise: Strategy | None = None

    @property
    def default_strategy(self) -> Strategy:
        """The strategy where the workspace has none for it."""
        return self.otherwise or DEFAULT_STRATEGIES[self.kind]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A row of the ledger. `seq`: of the delta it was found with. `resolution` and what follows: None while open.

    `resolved_value`: what the field was set to, where the resolution is `VALUE` · `change`: the number of its newest
    change, see `ConflictChanges`.
    """

    workspace_id: int
    id: UUID
    issue_id: UUID
    seq: int
    kind: Kind
    field: str
    standing: Side
    losing: Side
    strategy: Strategy
    state: State
    resolution: Resolution | None
    resolved_value: object
    resolved_by: str | None
    resolved_at: datetime | None
    created_at: datetime
    change: int = 0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An issue was purged, its conflicts with it; that was change number `change`."""

    issue_id: UUID
    change: int


@dataclass(frozen=True, slots=True)
class ConflictChanges:
    """Conflicts as they are now that changed after a number, by the numbers of their newest changes.

    Numbers grow within a workspace in the order of commits, some are skipped · `through`: all changes up to there are
    in here, and none above it · `newest`: the newest number there is.
    """

    changed: Sequence[Conflict | Forgotten]
    through: int
    newest: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a conflict ended, by whom and when."""

    resolution: Resolution
    by: str
    at: datetime
    value: object = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in the order of the ledger: by seq, then by id."""

    seq: int
    id: UUID


@dataclass(frozen=True, slots=True)
class ConflictQuery:
    """What to list, oldest first. A filter that is None does not filter."""

    limit: int = 50
    after: Place | None = None
    state: State | None = None
    issue_id: UUID | None = None
    kind: Kind | None = None


class Ledger(Protocol):
    """The durable side of conflicts, beside the log. Every method raises `StoreUnavailable` when it cannot answer."""

    async def note(
        self, workspace_id: int, issue_id: UUID, seq: int, found: Sequence[NewConflict], at: datetime
    ) -> None:
        """Record what was found in deltas that are committed already. What is there stays as it is."""

    async def one(self, workspace_id: int, conflict_id: UUID) -> Conflict | None:
        """One row, None when there is none."""

    async def page(self, workspace_id: int, query: ConflictQuery) -> list[Conflict]:
        """Up to `query.limit` rows by seq and id."""

    async def claim(self, workspace_id: int, conflict_id: UUID, now: datetime, until: datetime) -> Conflict | None:
        """Be the one who decides it, until it is settled or `until` has passed, so that of two who decide at once one
        comes first. None: somebody else has the claim, or there is no such conflict."""

    async def release(self, workspace_id: int, conflict_id: UUID) -> None:
        """Give a claim back without a decision."""

    async def settle(self, workspace_id: int, conflict_id: UUID, settlement: Settlement) -> Conflict | None:
        """Note how a conflict ended, and return its row; a claim on it ends too. A person's word counts above the
        system's; of two people, or two nodes, the first counts and the row says which. None: no such conflict."""

    async def unsettled(self, limit: int, now: datetime) -> list[Conflict]:
        """Open rows of all workspaces that `LAST_WRITE_WINS` decides and whose losing value is the newer one; not those
        that somebody has a claim on."""

    async def newest_change(self, workspace_id: int) -> int:
        """The number of the newest change, 0 when there was none."""

    async def changes(self, workspace_id: int, after: int, limit: int, max_bytes: int) -> ConflictChanges:
        """What changed after a number: `limit` at most and, after the first, `max_bytes` of values. After 0, where
        everybody begins, those that are open alone."""

    async def policy(self, workspace_id: int) -> dict[str, Strategy]:
        """Field → strategy, as far as the workspace says any."""

    async def set_policy(self, workspace_id: int, policy: Mapping[str, Strategy]) -> None:
        """Replace it. What is recorded already keeps its strategy."""


def conflict_id(issue_id: UUID, kind: Kind, field: str, losing_key: str) -> UUID:
    """The same for the same loser, whoever finds it and however often."""
    digest = hashlib.sha256(issue_id.bytes)
    for part in (kind, field, losing_key):
        digest.update(len(part.encode()).to_bytes(4, "big") + part.encode())
    return UUID(bytes=digest.digest()[:16], version=5)


def recorded(
    workspace_id: int, issue_id: UUID, seq: int, found: NewConflict, policy: Mapping[str, Strategy], at: datetime
) -> Conflict:
    """The row that a conflict becomes under a policy."""
    chosen = policy.get(found.field)
    if chosen is None and found.kind == UPDATE_UPDATE:
        chosen = policy.get(EVERY_FIELD)
    strategy = chosen or found.default_strategy
    is_decided = strategy == MERGE_FIELDS or (
        strategy == LAST_WRITE_WINS and not is_newer(found.losing, found.standing)
    )
    return Conflict(
        workspace_id,
        conflict_id(issue_id, found.kind, found.field, found.losing.key),
        issue_id,
        seq,
        found.kind,
        found.field,
        found.standing,
        found.losing,
        strategy,
        state=RESOLVED if is_decided else OPEN,
        resolution=STANDING if is_decided else None,
        resolved_value=None,
        resolved_by=SYSTEM if is_decided else None,
        resolved_at=at if is_decided else None,
        created_at=at,
    )


def is_newer(one: Side, other: Side) -> bool:
    """By their clocks; a side without one is never newer, and never older."""
    return one.at is not None and other.at is not None and one.at > other.at


def may_settle(row: Conflict, by: str) -> bool:
    """Whether a row takes a settlement by this actor: open ones do, and what the system decided a person may change."""
    return row.state == OPEN or (row.resolved_by == SYSTEM and by != SYSTEM)
