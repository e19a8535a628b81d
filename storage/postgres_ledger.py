"""The ledger of conflicts on Postgres: which statements make up each promise of `Ledger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from storage.conflicts import Conflict, ConflictChanges, ConflictQuery, NewConflict, Settlement, Strategy
from storage.database import Database
from storage.tables import conflicts


class PostgresLedger:
    """`Ledger` on a migrated database. `PostgresStore.append` records what deltas bring along."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(
        self, workspace_id: int, issue_id: UUID, seq: int, found: Sequence[NewConflict], at: datetime
    ) -> None:
        arguments = conflicts.note_arguments(workspace_id, issue_id, seq, found, at)
        async with self._database.session("record conflicts", workspace_id) as connection:
            await connection.execute(conflicts.NOTE, *arguments)

    async def one(self, workspace_id: int, conflict_id: UUID) -> Conflict | None:
        async with self._database.session("read a conflict", workspace_id) as connection:
            row = await connection.fetchrow(conflicts.ONE, workspace_id, conflict_id)
        return conflicts.conflict(row) if row else None

    async def page(self, workspace_id: int, query: ConflictQuery) -> list[Conflict]:
        statement, arguments = conflicts.page(workspace_id, query)
        async with self._database.session("list conflicts", workspace_id) as connection:
            return [conflicts.conflict(row) for row in await connection.fetch(statement, *arguments)]

    async def claim(self, workspace_id: int, conflict_id: UUID, now: datetime, until: datetime) -> Conflict | None:
        async with self._database.session("claim a conflict", workspace_id) as connection:
            row = await connection.fetchrow(conflicts.CLAIM, workspace_id, conflict_id, now, until)
        return conflicts.conflict(row) if row else None

    async def release(self, workspace_id: int, conflict_id: UUID) -> None:
        async with self._database.session("release a conflict", workspace_id) as connection:
            await connection.execute(conflicts.RELEASE, workspace_id, conflict_id)

    async def settle(self, workspace_id: int, conflict_id: UUID, settlement: Settlement) -> Conflict | None:
        arguments = conflicts.settle_arguments(workspace_id, conflict_id, settlement)
        async with self._database.session("settle a conflict", workspace_id) as connection:
            row = await connection.fetchrow(conflicts.SETTLE, *arguments)
            # Somebody was first, or there is none: a statement of its own sees what they committed.
            row = row or await connection.fetchrow(conflicts.ONE, workspace_id, conflict_id)
        return conflicts.conflict(row) if row else None

    async def unsettled(self, limit: int, now: datetime) -> list[Conflict]:
        async with self._database.directory("look for workspaces with undecided conflicts") as connection:
            workspace_ids = [row[0] for row in await connection.fetch(conflicts.UNSETTLED_WORKSPACES)]
        found: list[Conflict] = []
        for workspace_id in workspace_ids:
            if len(found) == limit:
                break
            async with self._database.session("look for undecided conflicts", workspace_id) as connection:
                rows = await connection.fetch(conflicts.UNSETTLED, workspace_id, limit - len(found), now)
            found += map(conflicts.conflict, rows)
        return found

    async def newest_change(self, workspace_id: int) -> int:
        async with self._database.session("look for changes of conflicts", workspace_id) as connection:
            newest: int = await connection.fetchval(conflicts.CHANGES, workspace_id) or 0
        return newest

    async def changes(self, workspace_id: int, after: int, limit: int, max_bytes: int) -> ConflictChanges:
        async with self._database.session("read changes of conflicts", workspace_id) as connection:
            rows = await connection.fetch(conflicts.CHANGED, workspace_id, after, limit, max_bytes)
        return conflicts.changed(rows)

    async def policy(self, workspace_id: int) -> dict[str, Strategy]:
        async with self._database.session("read the conflict policy", workspace_id) as connection:
            rows = await connection.fetch(conflicts.POLICY, workspace_id)
        return {row["field"]: row["strategy"] for row in rows}

    async def set_policy(self, workspace_id: int, policy: Mapping[str, Strategy]) -> None:
        arguments = conflicts.set_policy_arguments(workspace_id, policy)
        async with self._database.session("change the conflict policy", workspace_id) as connection:
            await connection.execute(conflicts.SET_POLICY, *arguments)
