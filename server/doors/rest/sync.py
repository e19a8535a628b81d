"""`POST …/sync`: a device that was offline sends what it queued, and hears what became of each operation and what
others have done meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Final

from crdt.native import ROWS
from crdt.native_entries import TOMBSTONE, read_row
from server.doors.rest.changes import reload_address
from server.doors.rest.headers import IDS_INSTEAD
from server.doors.rest.operations import Answer, Call, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import INVALID, FieldError, Problem
from server.doors.rest.sync_models import (
    Malformed,
    SyncChange,
    SyncChanges,
    SyncRequest,
    SyncReset,
    SyncResponse,
    SyncResult,
    id_of,
    wanted,
)
from server.feed_pages import OutOfReach
from server.outbox import Outbox
from server.outbox_batch import Result, Wanted
from server.permissions import may_comment

SYNC: Final = Operation(
    method="POST",
    path="/v1/workspaces/{workspace}/sync",
    id="sync",
    tag="sync",
    summary="Send what a device queued",
    description="An operation is made once, however often it is sent. docs/outbox.md says what becomes of each.",
    place=InWorkspace,
    query=Query,
    body=SyncRequest,
    needs=may_comment,
    syncs=True,
    answers={HTTPStatus.OK: Answer("A result for each operation.", SyncResponse)},
    headers=(IDS_INSTEAD,),
)


class Sync:
    """What answers it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def operations(self) -> list[Served]:
        """What is served here."""
        limits = self._outbox.limits
        stated = f"At most {limits.operations} operations. {SYNC.description}"
        return [replace(SYNC, description=stated, max_body_bytes=limits.bytes).by(self.sync)]

    async def sync(self, call: Call[InWorkspace, Query, SyncRequest]) -> Reply:
        """Those of an issue are made in their order."""
        device, most = call.body.device_id, self._outbox.limits.operations
        if len(call.body.operations) > most:
            raise Problem(INVALID, errors=[FieldError("operations", f"are more than {most}")])
        ids = [id_of(sent) for sent in call.body.operations]
        told: list[Result | None] = []
        batch: dict[str, Wanted] = {}
        for sent in call.body.operations:
            try:
                one = wanted(sent, device)
            except Malformed as wrong:
                told.append(Result("rejected", error=str(wrong), field=wrong.field))
            else:
                told.append(None)
                batch.setdefault(one.queued.id, one)
        results: dict[str, Result] = {}
        if batch:
            results = await self._outbox.take(call.workspace, call.identity, device, list(batch.values()), call.grant)
        forbidden = next((each.error for each in results.values() if each.is_forbidden), None)
        answers = []
        for operation, rejected in zip(ids, told, strict=True):
            answers.append(SyncResult.of(operation, rejected or results[str(operation)]))
            if rejected is None:  # sent twice in one request
                results[str(operation)] = results[str(operation)].repeated()
        return Reply(SyncResponse(results=answers, changes=await self._changes(call)), forbidden=forbidden)

    async def _changes(self, call: Call[InWorkspace, Query, SyncRequest]) -> SyncChanges | None:
        """A page of rows, what was just written among them as far as it is projected."""
        cursor, workspace = call.body.cursor, call.workspace
        if cursor is None:
            return None
        reader = self._outbox.changes(workspace)
        try:
            page = await reader.page(call.body.epoch or workspace.epoch, cursor, None, None)
        except OutOfReach as out:
            now = await reader.look()
            reload = reload_address(now, workspace.slug, ROWS, out.reason, cursor)
            return SyncChanges(epoch=now.epoch, cursor=now.head, reset=SyncReset(reason=out.reason, reload=reload))
        changes = [
            SyncChange(
                issue=entry.issue,
                seq=entry.seq,
                is_purged=entry.kind == TOMBSTONE,
                row=None if entry.kind == TOMBSTONE else read_row(entry.payload),
            )
            for entry in page.entries
        ]
        has_more = page.to_seq < page.head
        return SyncChanges(epoch=workspace.epoch, cursor=page.to_seq, has_more=has_more, changes=changes)
