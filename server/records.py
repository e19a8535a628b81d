"""Records: issues written by those who hold no document. Every edit goes through its issue's room like anybody's."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Final, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from crdt import edits
from crdt.edits import AddComment, Begin, Edit
from crdt.errors import CLIENT_ID, FORBIDDEN, FULL, Refused
from crdt.jobs import Job, MakeEdits
from crdt.records import FieldWrite
from crdt.shape import Author
from crdt.update import EMPTY_UPDATE
from crdt.writing import CLIENT_ID_BITS
from server import session
from server.clock import Clock
from server.hub import Hub
from server.pen import Pen
from server.permissions import Identity, may_comment
from server.record_errors import (
    Exists,
    Forbidden,
    Full,
    Invalid,
    NoComment,
    NotThere,
    Overtaken,
    RecordError,
    Unavailable,
    Unwritable,
)
from server.room import Room
from server.session import Rejected, Stored
from storage.conflicts import NewConflict
from storage.engine import Engine, EngineFailed, EngineUnavailable, IssueKey
from storage.errors import StoreError
from storage.keyed_requests import Once
from storage.store import Mark, Workspace

_ATTEMPTS: Final = 5  # to write at a version, while others write too
_FAILURES: Final = {
    edits.NOT_THERE: NotThere("no such issue"),
    edits.NO_COMMENT: NoComment("no such comment"),
    edits.OTHER_BEGINNING: Exists("the issue exists and began otherwise"),
    edits.OTHER_COMMENT: Exists("the comment exists"),
    edits.NOT_PLAIN: Unwritable("an embedded object stands where text should be written"),
}


@dataclass(frozen=True, slots=True)
class Written:
    """The edit is committed; `seq`: the newest seq of the issue that it takes to see it · `is_new`: the issue or the
    comment began here · `version`: of the issue now, where it was asked for one."""

    issue_id: UUID
    seq: int
    is_new: bool
    version: int | None = None


class Made(Protocol):
    """What an engine made of an issue: EMPTY_UPDATE when it is to stay as it is."""

    @property
    def update(self) -> bytes:
        """Causally closed over what it was made of."""


Result = TypeVar("Result", bound=Made)


@dataclass(frozen=True, slots=True)
class Issue:
    """What an edit is made of: all that is committed, and who writes it, with which client id, which nobody else has
    until it is committed. `seq`: the newest of `updates` · `heads`: what stands in the fields, by key · `version`:
    where the edit is made right after one."""

    updates: Sequence[bytes]
    client_id: int
    author: Author
    seq: int
    heads: Mapping[str, FieldWrite]
    version: int | None = None


JobOf: TypeAlias = Callable[[Issue], Job[Result] | Awaitable[Job[Result]]]
OnlyAt: TypeAlias = Callable[[int], bool]  # of a version: whether an edit may be made right after it


@dataclass(frozen=True, slots=True)
class Terms(Generic[Result]):
    """On which an update is committed. `write_down` is awaited before, for who may `send` the same bytes again, and
    says what they conflict with · `only_at`: right after a version of which it holds; then nothing is written down ·
    `mark`: what is committed with it · `when`: awaited before, once it is made."""

    write_down: Callable[[Result], Awaitable[Sequence[NewConflict]]] | None = None
    only_at: OnlyAt | None = None
    mark: Callable[[Result], Mark] | None = None
    when: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where one edit is written."""

    key: IssueKey
    writer: Identity
    pen: Pen
    room: Room


@dataclass(frozen=True, slots=True)
class RecordServices:
    """What records stand on."""

    hub: Hub
    engine: Engine
    clock: Clock


