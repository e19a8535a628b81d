"""`…/audit`: who did what that concerns security, and who was refused, for admins."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Final

from pydantic import AwareDatetime, BaseModel, Field

from server.doors.rest.members import Name
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.permissions import may_administer
from storage.audit_log import AuditFilter, AuditLog

_MAX_PAGE: Final = 1_000  # `max-page` may say less
_MAX_ID: Final = 2**63 - 1


class AuditQuery(Query):
    """A page, newest first; `before` is `next` of the page before. The rest says which rows."""

    before: int | None = Field(None, ge=1, le=_MAX_ID)
    user: Name | None = None
    action: Name | None = None
    refused: bool | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(100, ge=1, le=_MAX_PAGE)


class AuditEntry(BaseModel):
    """Something that was done, or refused. `count`: how often within a moment of `at` · `via`: http, command, server,
    token, or the dialect of a socket · `user_id` is null where nobody knows who it was."""

    id: int
    at: datetime
    action: str
    is_refused: bool
    via: str
    user_id: str | None
    acting_for: str | None
    device_id: str | None
    address: str | None
    count: int
    detail: dict[str, str]


class AuditEntries(BaseModel):
    """`next`: `before` of the next page, null at the end."""

    entries: list[AuditEntry]
    next: int | None


READ: Final = Operation(
    method="GET",
    path="/v1/workspaces/{workspace}/audit",
    id="readAudit",
    tag="audit",
    summary="Who did what, and who was refused",
    description="Sign-ins, connections, refusals, roles, tokens, devices, exports, imports, deletions. docs/audit.md "
    "tells the actions. A second old.",
    place=InWorkspace,
    query=AuditQuery,
    body=Nothing,
    needs=may_administer,
    answers={HTTPStatus.OK: Answer("A page of them.", AuditEntries)},
)


class AuditOperations:
    """What answers it."""

    def __init__(self, rows: AuditLog) -> None:
        self._rows = rows

    def operations(self) -> list[Served]:
        """What is served here."""
        return [READ.by(self.read)]

    async def read(self, call: Call[InWorkspace, AuditQuery, Nothing]) -> Reply:
        """A page."""
        asked = call.query
        wanted = AuditFilter(asked.before, asked.user, asked.action, asked.refused, asked.since, asked.until)
        rows = await self._rows.page(call.workspace.id, wanted, asked.limit + 1)
        page = rows[: asked.limit]
        following = page[-1].id if len(rows) > len(page) else None
        entries = [AuditEntry.model_validate(row, from_attributes=True) for row in page]
        return Reply(AuditEntries(entries=entries, next=following))
