"""The account of what concerns security in each workspace: rows are added, read, and forgotten when they are old."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from storage.database import Database
from storage.tables import audit_log


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Something was done, or refused; `count` times since `at`. `user_id` None: nobody knows who. `detail`: names and
    reasons, never content. `id` 0: not written yet."""

    at: datetime
    action: str
    is_refused: bool
    via: str
    user_id: str | None = None
    acting_for: str | None = None
    device_id: str | None = None
    address: str | None = None
    count: int = 1
    detail: dict[str, str] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows; None asks for all. `before`: an id, for the next page."""

    before: int | None = None
    user_id: str | None = None
    action: str | None = None
    is_refused: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditLog:
    """Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, workspace_id: int, rows: Sequence[AuditRow]) -> None:
        """Add them, in one statement."""
        columns = [
            [getattr(row, name) for row in rows]
            for name in ("at", "action", "is_refused", "via", "user_id", "acting_for", "device_id", "address", "count")
        ]
        details = [json.dumps(row.detail, ensure_ascii=False) for row in rows]
        async with self._database.session("write the audit log", workspace_id) as connection:
            await connection.execute(audit_log.WRITE, workspace_id, *columns, details)

    async def page(self, workspace_id: int, wanted: AuditFilter, limit: int) -> list[AuditRow]:
        """Newest first."""
        filters = (wanted.before, wanted.user_id, wanted.action, wanted.is_refused, wanted.since, wanted.until)
        async with self._database.session("read the audit log", workspace_id) as connection:
            rows = await connection.fetch(audit_log.PAGE, workspace_id, *filters, limit)
        return [AuditRow(**{**row, "detail": json.loads(row["detail"])}) for row in rows]

    async def forget(self, workspace_id: int, before: datetime, most: int) -> bool:
        """Delete rows that are older, at most so many. Whether there may be more."""
        async with self._database.session("forget old rows of the audit log", workspace_id) as connection:
            status = await connection.execute(audit_log.FORGET, workspace_id, before, most)
        return status == f"DELETE {most}"
