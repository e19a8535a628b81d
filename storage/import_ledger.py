"""The account of imports: which batch brought in what, and how the issues stood when it had."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from asyncpg import Record

from storage.database import Database
from storage.export import User
from storage.people import changing
from storage.tables import imports

CREATED: Final = "created"
CHANGED: Final = "changed"


@dataclass(frozen=True, slots=True)
class ImportBatch:
    """One import. `name`: of the file · `source`: its format · `counts`: what became of its items."""

    id: UUID
    name: str
    source: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    undone_at: datetime | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ImportedItem:
    """What a batch did to an issue. `seq`: the issue's newest delta then · `digest`: of what the source said."""

    issue_id: UUID
    seq: int
    digest: bytes
    action: str
    is_undone: bool = False


class ImportLedger:
    """Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, workspace_id: int, name: str, source: str, by: str, at: datetime) -> UUID:
        """A new batch, or the one of the same file, format and person that was not finished."""
        async with self._database.session("begin an import", workspace_id) as connection:
            found: UUID | None = await connection.fetchval(imports.UNFINISHED, workspace_id, name, source, by)
            if found is not None:
                return found
            batch_id = uuid4()
            await connection.execute(imports.BEGIN, workspace_id, batch_id, name, source, by, at)
        return batch_id

    async def finish(self, workspace_id: int, batch_id: UUID, counts: Mapping[str, int], at: datetime) -> None:
        """The whole file is in."""
        async with self._database.session("finish an import", workspace_id) as connection:
            await connection.execute(imports.FINISH, workspace_id, batch_id, json.dumps(dict(counts)), at)

    async def batch(self, workspace_id: int, batch_id: UUID) -> ImportBatch | None:
        """One of them, None when there is none."""
        async with self._database.session("look up an import", workspace_id) as connection:
            row = await connection.fetchrow(imports.ONE, workspace_id, batch_id)
        return None if row is None else _batch(row)

    async def batches(self, workspace_id: int, limit: int = 100) -> list[ImportBatch]:
        """The newest ones, newest first."""
        async with self._database.session("list imports", workspace_id) as connection:
            return [_batch(row) for row in await connection.fetch(imports.ALL, workspace_id, limit)]

    async def known(self, workspace_id: int, issue_ids: Sequence[UUID]) -> dict[UUID, ImportedItem]:
        """The last that imports did to these issues."""
        async with self._database.session("look up imported issues", workspace_id) as connection:
            rows = await connection.fetch(imports.KNOWN, workspace_id, issue_ids)
        return {row["issue_id"]: ImportedItem(*row) for row in rows}

    async def record(self, workspace_id: int, batch_id: UUID, items: Sequence[ImportedItem]) -> None:
        """Note what a batch did. What it created it created, whatever it did to that later."""
        columns = [[getattr(item, name) for item in items] for name in ("issue_id", "seq", "digest", "action")]
        async with self._database.session("record imported issues", workspace_id) as connection:
            await connection.execute(imports.RECORD, workspace_id, batch_id, *columns)

    async def items(self, workspace_id: int, batch_id: UUID, after: UUID | None, limit: int) -> list[ImportedItem]:
        """What a batch did, by issue id, those after `after`."""
        async with self._database.session("list imported issues", workspace_id) as connection:
            rows = await connection.fetch(imports.ITEMS, workspace_id, batch_id, after, limit)
        return [ImportedItem(*row) for row in rows]

    async def mark_undone(self, workspace_id: int, batch_id: UUID, seqs: Mapping[UUID, int]) -> None:
        """These issues of a batch were taken back, by the deltas `seqs`."""
        async with self._database.session("record what is undone", workspace_id) as connection:
            await connection.execute(imports.MARK_UNDONE, workspace_id, batch_id, list(seqs), list(seqs.values()))

    async def end_undo(self, workspace_id: int, batch_id: UUID, at: datetime) -> None:
        """The batch as a whole is taken back, as far as it could be."""
        async with self._database.session("record an undo", workspace_id) as connection:
            await connection.execute(imports.END_UNDO, workspace_id, batch_id, at)

    async def add_users(self, workspace_id: int, batch_id: UUID, users: Sequence[User], role: str | None = None) -> int:
        """Those who are not there yet; returns how many. `role`: what they become who have none, None: nothing."""
        columns = [[getattr(user, name) for user in users] for name in User.__slots__]
        async with changing(self._database, "import users", workspace_id) as (connection, told):
            added = [row["id"] for row in await connection.fetch(imports.ADD_USERS, workspace_id, batch_id, *columns)]
            if role is not None and added:
                given = await connection.fetch(imports.GIVE_ROLE, workspace_id, added, role)
                told += [row["user_id"] for row in given]
        return len(added)

    async def unknown_users(self, workspace_id: int, user_ids: Sequence[str]) -> int:
        """How many of these are not there."""
        async with self._database.session("look up users", workspace_id) as connection:
            unknown: int = await connection.fetchval(imports.UNKNOWN_USERS, workspace_id, user_ids)
        return unknown

    async def remove_users(self, workspace_id: int, batch_id: UUID) -> tuple[int, int]:
        """Take out the users a batch added whom no issue or comment names, but for deleted ones, with the role it gave
        them; how many went, how many stay."""
        async with changing(self._database, "remove imported users", workspace_id) as (connection, told):
            told += [row["id"] for row in await connection.fetch(imports.REMOVE_USERS, workspace_id, batch_id)]
            removed = len(told)
            stay: int = await connection.fetchval(imports.USERS_LEFT, workspace_id, batch_id)
        return removed, stay


def _batch(row: Record) -> ImportBatch:
    values = dict(row)
    return ImportBatch(**values | {"counts": json.loads(values["counts"])})
