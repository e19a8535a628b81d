"""Conflicts as clients of `/v1` see them, and what they may say of them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from server.decisions import Decision
from server.doors.rest.models import MAX_PAGE
from server.doors.rest.operations import Nothing, Query
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import UNKNOWN_CONFLICT
from storage import conflicts
from storage.conflicts import DEFAULT_STRATEGIES, ConflictQuery, Kind, Resolution, State, Strategy

PolicyField = Literal[
    "*", "status", "priority", "user_id", "session_id", "claude_task_id", "completed_at", "deleted_at"
]


class OfConflict(InWorkspace):
    """`…/conflicts/{conflict}/…`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"conflict": UNKNOWN_CONFLICT}
    conflict: UUID


class Side(BaseModel):
    """One of two values. `at`: its writer's clock where it gave one, else when it was received."""

    value: Any
    actor_id: str
    device_id: str | None
    at: datetime | None

    @classmethod
    def of(cls, side: conflicts.Side) -> Self:
        """A side of the ledger."""
        return cls(value=side.value, actor_id=side.actor_id, device_id=side.device_id, at=side.at)


class Conflict(BaseModel):
    """Two values of one field, of which one stands. `field` is null where a whole issue is meant; `seq`: of the edit
    that made it."""

    id: UUID
    issue_id: UUID
    seq: int
    kind: Kind
    field: str | None
    standing: Side
    losing: Side
    strategy: Strategy
    state: State
    resolution: Resolution | None
    resolved_value: Any
    resolved_by: str | None
    resolved_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: conflicts.Conflict) -> Self:
        """A row of the ledger."""
        same = ("id", "issue_id", "seq", "kind", "strategy", "state", "resolution", "resolved_value", "resolved_by")
        return cls(
            **{name: getattr(row, name) for name in (*same, "resolved_at", "created_at")},
            field=row.field or None,
            standing=Side.of(row.standing),
            losing=Side.of(row.losing),
        )


class ConflictPage(BaseModel):
    """Some conflicts, oldest first. `cursor`: of the next page, null at the end."""

    conflicts: list[Conflict]
    cursor: str | None


class ConflictParameters(Query):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=100)] | None = None
    state: State | None = None
    kind: Kind | None = None
    issue: UUID | None = None

    def query(self) -> ConflictQuery:
        """One row more than the page, which tells whether another one follows. Raises ValueError."""
        after = None if self.cursor is None else read_cursor(self.cursor)
        return ConflictQuery(self.limit + 1, after, self.state, self.issue, self.kind)


class Resolve(Nothing):
    """What to keep: what stands, what lost, or another `value`. Of an issue that was begun twice the value is an object
    with `title`, `description` and `labels`, or some of them."""

    keep: Literal["standing", "losing", "value"]
    value: Any = None

    def decision(self) -> Decision:
        """What the server is asked."""
        return Decision(self.keep, self.value if self.keep == "value" else None)


class Policy(Nothing):
    """How conflicts over a field are decided; `*` is every field that is not named."""

    fields: dict[PolicyField, Strategy]


class ShownPolicy(Policy):
    """With what holds where it says nothing, by kind of conflict."""

    defaults: dict[Kind, Strategy]

    @classmethod
    def of(cls, policy: Mapping[str, Strategy]) -> Self:
        """A policy of the ledger."""
        return cls.model_validate({"fields": dict(policy), "defaults": dict(DEFAULT_STRATEGIES)})


def written_cursor(row: conflicts.Conflict) -> str:
    """Where a page ended, printable in a URL as it is."""
    return urlsafe_b64encode(row.seq.to_bytes(8, "big") + row.id.bytes).decode()


def read_cursor(cursor: str) -> conflicts.Place:
    """Raises ValueError for what is no cursor."""
    try:
        data = urlsafe_b64decode(cursor)
    except ValueError:
        data = b""
    if len(data) != 24 or data[0] & 0x80:
        raise ValueError("not a cursor")
    return conflicts.Place(int.from_bytes(data[:8], "big"), UUID(bytes=data[8:]))
