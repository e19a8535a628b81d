"""What every request for records goes through: who asks, for which workspace, and how the answer says no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from uuid import UUID, uuid4

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.auth import IdentityUnavailable, NotAllowed, TokenRefused, Verify
from server.doors.http import PROBLEM_TYPE
from server.permissions import Identity
from storage.errors import StoreError
from storage.store import Store, Workspace

TYPE_PREFIX: Final = "urn:syncline:problem:"
REQUEST_ID: Final = "X-Request-Id"
_RETRY: Final = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one parameter or field. The message never repeats what was sent."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is not what was asked for, as RFC 9457 has it. `slug` names its type and never changes."""

    def __init__(
        self,
        status: HTTPStatus,
        slug: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, about which workspace. `request_id` is the one the answer carries."""

    workspace: Workspace
    identity: Identity
    request_id: str


Answer = Callable[[Request, Caller], Awaitable[Response]]


class Frame:
    """Wraps what answers a route."""

    def __init__(self, store: Store, verify: Verify) -> None:
        self._store = store
        self._verify = verify

    def around(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a route whose path has a `workspace`."""

        async def endpoint(request: Request) -> Response:
            request_id = str(uuid4())
            try:
                response = await answer(request, await self._caller(request, request_id))
            except Problem as problem:
                response = _document(problem)
            except (StoreError, TimeoutError, IdentityUnavailable):
                away = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "try again later", headers=_RETRY)
                response = _document(away)
            response.headers[REQUEST_ID] = request_id
            response.headers.setdefault("Cache-Control", "private, no-cache")
            return response

        return endpoint

    async def _caller(self, request: Request, request_id: str) -> Caller:
        slug = request.path_params["workspace"]
        try:
            identity = await self._verify(_presented_token(request), slug)
        except TokenRefused as refused:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", str(refused), headers=challenge) from None
        except NotAllowed as refused:
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", str(refused)) from None
        workspace = await self._store.workspace(slug)
        if workspace is None:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown-workspace", "unknown workspace")
        return Caller(workspace, identity, request_id)


def invalid(error: ValidationError) -> Problem:
    """422 with an entry for each field that pydantic refused."""
    found = error.errors(include_input=False, include_context=False, include_url=False)
    errors = [FieldError(".".join(map(str, each["loc"])), each["msg"]) for each in found]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "some fields are not what they should be", errors=errors)


def issue_id_of(request: Request) -> UUID:
    """The issue a path names."""
    try:
        return UUID(request.path_params["issue"])
    except ValueError:
        raise Problem(HTTPStatus.NOT_FOUND, "unknown-issue", "an issue's id is a UUID") from None


def _presented_token(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.query_params.get("token", "")


def _document(problem: Problem) -> Response:
    body: dict[str, object] = {
        "type": TYPE_PREFIX + problem.slug,
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = [{"field": each.field, "message": each.message} for each in problem.errors]
    return JSONResponse(body, status_code=problem.status, headers=problem.headers, media_type=PROBLEM_TYPE)