class Records:
    """Edits of records, made by an engine on what is committed. One at a time an issue: they share a client id."""

    def __init__(self, services: RecordServices, *, timeout_seconds: float = 20.0) -> None:
        self._services = services
        self._timeout_seconds = timeout_seconds
        self._turns: WeakValueDictionary[IssueKey, asyncio.Lock] = WeakValueDictionary()
        self._secret = secrets.token_bytes(16)

    async def change(
        self,
        workspace: Workspace,
        identity: Identity,
        issue_id: UUID,
        edit: Edit,
        *,
        device: str | None = None,
        only_at: OnlyAt | None = None,
        once: Once | None = None,
    ) -> Written:
        """Make an edit and commit it. Raises `RecordError` in all its kinds."""
        (written,) = await self.change_issue(
            workspace, identity, issue_id, [edit], device=device, only_at=[only_at], once=once
        )
        if isinstance(written, RecordError):
            raise written
        return written

    async def change_issue(
        self,
        workspace: Workspace,
        identity: Identity,
        issue_id: UUID,
        wanted: Sequence[Edit],
        *,
        device: str | None = None,
        only_at: Sequence[OnlyAt | None] = (),
        once: Once | None = None,
        when: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Written | RecordError]:
        """Make edits of one issue in order and commit them together; one that fails is left out. `only_at`: of each,
        about the version before all of them. What was made `once` is only told; `when` is awaited once edits are made.
        Raises `RecordError` for what concerns them all."""
        _check(wanted)
        conditions = only_at or [None] * len(wanted)

        def job(issue: Issue) -> MakeEdits:
            chosen = [
                edit if _holds(each, issue.version) else None for edit, each in zip(wanted, conditions, strict=True)
            ]
            return MakeEdits(str(issue_id), issue.updates, issue.client_id, issue.author, chosen)

        made = None if once is None else once.made.get(issue_id)
        if made is not None:
            return _results(Written(issue_id, made.seq, False), wanted, made.outcomes)
        mark = None if once is None else lambda edited: once.mark(tuple(edited.outcomes))
        async with self._at_desk(workspace, identity, issue_id, device) as desk:
            terms = Terms(only_at=_any_of(conditions), mark=mark, when=when)
            edited, seq, version = await self._write(desk, job, terms)
        return _results(Written(issue_id, seq, False, version), wanted, edited.outcomes)

    async def make(
        self,
        workspace: Workspace,
        identity: Identity,
        issue_id: UUID,
        job_of: JobOf[Result],
        *,
        device: str | None = None,
        terms: Terms[Result] | None = None,
    ) -> tuple[Result, int]:
        """Have an engine make an update of an issue, and commit it: what it made, and the seq that holds it. Raises
        `RecordError`."""
        async with self._at_desk(workspace, identity, issue_id, device) as desk:
            made, seq, _ = await self._write(desk, job_of, terms or Terms())
        return made, seq

    async def _write(self, desk: _Desk, job_of: JobOf[Result], terms: Terms[Result]) -> tuple[Result, int, int | None]:
        """What was made, the seq that holds it, and with `only_at` the version that makes."""
        if terms.only_at is None:
            return *await self._write_after(desk, job_of, terms), None
        return await self._write_at(desk, job_of, terms, terms.only_at)

    async def _write_after(
        self,
        desk: _Desk,
        job_of: JobOf[Result],
        terms: Terms[Result],
        version: int | None = None,
        after: int | None = None,
    ) -> tuple[Result, int]:
        author = Author(desk.writer.user_id, desk.writer.device_id or "", self._services.clock.now())
        client_id = self._client_id(desk.key, desk.writer.user_id)
        issue = Issue(desk.room.updates(), client_id, author, desk.room.seq, desk.room.heads, version)
        job = job_of(issue)
        made = await self._made(desk.key, await job if isawaitable(job) else job)
        if made.update == EMPTY_UPDATE:
            return made, desk.room.seq
        if terms.when is not None:
            await terms.when()
        with self._unless_lost(is_written_down=terms.write_down is not None):
            conflicts = () if terms.write_down is None else await terms.write_down(made)
            mark = None if terms.mark is None else terms.mark(made)
            return made, await _commit(desk.pen, made.update, conflicts, after, mark)

    async def _write_at(
        self, desk: _Desk, job_of: JobOf[Result], terms: Terms[Result], only_at: OnlyAt
    ) -> tuple[Result, int, int]:
        """Write right after what `only_at` was asked of, and say which version that makes. Whoever is overtaken asks
        again: that the version is another one is only said of what is in the log."""
        for _ in range(_ATTEMPTS):
            version, seq = await self._version(desk.room)
            if not _holds(only_at, version):
                raise Overtaken(f"the issue is at version {version}")
            if desk.room.seq != seq:
                continue
            try:
                made, written = await self._write_after(desk, job_of, terms, version, seq)
            except Overtaken:
                continue
            return made, written, version if made.update == EMPTY_UPDATE else version + 1
        raise Unavailable("others write to the issue all the while")

    async def _version(self, room: Room) -> tuple[int, int]:
        try:
            return await self._services.hub.version(room)
        except StoreError as error:
            raise Unavailable("the version cannot be read now") from error

    async def send(
        self,
        workspace: Workspace,
        identity: Identity,
        issue_id: UUID,
        update: bytes,
        *,
        device: str | None = None,
        conflicts: Sequence[NewConflict] = (),
    ) -> int:
        """Commit what was made and written down before, and perhaps committed; the seq that holds it. Raises
        `RecordError`."""
        async with self._at_desk(workspace, identity, issue_id, device) as desk:
            return await _commit(desk.pen, update, conflicts)

    @asynccontextmanager
    async def _at_desk(
        self, workspace: Workspace, identity: Identity, issue_id: UUID, device: str | None
    ) -> AsyncIterator[_Desk]:
        """Alone with the issue among those who write records here, for as long as that may take."""
        if not may_comment(identity):  # whether a commenter may make this edit is proven by the gate
            raise Forbidden(f"a {identity.role} may not edit")
        key = IssueKey(workspace.id, issue_id)
        turn = self._turns.setdefault(key, asyncio.Lock())
        writer = replace(identity, device_id=device or identity.device_id)
        pen = Pen(self._services.hub, writer)
        try:
            async with asyncio.timeout(self._timeout_seconds), turn:
                yield _Desk(key, writer, pen, await pen.enter(workspace, issue_id))
        except TimeoutError:
            raise Unavailable("not stored in time") from None
        finally:
            pen.leave()

    async def _made(self, key: IssueKey, job: Job[Result]) -> Result:
        try:
            return await self._services.engine.run(job, key=key)
        except (Refused, EngineFailed):  # if it is the issue's fault, the projector quarantines it
            raise Unwritable("the engine does not take the edit") from None
        except EngineUnavailable:
            raise Unavailable("too busy") from None

    def _client_id(self, key: IssueKey, user: str) -> int:
        """The same as long as every commit is answered, so that an issue does not gather them."""
        name = f"{key} {user}".encode()
        return int.from_bytes(hashlib.sha256(self._secret + name).digest()[: CLIENT_ID_BITS // 8], "big") or 1

    @contextmanager
    def _unless_lost(self, *, is_written_down: bool) -> Iterator[None]:
        """Clocks must not be used twice: where it is unknown what was committed, or what was not is written down
        somewhere, all client ids are drawn anew."""
        try:
            yield
        except (Forbidden, Full, Overtaken, Unwritable):
            if is_written_down:
                self._secret = secrets.token_bytes(16)
            raise
        except BaseException:
            self._secret = secrets.token_bytes(16)
            raise


async def _commit(
    pen: Pen,
    update: bytes,
    conflicts: Sequence[NewConflict],
    after: int | None = None,
    mark: Mark | None = None,
) -> int:
    outcome = await pen.write(update, conflicts, after, mark)
    if isinstance(outcome, Stored):
        return outcome.seq
    if isinstance(outcome, session.Overtaken):
        raise Overtaken("the issue was written to meanwhile")
    if isinstance(outcome, Rejected) and outcome.refused.reason == FORBIDDEN:
        raise Forbidden(outcome.refused.detail)
    if isinstance(outcome, Rejected) and outcome.refused.reason == FULL:
        raise Full(outcome.refused.detail)
    if isinstance(outcome, Rejected) and outcome.refused.reason != CLIENT_ID:
        raise Unwritable(outcome.refused.reason)
    raise Unavailable("try again")


def _holds(only_at: OnlyAt | None, version: int | None) -> bool:
    """Nobody has written to version 0: that is said otherwise."""
    return only_at is None or not version or only_at(version)


def _any_of(conditions: Sequence[OnlyAt | None]) -> OnlyAt | None:
    """Whether there is something to make. None: whatever the version is."""
    if not any(conditions):
        return None
    return lambda version: any(_holds(each, version) for each in conditions)


def _check(wanted: Sequence[Edit]) -> None:
    try:
        for edit in wanted:
            edit.check()
    except ValueError as error:
        raise Invalid(str(error)) from None


def _results(written: Written, wanted: Sequence[Edit], outcomes: Sequence[str]) -> list[Written | RecordError]:
    return [_result(written, edit, told) for edit, told in zip(wanted, outcomes, strict=True)]


def _result(written: Written, edit: Edit, told: str) -> Written | RecordError:
    if told == edits.LEFT_OUT:
        return Overtaken(f"the issue is at {f'version {written.version}' if written.version else 'another version'}")
    if told in _FAILURES:
        failure = _FAILURES[told]
        return type(failure)(*failure.args)
    return replace(written, is_new=isinstance(edit, Begin | AddComment) and told == edits.MADE)
