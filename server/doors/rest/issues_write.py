"""`POST …/issues`, `PATCH` and `DELETE …/issues/{id}`, `POST …/restore`: ordinary edits of the issue's document.

An answer names the `seq` that holds the edit, so a read with `min_seq` sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crdt.edits import RESTORE, Delete, Edit
from server.doors.rest.frame import Caller, Problem, invalid, issue_id_of
from server.doors.rest.models import IssueCreate, IssuePatch
from server.record_errors import Exists, Forbidden, Invalid, NotThere, RecordError, Unavailable, Unwritable
from server.records import Records, Written

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES: Final = 20 * 1024 * 1024  # a description of the longest kind, every character escaped, fits
DEVICE: Final = "X-Device-Id"
_MAX_DEVICE_CHARS: Final = 200

_PROBLEMS: Final[Mapping[type[RecordError], tuple[HTTPStatus, str]]] = {
    NotThere: (HTTPStatus.NOT_FOUND, "unknown-issue"),
    Exists: (HTTPStatus.CONFLICT, "exists"),
    Forbidden: (HTTPStatus.FORBIDDEN, "forbidden"),
    Invalid: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    Unwritable: (HTTPStatus.UNPROCESSABLE_ENTITY, "unwritable"),
    Unavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
}


class IssuesWrite:
    """The routes that write."""

    def __init__(self, records: Records, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._records = records
        self._max_body_bytes = max_body_bytes

    async def create(self, request: Request, caller: Caller) -> Response:
        """201 with its address; 200 when the same issue began with the same content already."""
        draft = await self._body(request, IssueCreate)
        issue_id = draft.id or uuid4()
        written = await self._write(request, caller, issue_id, draft.edit())
        where = {"Location": f"{request.url.path}/{written.issue_id}"}
        return _told(written, HTTPStatus.CREATED if written.is_new else HTTPStatus.OK, where)

    async def patch(self, request: Request, caller: Caller) -> Response:
        """Fields that are named are changed, texts by small edits; what others change beside them stays."""
        patch = await self._body(request, IssuePatch)
        return _told(await self._write(request, caller, issue_id_of(request), patch.edit()))

    async def delete(self, request: Request, caller: Caller) -> Response:
        """Mark it as deleted; `restore` takes that back."""
        return _told(await self._write(request, caller, issue_id_of(request), Delete()))

    async def restore(self, request: Request, caller: Caller) -> Response:
        """Take a deletion back."""
        return _told(await self._write(request, caller, issue_id_of(request), RESTORE))

    async def _write(self, request: Request, caller: Caller, issue_id: UUID, edit: Edit) -> Written:
        device = request.headers.get(DEVICE)
        if device is not None and len(device) > _MAX_DEVICE_CHARS:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{DEVICE} is too long")
        try:
            return await self._records.change(caller.workspace, caller.identity, issue_id, edit, device=device)
        except RecordError as error:
            status, slug = _PROBLEMS[type(error)]
            wait = {"Retry-After": "1"} if isinstance(error, Unavailable) else None
            raise Problem(status, slug, str(error), headers=wait) from None

    async def _body(self, request: Request, model: type[Body]) -> Body:
        try:
            return model.model_validate_json(await self._read(request))
        except ValidationError as error:
            raise invalid(error) from None

    async def _read(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body_bytes:
                most = f"a body has at most {self._max_body_bytes} bytes"
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", most)
        return bytes(body)


def _told(written: Written, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"id": str(written.issue_id), "seq": written.seq}, status_code=status, headers=headers)
