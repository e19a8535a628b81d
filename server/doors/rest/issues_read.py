"""`GET …/issues` and `GET …/issues/{id}`: what the projection says, at `min_seq` or later."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.doors.rest import cursors
from server.doors.rest.frame import Caller, FieldError, Problem, invalid, issue_id_of
from server.doors.rest.models import ListParameters, ReadParameters
from storage.issue_reader import IssueReader
from storage.tables.issue_queries import Keyset

Parameters = TypeVar("Parameters", bound=ReadParameters)

MIN_SEQ_SECONDS: Final = 5.0


class IssuesRead:
    """Both routes. `min_seq_seconds`: how long a read waits for the projection."""

    def __init__(self, reader: IssueReader, min_seq_seconds: float = MIN_SEQ_SECONDS) -> None:
        self._reader = reader
        self._min_seq_seconds = min_seq_seconds

    async def list(self, request: Request, caller: Caller) -> Response:
        """A page, and the cursor of the next one."""
        asked = _parameters(request, ListParameters)
        after = _keyset(asked)
        await self._reach(caller, asked.min_seq)
        page = await self._reader.page(caller.workspace.id, asked.query(after))
        following = None if page.following is None else cursors.written(asked.sort, page.following)
        return JSONResponse({"issues": [asked.shown(row) for row in page.issues], "cursor": following})

    async def one(self, request: Request, caller: Caller) -> Response:
        """One issue, deleted or not; 304 when the caller has this version already."""
        asked = _parameters(request, ReadParameters)
        await self._reach(caller, asked.min_seq)
        row = await self._reader.one(caller.workspace.id, issue_id_of(request))
        if row is None:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown-issue", "no such issue")
        etag = f'"{row.version}"'
        if _names(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        return JSONResponse(asked.shown(row), headers={"ETag": etag})

    async def _reach(self, caller: Caller, seq: int) -> None:
        if seq and not await self._reader.wait_for(caller.workspace.id, seq, self._min_seq_seconds):
            late = f"seq {seq} cannot be read yet"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-projected-yet", late, headers={"Retry-After": "1"})


def _parameters(request: Request, model: type[Parameters]) -> Parameters:
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise invalid(error) from None


def _keyset(asked: ListParameters) -> Keyset | None:
    try:
        return None if asked.cursor is None else cursors.read(asked.cursor, asked.sort)
    except ValueError as error:
        wrong = [FieldError("cursor", str(error))]
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "not a cursor of this list", errors=wrong) from None


def _names(if_none_match: str, etag: str) -> bool:
    """Weak comparison, as RFC 9110 has it for this header."""
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in if_none_match.split(","))
