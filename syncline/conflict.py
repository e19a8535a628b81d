"""A conflict, as the server tells it: two values of one field, of which one stands and the other is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two values. `at`: its writer's clock where it gave one, else when it was received."""

    value: Any
    actor_id: str
    device_id: str | None
    at: datetime | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Side:
        """From JSON."""
        return cls(told["value"], told["actor_id"], told["device_id"], _moment(told["at"]))


@dataclass(frozen=True, slots=True)
class Conflict:
    """What merging lost of what somebody wrote. docs/conflicts.md has the rules, and the words.

    `kind`: update_update, update_delete or create_create · `field`: None where a whole issue is meant · `seq`: of the
    edit that made it · `state`: open or resolved; `resolution` and what follows are None while it is open · `change`:
    the number of its newest change.
    """

    id: UUID
    issue_id: UUID
    seq: int
    kind: str
    field: str | None
    standing: Side
    losing: Side
    strategy: str
    state: str
    resolution: str | None
    resolved_value: Any
    resolved_by: str | None
    resolved_at: datetime | None
    created_at: datetime | None
    change: int
    told: str

    @property
    def is_open(self) -> bool:
        """Whether somebody has to decide it."""
        return self.state == "open"

    def to_json(self) -> dict[str, Any]:
        """As `GET …/conflicts` shows it."""
        told: dict[str, Any] = json.loads(self.told)
        return told

    @classmethod
    def of(cls, told: Mapping[str, Any], change: int) -> Conflict:
        """From JSON. Raises KeyError and ValueError for what is none."""
        same = ("seq", "kind", "field", "strategy", "state", "resolution", "resolved_value", "resolved_by")
        return cls(
            id=UUID(told["id"]),
            issue_id=UUID(told["issue_id"]),
            standing=Side.of(told["standing"]),
            losing=Side.of(told["losing"]),
            resolved_at=_moment(told["resolved_at"]),
            created_at=_moment(told["created_at"]),
            change=change,
            told=json.dumps(told),
            **{name: told[name] for name in same},
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
