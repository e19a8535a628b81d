"""Imports: items of a file become ordinary edits, each through its issue's room, in groups that are accounted for.

Repeating one changes nothing, and one that was cut off goes on: what is in the account is passed over unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from crdt import jobs_import
from crdt.issue import IssueContent
from crdt.jobs_import import Planted, PlantIssue
from crdt.planting import check_content, digest_of, says_the_same, texts_of
from server.clock import Clock
from server.import_report import CHANGED, CREATED, KEPT, UNCHANGED, USERS_CREATED, USERS_KEPT, ImportReport
from server.permissions import Identity, Role, may_export, may_grant
from server.portability.imported import ImportedIssue, ImportedUser, Item, Skipped
from server.portability.occurrences import Occurrences
from server.portability.vocabulary import Vocabulary
from server.record_errors import Forbidden, Gone, RecordError, Unavailable
from server.records import Issue, Records
from storage.backoff import Backoff
from storage.export import User
from storage.import_ledger import ImportedItem, ImportLedger
from storage.issue_reader import IssueReader
from storage.store import Store, Workspace

DEVICE: Final = "import"
_ATTEMPTS: Final = 5
_EDITED: Final = "it was edited here since it was imported, and differs from the file"
_OTHERS: Final = "it is here, was not imported, and differs from the file"
_NOT_PLAIN: Final = "an embedded object stands where text should be written"


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """Items in a group, their characters (one alone may have more), and how many are in rooms at a time."""

    group_items: int = 200
    group_chars: int = 8 * 1024 * 1024
    at_once: int = 64


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What to do with a file. `name` and `source`: of the file and its format · `is_dry`: only say what would be done ·
    `overwrites`: also issues that were edited here · `role`: of users it adds, None: they have none."""

    name: str
    source: str
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    is_dry: bool = False
    overwrites: bool = False
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class ImportServices:
    """What imports stand on."""

    records: Records
    ledger: ImportLedger
    reader: IssueReader
    store: Store
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Brought:
    """An issue of a file that can be written."""

    place: str
    issue_id: UUID
    content: IssueContent
    digest: bytes


class Importer:
    """Brings files in and takes them out again, for those who may."""

    def __init__(self, services: ImportServices, limits: ImportLimits | None = None) -> None:
        self._services = services
        self._ledger = services.ledger
        self._limits = limits or ImportLimits()

    async def bring(
        self,
        workspace: Workspace,
        identity: Identity,
        items: Iterator[Item],
        plan: ImportPlan,
        on_progress: Callable[[int], None] = lambda count: None,
    ) -> ImportReport:
        """Bring a file in. Reading is done in a thread; `on_progress` hears of every group how many items it had.

        Raises `Forbidden`, `NotReadable`, `StoreError`, and `Unavailable` when issues could not be written again and
        again: what is in stays in, and the same import goes on from there.
        """
        if not may_export(identity):
            raise Forbidden(f"a {identity.role} may not import")
        if plan.role is not None and not may_grant(identity, plan.role):
            raise Forbidden("only an owner says who is an owner")
        now = self._services.clock.now()
        report = ImportReport(plan.vocabulary)
        if not plan.is_dry:
            report.batch_id = await self._ledger.begin(workspace.id, plan.name, plan.source, identity.user_id, now)
        with Occurrences() as seen:
            run = _Run(self._services, self._limits, workspace, identity, plan, report, seen)
            while group := await asyncio.to_thread(_next_group, items, self._limits):
                await run.take(group)
                on_progress(len(group))
        if report.batch_id is not None:
            await self._ledger.finish(workspace.id, report.batch_id, report.counts, self._services.clock.now())
        return report


