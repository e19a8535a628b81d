"""What happens here that concerns security, on its way into `audit_log`. Noting something takes no time and never
fails: it is written a moment later, in batches. What repeats is counted instead of written again, and refusals, which
anybody can cause, get a bounded number of rows a minute.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

import structlog

from server.addresses import host_of
from server.auth import Credentials
from server.buckets import Allowance, Bucket
from server.clock import Clock
from server.permissions import Identity
from storage.audit_log import AuditLog, AuditRow
from storage.backoff import Backoff
from storage.errors import StoreError
from storage.store import Store

log = structlog.get_logger()

_MAX_TEXT: Final = 300  # of a value for people: what is cut off was anybody's to choose
_FORGET_AT_ONCE: Final = 5_000  # rows in one transaction, which others wait for
_OTHERS: Final = "others"  # in place of the details of refusals that got no row of their own


@dataclass(frozen=True, slots=True)
class Note:
    """Something was done, or refused, in a workspace: its slug or id. `user_id` None: nobody knows who it was."""

    workspace: str | int
    action: str
    via: str
    is_refused: bool = False
    user_id: str | None = None
    acting_for: str | None = None
    device_id: str | None = None
    address: str | None = None
    detail: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        workspace: str | int,
        action: str,
        via: str,
        who: Identity | str | None = None,
        came: Credentials | None = None,
        *,
        is_refused: bool = False,
        detail: Mapping[str, object] = MappingProxyType({}),
    ) -> Note:
        """With what is known of who it was, if only their id, and of where they came from."""
        known = who if isinstance(who, Identity) else None
        return cls(
            workspace,
            action,
            via,
            is_refused,
            user_id=who.user_id if isinstance(who, Identity) else who,
            acting_for=known.acting_for if known else None,
            device_id=(known.device_id if known else None) or (came.device_id if came else None),
            address=host_of(came.address) if came else None,
            detail=tuple((name, _shown(value)) for name, value in sorted(detail.items())),
        )


Noting: TypeAlias = Callable[[Note], None]


def unheard(_note: Note) -> None:
    """For who keeps no account."""


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """Notes that wait at most, seconds between two turns of the writer, rows for refusals of a workspace, days until a
    row is forgotten (0: never) and seconds between two looks for those."""

    waiting: int = 10_000
    turn_seconds: float = 1.0
    refusals: Allowance = field(default_factory=lambda: Allowance(rate=20 / 60, burst=100))
    repeat_seconds: float = 60.0
    days: float = 365
    forget_seconds: float = 3600.0


@dataclass(slots=True)
class _Counted:
    """How often since when."""

    at: datetime
    count: int = 1


class Audit:
    """Of one node. `run` must be running; `note` may be called before and after."""

    def __init__(
        self, rows: AuditLog, store: Store, clock: Clock, limits: AuditLimits, on_lost: Callable[[], None]
    ) -> None:
        self._rows = rows
        self._store = store
        self._clock = clock
        self._limits = limits
        self._on_lost = on_lost
        self._waiting: dict[Note, _Counted] = {}
        self._repeating: dict[Note, datetime] = {}  # refusals that have their row, until they are written again
        self._allowed: dict[str | int, Bucket] = {}
        self._workspaces: dict[str, int] = {}
        self._forget_at: datetime | None = None

    def note(self, note: Note) -> None:
        """It happened now."""
        counted = self._waiting.get(note)
        if counted is not None:
            counted.count += 1
        elif len(self._waiting) < self._limits.waiting:
            self._waiting[note] = _Counted(self._clock.now())
        else:
            self._on_lost()

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff()
        while True:
            pause = self._limits.turn_seconds
            try:
                await self.write()
                await self._forget()
                backoff.reset()
            except StoreError as error:
                log.warning("the audit log is behind", reason=str(error), waiting=len(self._waiting))
                pause = max(pause, backoff.next_seconds())
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Write what waits. Nothing is raised."""
        self._repeating.clear()
        try:
            await self.write()
        except StoreError as error:
            log.warning("the end of the audit log is missing", reason=str(error), waiting=len(self._waiting))

    async def write(self) -> None:
        """What is due, a statement a workspace. Raises `StoreError`; nothing is lost by that."""
        due = self._take_due()
        while due:
            workspace, notes = next(iter(due.items()))
            try:
                workspace_id = await self._id_of(workspace)
                if workspace_id is not None:  # refusals may name workspaces that are not there
                    await self._rows.write(workspace_id, [_row(note, counted) for note, counted in notes.items()])
            except StoreError:
                for notes in due.values():
                    self._put_back(notes)
                raise
            del due[workspace]

    def _take_due(self) -> dict[str | int, dict[Note, _Counted]]:
        now = self._clock.now()
        self._repeating = {note: until for note, until in self._repeating.items() if now < until}
        due: defaultdict[str | int, dict[Note, _Counted]] = defaultdict(dict)
        for note in [note for note in self._waiting if note not in self._repeating]:
            counted = self._waiting.pop(note)
            row = self._admitted(note, now)
            if row in due[note.workspace]:
                due[note.workspace][row].count += counted.count
            elif row in self._repeating:
                self._put_back({row: counted})
            else:
                due[note.workspace][row] = counted
        for note in [note for notes in due.values() for note in notes if note.is_refused]:
            self._repeating[note] = now + timedelta(seconds=self._limits.repeat_seconds)
        return dict(due)

    def _admitted(self, note: Note, now: datetime) -> Note:
        """The row it goes into: its own, or that of all refusals of a workspace that has had many."""
        if not note.is_refused:
            return note
        if len(self._allowed) >= self._limits.waiting:
            self._allowed.clear()
        moment = now.timestamp()
        bucket = self._allowed.setdefault(note.workspace, Bucket(self._limits.refusals, moment))
        return note if not bucket.take(1, moment) else Note(note.workspace, _OTHERS, note.via, is_refused=True)

    def _put_back(self, notes: dict[Note, _Counted]) -> None:
        for note, counted in notes.items():
            newer = self._waiting.get(note)
            self._waiting[note] = _Counted(counted.at, counted.count + (newer.count if newer else 0))

    async def _forget(self) -> None:
        now = self._clock.now()
        if not self._limits.days or (self._forget_at is not None and now < self._forget_at):
            return
        before = now - timedelta(days=self._limits.days)
        for workspace in await self._store.workspaces():
            while await self._rows.forget(workspace.id, before, _FORGET_AT_ONCE):
                pass
        self._forget_at = now + timedelta(seconds=self._limits.forget_seconds)

    async def _id_of(self, workspace: str | int) -> int | None:
        if isinstance(workspace, int):
            return workspace
        if workspace not in self._workspaces:
            found = await self._store.workspace(workspace)
            if found is None:
                return None
            self._workspaces[workspace] = found.id
        return self._workspaces[workspace]


def _row(note: Note, counted: _Counted) -> AuditRow:
    return AuditRow(
        at=counted.at,
        action=note.action,
        is_refused=note.is_refused,
        via=note.via,
        user_id=note.user_id,
        acting_for=note.acting_for,
        device_id=note.device_id,
        address=note.address,
        count=counted.count,
        detail=dict(note.detail),
    )


def _shown(value: object) -> str:
    """As text Postgres takes, and not longer than a reason is."""
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
