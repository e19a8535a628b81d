"""`POST …/sync`: a device that was offline sends what it queued, and hears what became of each operation."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from server.doors.rest.operations import Answer, Call, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.sync_models import Malformed, SyncRequest, SyncResponse, SyncResult, id_of, wanted
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
    answers={HTTPStatus.OK: Answer("A result for each operation.", SyncResponse)},
)


class Sync:
    """What answers it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def operations(self) -> list[Served]:
        """What is served here."""
        return [SYNC.by(self.sync)]

    async def sync(self, call: Call[InWorkspace, Query, SyncRequest]) -> Reply:
        """Those of an issue are made in their order."""
        device = call.body.device_id
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
        results = await self._outbox.take(call.workspace, call.identity, device, list(batch.values())) if batch else {}
        answers = []
        for operation, rejected in zip(ids, told, strict=True):
            answers.append(SyncResult.of(operation, rejected or results[str(operation)]))
            if rejected is None:  # sent twice in one request
                results[str(operation)] = results[str(operation)].repeated()
        return Reply(SyncResponse(results=answers))
