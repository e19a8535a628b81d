"""The registry: one record an operation of `/v1`. Its route and its part of the OpenAPI document are made from it.

A class that answers operations lists them as `[LIST.by(self.list), …]`; mypy holds the method to the models.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar
from uuid import UUID, uuid4, uuid5

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from server.doors.rest.headers import DEVICE, IDEMPOTENCY_KEY, Header
from server.doors.rest.paths import InWorkspace, OfIssue, Place
from server.doors.rest.problems import (
    ENCODED,
    FORBIDDEN,
    IN_PROGRESS,
    INTERNAL,
    INVALID,
    KEY_REUSED,
    PURGED,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    UNAVAILABLE,
    ProblemType,
)
from server.permissions import Identity
from server.rates import Granted, Rates
from storage.keyed_requests import Once
from storage.store import Workspace

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Permission: TypeAlias = Callable[[Identity], bool]  # one of `server.permissions`

PLACE = TypeVar("PLACE", bound=Place)
QUERY = TypeVar("QUERY", bound=BaseModel)
BODY = TypeVar("BODY", bound=BaseModel)

JSON: Final = "application/json"
_IDS: Final = UUID("4a0b6a3e-2f2b-4c55-9a0e-6a1a54d2c1b7")
# Unless a setting says otherwise: a description of the longest kind, every character escaped, fits.
MAX_BODY_BYTES: Final = 20 * 1024 * 1024


class Nothing(BaseModel):
    """No query, or no body."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Query(Nothing):
    """What every query may hold; extend it. `token` is where those put their token who cannot send headers."""

    token: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one status of an operation means. `model`: of its JSON. `media`: types of a body that has no model; neither:
    there is no body."""

    description: str
    model: type[BaseModel] | None = None
    headers: tuple[Header, ...] = ()
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a method answers. With `is_partial`, fields of the model that were not set are left out. Not `is_final`: the
    same request may be answered better later. `issue_id`: which it tells about, where no path says so ·
    `forbidden`: why something that was asked for was not done which they may not do; it goes into the audit log."""

    content: BaseModel | None = None
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False
    is_final: bool = True
    issue_id: UUID | None = None
    forbidden: str | None = None


Answering: TypeAlias = Callable[[], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Call(Generic[PLACE, QUERY, BODY]):
    """A request whose parts are what their models say, of somebody who may make it.

    `request`: for uploads, which are read as they come · `once`: where it has an `Idempotency-Key` · `answer_once`: of
    an upload with one, see `answered`. A path outside of workspaces has no `workspace`, an operation for everybody no
    `identity`; asking for them is a defect.
    """

    place: PLACE
    query: QUERY
    body: BODY
    request: Request
    request_id: str
    found: Workspace | None = None
    caller: Identity | None = None
    once: Once | None = None
    answer_once: Callable[[bytes, Answering], Awaitable[Reply | Response]] | None = None
    rates: Rates | None = None

    async def grant(self, parts: Sequence[int]) -> Granted:
        """How many of these may be made now, of so many edits each; see `Rates.grant`."""
        return Granted(len(parts)) if self.rates is None else await self.rates.grant(self.identity, parts)

    async def answered(self, digest: bytes, answering: Answering) -> Reply | Response:
        """The answer to an upload that is whole now and has this digest: done once where the request has a key."""
        return await (answering() if self.answer_once is None else self.answer_once(digest, answering))

    @property
    def workspace(self) -> Workspace:
        """The one of the path."""
        assert self.found is not None
        return self.found

    @property
    def identity(self) -> Identity:
        """Who asks."""
        assert self.caller is not None
        return self.caller

    def new_id(self, number: int = 0) -> UUID:
        """Of the `number`th thing that the request makes: the same one however often it is sent with one key."""
        if self.once is None:
            return uuid4()
        return uuid5(_IDS, f"{self.once.keyed} {self.once.at.isoformat()} {number}")

    def header(self, header: Header) -> str | None:
        """What was sent of a declared header, None when it was not."""
        sent = self.request.headers.getlist(header.name)
        return ", ".join(sent) if sent else None

    @property
    def device(self) -> str | None:
        """The device that writes: the header's, else the token's."""
        return self.header(DEVICE) or self.identity.device_id


Work = Callable[[Call[PLACE, QUERY, BODY]], Awaitable[Reply | Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[PLACE, QUERY, BODY]):
    """One method on one path. `Nothing` stands for no body. `needs` None: for everybody, without a token;
    or, where it `reads_token`, for whoever has one that counts somewhere, which what answers it sees to. `problems`
    are those beside what any operation may answer. `uploads`: media types of a body that is no JSON; `body` is
    `Nothing` then, and what answers it reads `call.request.stream()` itself, within bounds of its own. `audited`: it
    goes into the audit log with what the path names and these fields of the query and the body; None: it does not.
    `syncs`: whoever asks has what is new by it, and is remembered for that (`last_sync_at`) · `edits`: of issues, that
    it makes for its caller, whose rate they count towards; one with as many as its body holds asks `call.grant` ·
    `costs`: it is a read that takes the database or an engine a while, see `server.doors.rest.lanes` ·
    `max_body_bytes`, `max_page`: see `server.doors.rest.limits`."""

    method: Method
    path: str
    id: str
    tag: str
    summary: str
    description: str = ""
    place: type[PLACE]
    query: type[QUERY]
    body: type[BODY]
    needs: Permission | None
    reads_token: bool = False
    answers: Mapping[HTTPStatus, Answer]
    problems: tuple[ProblemType, ...] = ()
    headers: tuple[Header, ...] = ()
    uploads: tuple[str, ...] = ()
    max_body_bytes: int | None = None
    max_page: int | None = None
    audited: tuple[str, ...] | None = None
    syncs: bool = False
    edits: int = 0
    costs: bool = False

    def __post_init__(self) -> None:
        if set(re.findall(r"{(\w+)}", self.path)) != self.place.model_fields.keys():
            raise ValueError(f"{self.id}: the path and its model name different things")
        if unsaid := self.place.model_fields.keys() - self.place.UNKNOWN.keys():
            raise ValueError(f"{self.id}: nothing is said where {', '.join(sorted(unsaid))} is no such name")

    @property
    def is_in_workspace(self) -> bool:
        """Whether the path names a workspace."""
        return issubclass(self.place, InWorkspace)

    @property
    def takes_body(self) -> bool:
        """Whether a JSON body is read."""
        return self.body is not Nothing

    @property
    def takes_key(self) -> bool:
        """Whether an `Idempotency-Key` is looked at."""
        return IDEMPOTENCY_KEY in self.headers

    def every_problem(self) -> tuple[ProblemType, ...]:
        """Whatever it may answer beside `answers`."""
        found = [*self.problems, *self.place.UNKNOWN.values(), INVALID, TOO_MANY, INTERNAL, UNAVAILABLE]
        if issubclass(self.place, OfIssue):
            found.append(PURGED)
        if self.needs is not None:
            found += [UNAUTHORIZED, FORBIDDEN]
        if self.takes_body or self.uploads:
            found += [TOO_LARGE, ENCODED]
        if self.takes_key:
            found += [IN_PROGRESS, KEY_REUSED]
        return tuple(dict.fromkeys(found))

    def by(self, work: Work[PLACE, QUERY, BODY]) -> Served:
        """The operation with what answers it."""
        return Served(self, work)


@dataclass(frozen=True, slots=True)
class Served:
    """An operation that is served."""

    operation: Operation[Any, Any, Any]
    work: Work[Any, Any, Any]
