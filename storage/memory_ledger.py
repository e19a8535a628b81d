"""The ledger of conflicts in memory, for simulation: the same promises as `postgres_ledger.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING
from uuid import UUID

from storage.conflicts import (
    LAST_WRITE_WINS,
    OPEN,
    RESOLVED,
    SUPERSEDED,
    Conflict,
    ConflictChanges,
    ConflictQuery,
    Forgotten,
    NewConflict,
    Settlement,
    Strategy,
    conflict_id,
    may_settle,
    recorded,
)

if TYPE_CHECKING:
    from storage.memory import Fault


class MemoryLedger:
    """`Ledger` that forgets everything with the process."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._rows: dict[tuple[int, UUID], Conflict] = {}
        self._policies: dict[int, dict[str, Strategy]] = {}
        self._claims: dict[tuple[int, UUID], datetime] = {}
        self._newest: dict[int, int] = {}  # change, by workspace
        self._forgotten: list[tuple[int, Forgotten]] = []

    def record(self, workspace_id: int, issue_id: UUID, seq: int, found: Sequence[NewConflict], at: datetime) -> None:
        """What `note` does, and `MemoryStore.append` with a delta: at once."""
        for new in found:
            if new.supersedes is not None:
                self._supersede(workspace_id, issue_id, new, at)
            row = recorded(workspace_id, issue_id, seq, new, self._policies.get(workspace_id, {}), at)
            if (workspace_id, row.id) not in self._rows:
                self._put(row)

    def forget(self, workspace_id: int, issue_id: UUID) -> None:
        """The issue is purged."""
        count = len(self._rows)
        self._rows = {
            key: row for key, row in self._rows.items() if (row.workspace_id, row.issue_id) != (workspace_id, issue_id)
        }
        if len(self._rows) < count:
            self._forgotten.append((workspace_id, Forgotten(issue_id, self._next_change(workspace_id))))

    def _put(self, row: Conflict) -> Conflict:
        row = replace(row, change=self._next_change(row.workspace_id))
        self._rows[row.workspace_id, row.id] = row
        return row

    def _next_change(self, workspace_id: int) -> int:
        number = self._newest[workspace_id] = self._newest.get(workspace_id, 0) + 1
        return number

    def _supersede(self, workspace_id: int, issue_id: UUID, new: NewConflict, at: datetime) -> None:
        assert new.supersedes is not None
        key = (workspace_id, conflict_id(issue_id, new.kind, new.field, new.supersedes))
        row = self._rows.get(key)
        if row is not None and row.state == OPEN:
            self._put(_settled(row, Settlement(SUPERSEDED, new.losing.actor_id, at)))

    async def note(
        self, workspace_id: int, issue_id: UUID, seq: int, found: Sequence[NewConflict], at: datetime
    ) -> None:
        await self._fault("before", "note")
        self.record(workspace_id, issue_id, seq, found, at)
        await self._fault("after", "note")

    async def one(self, workspace_id: int, conflict_id: UUID) -> Conflict | None:
        await self._fault("before", "one")
        return self._rows.get((workspace_id, conflict_id))

    async def page(self, workspace_id: int, query: ConflictQuery) -> list[Conflict]:
        await self._fault("before", "conflicts")
        rows = (row for (workspace, _), row in self._rows.items() if workspace == workspace_id)
        return sorted((row for row in rows if _fits(row, query)), key=_place)[: query.limit]

    async def claim(self, workspace_id: int, conflict_id: UUID, now: datetime, until: datetime) -> Conflict | None:
        await self._fault("before", "claim")
        key = (workspace_id, conflict_id)
        if key not in self._rows or self._is_claimed(key, now):
            return None
        self._claims[key] = until
        await self._fault("after", "claim")
        return self._rows[key]

    async def release(self, workspace_id: int, conflict_id: UUID) -> None:
        await self._fault("before", "release")
        self._claims.pop((workspace_id, conflict_id), None)

    def _is_claimed(self, key: tuple[int, UUID], now: datetime) -> bool:
        return key in self._claims and self._claims[key] > now

    async def settle(self, workspace_id: int, conflict_id: UUID, settlement: Settlement) -> Conflict | None:
        await self._fault("before", "settle")
        row = self._rows.get((workspace_id, conflict_id))
        if row is not None and may_settle(row, settlement.by):
            row = self._put(_settled(row, settlement))
        self._claims.pop((workspace_id, conflict_id), None)
        await self._fault("after", "settle")
        return row

    async def unsettled(self, limit: int, now: datetime) -> list[Conflict]:
        await self._fault("before", "unsettled")
        rows = [
            row
            for key, row in self._rows.items()
            if row.state == OPEN and row.strategy == LAST_WRITE_WINS and not self._is_claimed(key, now)
        ]
        return sorted(rows, key=lambda row: (row.workspace_id, *_place(row)))[:limit]

    async def newest_change(self, workspace_id: int) -> int:
        await self._fault("before", "newest_change")
        return self._newest.get(workspace_id, 0)

    async def changes(self, workspace_id: int, after: int, limit: int, max_bytes: int) -> ConflictChanges:
        await self._fault("before", "changes")
        rows = [row for (workspace, _), row in self._rows.items() if workspace == workspace_id]
        gone = [forgotten for workspace, forgotten in self._forgotten if workspace == workspace_id]
        found: list[Conflict | Forgotten] = [row for row in rows if row.change > after and (after or row.state == OPEN)]
        found += [forgotten for forgotten in gone if after and forgotten.change > after]
        found.sort(key=lambda each: each.change)
        sizes = accumulate(_size(each) for each in found)
        told = [each for at, (each, size) in enumerate(zip(found, sizes, strict=True)) if not at or size <= max_bytes]
        told = told[:limit]
        newest = self._newest.get(workspace_id, 0)
        return ConflictChanges(told, newest if len(told) == len(found) else told[-1].change, newest)

    async def policy(self, workspace_id: int) -> dict[str, Strategy]:
        await self._fault("before", "policy")
        return dict(self._policies.get(workspace_id, {}))

    async def set_policy(self, workspace_id: int, policy: Mapping[str, Strategy]) -> None:
        await self._fault("before", "set_policy")
        self._policies[workspace_id] = dict(policy)
        await self._fault("after", "set_policy")


def _size(each: Conflict | Forgotten) -> int:
    if isinstance(each, Forgotten):
        return 0
    return sum(len(json.dumps(value)) for value in (each.standing.value, each.losing.value, each.resolved_value))


def _settled(row: Conflict, settlement: Settlement) -> Conflict:
    return replace(
        row,
        state=RESOLVED,
        resolution=settlement.resolution,
        resolved_value=settlement.value,
        resolved_by=settlement.by,
        resolved_at=settlement.at,
    )


def _fits(row: Conflict, query: ConflictQuery) -> bool:
    return (
        (query.state is None or row.state == query.state)
        and (query.issue_id is None or row.issue_id == query.issue_id)
        and (query.kind is None or row.kind == query.kind)
        and (query.after is None or _place(row) > (query.after.seq, query.after.id))
    )


def _place(row: Conflict) -> tuple[int, UUID]:
    return row.seq, row.id
