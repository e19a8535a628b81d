"""`Idempotency-Key`: a request is done once and always answered the same, however often it is sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from server.clock import Clock
from server.doors.rest.headers import DEVICE, ETAG, IDEMPOTENCY_KEY, IF_MATCH, LOCATION, REPLAYED
from server.doors.rest.problems import IN_PROGRESS, INVALID, KEY_REUSED, PURGED, SOON, TOO_MANY, FieldError, Problem
from server.permissions import Identity
from storage.errors import Purged, StoreError
from storage.keyed_requests import Answered, InProgress, Keyed, KeyedRequests, Once, Otherwise
from storage.store import Workspace

_KEY: Final = re.compile(str(IDEMPOTENCY_KEY.schema["pattern"]))
_KEPT_HEADERS: Final = ("content-type", *(header.name.lower() for header in (ETAG, LOCATION)))

log = structlog.get_logger()


class Done(NamedTuple):
    """What was answered. `is_final`: it is the last word · `issue_id`: which it tells about, where no path says so."""

    response: Response
    is_final: bool = True
    issue_id: UUID | None = None


Work = Callable[[Once], Awaitable[Done]]


class Repeats:
    """Does requests that have a key."""

    def __init__(self, kept: KeyedRequests, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock

    async def answer(
        self, keyed: Keyed, asked: bytes, issue_id: UUID | None, work: Work, told: Callable[[Problem], Response]
    ) -> Response:
        """The answer: the one that was given, or that of `work`. Raises `Problem`, whose answers (`told`) are kept too
        where nothing was done that another try could do."""
        claim = await self._kept.claim(keyed, asked, issue_id, self._clock.now())
        if isinstance(claim, Answered):
            return Response(claim.body, claim.status, dict(claim.headers) | {REPLAYED.name: "true"})
        if isinstance(claim, Otherwise):
            raise Problem(KEY_REUSED)
        if isinstance(claim, InProgress):
            raise Problem(IN_PROGRESS, headers=SOON)
        return await self._do(claim, work, told)

    async def _do(self, once: Once, work: Work, told: Callable[[Problem], Response]) -> Response:
        try:
            done = await work(once)
        except Purged:
            await self._end(once, Done(told(Problem(PURGED))))
            raise
        except Problem as problem:
            is_passing = problem.kind.status >= 500 or problem.kind is TOO_MANY
            await self._end(once, None if is_passing else Done(told(problem), issue_id=problem.issue_id))
            raise
        except Exception:
            await self._end(once, None)
            raise
        await self._end(once, done if done.is_final else None)
        return done.response

    async def _end(self, once: Once, done: Done | None) -> None:
        if done is not None:
            response = done.response
            kept = {name: value for name, value in response.headers.items() if name in _KEPT_HEADERS}
            answer = Answered(response.status_code, kept, bytes(response.body), done.issue_id)
            await self._kept.finish(once.keyed, answer)
            return
        try:
            await self._kept.release(once.keyed, self._clock.now())
        except StoreError as error:  # the claim ends by itself
            log.warning("claim not given back", reason=str(error))


def keyed_of(request: Request, workspace: Workspace, caller: Identity) -> Keyed | None:
    """Whose request it is, None without a key. Raises `Problem`."""
    sent = request.headers.get(IDEMPOTENCY_KEY.name)
    if sent is None:
        return None
    if not _KEY.fullmatch(sent):
        wrong = "is not 1 to 255 printable characters of ASCII, without quotes and backslashes"
        raise Problem(INVALID, errors=[FieldError(IDEMPOTENCY_KEY.name, wrong)])
    return Keyed(workspace.id, caller.user_id, sent.strip('"'))


def fingerprint(request: Request, body: bytes) -> bytes:
    """What makes a request another one: everything but who sends it, when, and with which token."""
    query = sorted((name, value) for name, value in request.query_params.multi_items() if name != "token")
    headers = [request.headers.getlist(header.name) for header in (DEVICE, IF_MATCH)]
    named: Mapping[str, Any] = {"path": request.url.path, "query": query, "headers": headers}
    return hashlib.sha256(f"{request.method} {named!r}\n".encode() + body).digest()
