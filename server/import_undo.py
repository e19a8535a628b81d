"""Taking an import back: what a batch created and nobody has touched since is marked as deleted, the rest is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from crdt import jobs_import
from crdt.jobs_import import Uproot
from server.imports import DEVICE, ImportServices
from server.permissions import Identity, may_export
from server.record_errors import Forbidden, Gone, NotThere, RecordError, Unavailable
from server.records import Issue
from storage.import_ledger import CREATED, ImportedItem
from storage.store import Workspace

DELETED: Final = "deleted"
KEPT: Final = "kept"
USERS_DELETED: Final = "users_deleted"
USERS_KEPT: Final = "users_kept"

_PAGE: Final = 200
_AT_ONCE: Final = 64  # as an import writes; `transfers-at-once` bounds how many there are
_MAX_KEPT: Final = 1_000  # named in a report for people; the rest is counted
_PROJECTION_SECONDS: Final = 10.0


@dataclass
class UndoReport:
    """`kept`: issues that stay, and why, the first thousand of them."""

    counts: Counter[str] = field(default_factory=Counter)
    kept: list[tuple[UUID, str]] = field(default_factory=list)

    def keep(self, issue_id: UUID, reason: str) -> None:
        """An issue that stays."""
        self.counts[KEPT] += 1
        if len(self.kept) < _MAX_KEPT:
            self.kept.append((issue_id, reason))


async def undo(services: ImportServices, workspace: Workspace, identity: Identity, batch_id: UUID) -> UndoReport:
    """Take a batch back, as far as that loses nothing anybody wrote since; doing it again goes on. Raises `Forbidden`,
    `NotThere`, `StoreError`, and `Unavailable` when issues cannot be written now."""
    if not may_export(identity):
        raise Forbidden(f"a {identity.role} may not take imports back")
    ledger = services.ledger
    if await ledger.batch(workspace.id, batch_id) is None:
        raise NotThere("no such import")
    report = UndoReport()
    newest = 0
    after: UUID | None = None
    while page := await ledger.items(workspace.id, batch_id, after, _PAGE):
        seqs, failure = await _undo_page(services, workspace, identity, page, report)
        await ledger.mark_undone(workspace.id, batch_id, seqs)
        if failure is not None:
            raise failure
        newest = max(newest, *seqs.values(), 0)
        after = page[-1].issue_id
    # So that users whose issues are deleted now are seen to be named by none; if it does not get there, they stay.
    await services.reader.wait_for(workspace.id, newest, _PROJECTION_SECONDS)
    removed, stay = await ledger.remove_users(workspace.id, batch_id)
    report.counts[USERS_DELETED] += removed
    report.counts[USERS_KEPT] += stay
    await ledger.end_undo(workspace.id, batch_id, services.clock.now())
    return report


async def _undo_page(
    services: ImportServices,
    workspace: Workspace,
    identity: Identity,
    page: Sequence[ImportedItem],
    report: UndoReport,
) -> tuple[dict[UUID, int], BaseException | None]:
    """The seqs at which issues were marked as deleted, and what went wrong first."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(item: ImportedItem) -> int | None:
        async with places:
            return await _undo_one(services, workspace, identity, item, report)

    due = [item for item in page if not item.is_undone]
    ended = await asyncio.gather(*map(one, due), return_exceptions=True)
    seqs = {item.issue_id: seq for item, seq in zip(due, ended, strict=True) if isinstance(seq, int)}
    return seqs, next((each for each in ended if isinstance(each, BaseException)), None)


async def _undo_one(
    services: ImportServices, workspace: Workspace, identity: Identity, item: ImportedItem, report: UndoReport
) -> int | None:
    if item.action != CREATED:
        report.keep(item.issue_id, "the import changed it, and did not create it")
        return None

    def job(issue: Issue) -> Uproot:
        return Uproot(issue.updates, issue.client_id, issue.author, issue.seq == item.seq)

    try:
        made, seq = await services.records.make(workspace, identity, item.issue_id, job, device=DEVICE)
    except Gone:
        return None
    except Unavailable:
        raise
    except RecordError as error:
        report.keep(item.issue_id, str(error))
        return None
    if made.outcome == jobs_import.KEPT:
        report.keep(item.issue_id, "it was touched since")
        return None
    report.counts[DELETED] += made.outcome == jobs_import.CHANGED
    return seq