class _Run:
    """One import under way."""

    def __init__(
        self,
        services: ImportServices,
        limits: ImportLimits,
        workspace: Workspace,
        identity: Identity,
        plan: ImportPlan,
        report: ImportReport,
        seen: Occurrences,
    ) -> None:
        self._records = services.records
        self._ledger = services.ledger
        self._store = services.store
        self._places = asyncio.Semaphore(limits.at_once)
        self._workspace = workspace
        self._identity = identity
        self._plan = plan
        self._report = report
        self._seen = seen

    async def take(self, group: Sequence[Item]) -> None:
        """Write a group and account for it."""
        brought = await asyncio.to_thread(self._checked, group)
        known = await self._ledger.known(self._workspace.id, [each.issue_id for each in brought])
        if self._plan.is_dry:
            await self._foresee(brought, known)
        else:
            await self._write(brought, known)
        await self._take_users([item.user for item in group if isinstance(item, ImportedUser)])

    def _checked(self, group: Sequence[Item]) -> list[_Brought]:
        brought = []
        for item in group:
            if isinstance(item, Skipped):
                self._report.skip(item.place, item.reason)
            elif isinstance(item, ImportedIssue) and (each := self._check(item)) is not None:
                brought.append(each)
        return brought

    def _check(self, item: ImportedIssue) -> _Brought | None:
        if item.issue_id.bytes in self._seen:
            self._report.skip(item.place, "the same issue stands in the file before", item.issue_id)
            return None
        content = self._plan.vocabulary.translated(item.content)
        try:
            check_content(content)
        except ValueError as error:  # a surrogate alone is one too
            reason = "it holds half of a surrogate pair" if isinstance(error, UnicodeError) else str(error)
            self._report.skip(item.place, reason, item.issue_id)
            return None
        self._seen.add(item.issue_id.bytes)
        return _Brought(item.place, item.issue_id, content, digest_of(content))

    async def _take_users(self, users: Sequence[User]) -> None:
        if not users:
            return
        if self._report.batch_id is None:
            created = await self._ledger.unknown_users(self._workspace.id, [user.id for user in users])
        else:
            created = await self._ledger.add_users(self._workspace.id, self._report.batch_id, users, self._plan.role)
        self._report.count(USERS_CREATED, created)
        self._report.count(USERS_KEPT, len(users) - created)

    # What would be done, as the projection sees it.

    async def _foresee(self, brought: Sequence[_Brought], known: Mapping[UUID, ImportedItem]) -> None:
        rows = await self._store.projected(self._workspace.id, [each.issue_id for each in brought])
        for each in brought:
            row, before = rows.get(each.issue_id), known.get(each.issue_id)
            if row is None:
                self._report.count(CREATED if before is None else UNCHANGED)
            elif says_the_same(row.content, each.content) or _is_in(each, before):
                self._report.count(UNCHANGED)
            elif self._plan.overwrites or (before is not None and before.seq >= row.seq):
                self._report.count(CHANGED)
            else:
                self._keep(each, before)

    # Writing.

    async def _write(self, brought: Sequence[_Brought], known: Mapping[UUID, ImportedItem]) -> None:
        assert self._report.batch_id is not None
        writing = (self._write_one(each, known.get(each.issue_id)) for each in brought)
        ended = await asyncio.gather(*writing, return_exceptions=True)
        done = [item for item in ended if isinstance(item, ImportedItem)]
        if done:
            await self._ledger.record(self._workspace.id, self._report.batch_id, done)
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure

    async def _write_one(self, each: _Brought, before: ImportedItem | None) -> ImportedItem | None:
        """What to account for; None when nothing was done, or it is in the account already."""
        if _is_in(each, before):
            self._report.count(UNCHANGED)
            return None
        async with self._places:
            try:
                made, seq = await self._plant(each, before)
            except Gone:
                self._report.skip(each.place, "it was deleted for good here", each.issue_id)
                return None
            except Unavailable:
                raise
            except RecordError as error:
                self._report.skip(each.place, str(error), each.issue_id)
                return None
        return self._outcome(each, before, made, seq)

    async def _plant(self, each: _Brought, before: ImportedItem | None) -> tuple[Planted, int]:
        def job(issue: Issue) -> PlantIssue:
            may_change = self._plan.overwrites or (before is not None and before.seq == issue.seq)
            return PlantIssue(
                str(each.issue_id), issue.updates, issue.client_id, issue.author, each.content, may_change
            )

        backoff = Backoff()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._records.make(self._workspace, self._identity, each.issue_id, job, device=DEVICE)
            except Unavailable:
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(backoff.next_seconds())
        raise AssertionError("unreachable")

    def _outcome(self, each: _Brought, before: ImportedItem | None, made: Planted, seq: int) -> ImportedItem | None:
        match made.outcome:
            case jobs_import.CREATED | jobs_import.CHANGED:
                self._report.count(made.outcome)
                # What an undo took away and this one brings back is this one's.
                is_back = before is not None and before.is_undone
                action = before.action if before is not None and is_back else made.outcome
                return ImportedItem(each.issue_id, seq, each.digest, action)
            case jobs_import.UNCHANGED:
                self._report.count(UNCHANGED)
                # An import wrote it, and was cut off before it could account for it.
                is_ours = made.is_untouched and before is None
                return ImportedItem(each.issue_id, seq, each.digest, CREATED) if is_ours else None
            case jobs_import.NOT_PLAIN:
                self._report.skip(each.place, _NOT_PLAIN, each.issue_id)
            case _:
                self._keep(each, before)
        return None

    def _keep(self, each: _Brought, before: ImportedItem | None) -> None:
        self._report.count(KEPT)
        self._report.note(each.place, _OTHERS if before is None else _EDITED, each.issue_id)


def _is_in(each: _Brought, before: ImportedItem | None) -> bool:
    """Whether it was brought in before as the file has it now."""
    return before is not None and before.digest == each.digest and not before.is_undone


def _next_group(items: Iterator[Item], limits: ImportLimits) -> list[Item]:
    group: list[Item] = []
    chars = 0
    for item in items:
        group.append(item)
        if isinstance(item, ImportedIssue):
            chars += sum(map(len, texts_of(item.content)))
        if len(group) == limits.group_items or chars >= limits.group_chars:
            break
    return group
