"""Deciding conflicts: by a person's word, or by the writers' clocks where a workspace has it so. Either way an ordinary
edit of the issue's document, so that it merges and replicates like any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from crdt.based import FIELDS
from crdt.decisions import SetField
from crdt.edits import Edit
from crdt.field_writes import read_any
from crdt.jobs import MakeEdits
from crdt.records import FieldWrite
from crdt.shape import FIELD_KEYS, Author, Changes
from server.clock import Clock
from server.permissions import Identity, Role
from server.record_errors import Invalid, NotThere, RecordError, Unavailable
from server.records import Issue, Records
from storage.conflict_findings import clock_of
from storage.conflicts import (
    CREATE_CREATE,
    LOSING,
    STANDING,
    SYSTEM,
    UPDATE_DELETE,
    VALUE,
    Conflict,
    Ledger,
    Resolution,
    Settlement,
    Side,
    may_settle,
)
from storage.store import Workspace

CLAIM_SECONDS: Final = 60.0  # longer than an edit may take
_DELETED_AT: Final = "deleted_at"


class Decided(RecordError):
    """Somebody was first; `conflict` says who, and how."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__("it is resolved already")
        self.conflict = conflict


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody wants kept. `value`: where it is neither of the two."""

    keep: Resolution
    value: object = None


class Decisions:
    """Decides conflicts, one at a time on whatever node. `on_settled` hears of each."""

    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        clock: Clock,
        *,
        max_clock_lead_seconds: float = 60.0,
        on_settled: Callable[[Conflict], None] = lambda conflict: None,
    ) -> None:
        self._ledger = ledger
        self._records = records
        self._clock = clock
        self._max_lead = timedelta(seconds=max_clock_lead_seconds)
        self._on_settled = on_settled

    async def resolve(
        self, workspace: Workspace, identity: Identity, conflict_id: UUID, decision: Decision, *, device: str | None
    ) -> Conflict:
        """Make a person's decision, and return the conflict as it is then. Raises `Decided` when somebody else's came
        first, and `RecordError` in all its other kinds."""
        async with self._claimed(workspace.id, conflict_id) as conflict:
            if not may_settle(conflict, identity.user_id):
                raise Decided(conflict)
            edits = edits_for(conflict, decision)
            outcomes = await self._records.change_issue(workspace, identity, conflict.issue_id, edits, device=device)
            for outcome in outcomes:
                if isinstance(outcome, RecordError):
                    raise outcome
            return await self._settle(
                conflict, Settlement(decision.keep, identity.user_id, self._clock.now(), decision.value)
            )

    async def let_the_last_stand(self, workspace: Workspace, conflict_id: UUID) -> Conflict:
        """Where what lost was written later than what stands, set it, once. Raises `RecordError`; then it may be tried
        again when the claim has run out."""
        system = Identity(SYSTEM, workspace.slug, Role.OWNER)
        async with self._claimed(workspace.id, conflict_id, is_kept=True) as conflict:
            if not may_settle(conflict, SYSTEM):
                await self._ledger.release(workspace.id, conflict_id)
                return conflict
            is_last = False

            def job(issue: Issue) -> MakeEdits:
                nonlocal is_last
                standing = issue.heads.get(FIELD_KEYS[conflict.field])
                is_last = _can_be_written(conflict) and (standing is None or self._is_later(conflict.losing, standing))
                edits = [_last_write(conflict)] if is_last and not _says(standing, conflict) else []
                return MakeEdits(str(conflict.issue_id), issue.updates, issue.client_id, issue.author, edits)

            await self._records.make(workspace, system, conflict.issue_id, job)
            resolution: Resolution = LOSING if is_last else STANDING
            return await self._settle(conflict, Settlement(resolution, SYSTEM, self._clock.now()))

    def _is_later(self, losing: Side, standing: FieldWrite) -> bool:
        """Than what stands now, which may be another write than the one it lost to."""
        at = clock_of(standing, self._max_lead)
        return losing.at is not None and at is not None and losing.at > at

    @asynccontextmanager
    async def _claimed(self, workspace_id: int, conflict_id: UUID, *, is_kept: bool = False) -> AsyncIterator[Conflict]:
        """`is_kept`: the claim is, when there is no decision."""
        now = self._clock.now()
        conflict = await self._ledger.claim(workspace_id, conflict_id, now, now + timedelta(seconds=CLAIM_SECONDS))
        if conflict is None:
            if await self._ledger.one(workspace_id, conflict_id) is None:
                raise NotThere("no such conflict")
            raise Unavailable("somebody is deciding it just now")
        try:
            yield conflict
        except BaseException:
            if not is_kept:
                await self._ledger.release(workspace_id, conflict_id)
            raise

    async def _settle(self, conflict: Conflict, settlement: Settlement) -> Conflict:
        settled = await self._ledger.settle(conflict.workspace_id, conflict.id, settlement)
        if settled is None:
            raise NotThere("no such conflict")
        self._on_settled(settled)
        return settled


def edits_for(conflict: Conflict, decision: Decision) -> Sequence[Edit]:
    """What a decision does to the issue. Raises `Invalid`."""
    chosen = {STANDING: conflict.standing.value, LOSING: conflict.losing.value, VALUE: decision.value}[decision.keep]
    if conflict.kind == CREATE_CREATE:
        return [_as_begun(chosen)]
    if conflict.kind == UPDATE_DELETE:
        if decision.keep == VALUE:
            raise Invalid("an issue is deleted or not: keep standing or losing")
        return [SetField(_DELETED_AT, conflict.standing.value if decision.keep == STANDING else None)]
    return [SetField(conflict.field, chosen)]


def _as_begun(value: object) -> Changes:
    """Title, description, labels and fields as one of the two beginnings had them."""
    if not isinstance(value, Mapping):
        raise Invalid("value: an object with title, description and labels, or some of them")
    title, description, labels = (value.get(name) for name in ("title", "description", "labels"))
    if not (_is_text(title) and _is_text(description) and (labels is None or _are_texts(labels))):
        raise Invalid("value: title and description are texts, labels is a list of texts")
    fields = {name: value[name] for name in FIELDS if name in value}
    if not all(map(_is_text, fields.values())):
        raise Invalid("value: fields are texts or null")
    return Changes(title=title, description=description, labels=labels, fields=fields)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(each, str) for each in value)


def _last_write(conflict: Conflict) -> SetField:
    """With the clock of whoever wrote it: a decision by clocks must not look like a newer write."""
    losing = conflict.losing
    assert losing.at is not None  # it is the newer one
    stamp = Author(losing.actor_id, losing.device_id or "", losing.at)
    return SetField(conflict.field, None if conflict.kind == UPDATE_DELETE else losing.value, stamp)


def _can_be_written(conflict: Conflict) -> bool:
    try:
        _last_write(conflict).check()
    except ValueError:
        return False
    return True


def _says(standing: FieldWrite | None, conflict: Conflict) -> bool:
    wanted = None if conflict.kind == UPDATE_DELETE else conflict.losing.value
    return standing is not None and read_any(standing.value) == wanted
