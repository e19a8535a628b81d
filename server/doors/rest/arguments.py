"""From a request to what its models say, or a problem that names each field that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from server.doors.rest import cursors
from server.doors.rest.headers import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, Header
from server.doors.rest.paths import Place
from server.doors.rest.problems import ENCODED, INVALID, TOO_LARGE, FieldError, Problem
from server.doors.rest.tags import Tags, read_tags
from storage.tables.issue_queries import KeysetValue

Model = TypeVar("Model", bound=BaseModel)
PLACE = TypeVar("PLACE", bound=Place)

_WRONG: Final = "some fields are not what they should be"
_MAX_ERRORS: Final = 100  # of an answer; nobody reads more
_LOOKED_AT: Final = (IF_MATCH.name, IF_NONE_MATCH.name, IDEMPOTENCY_KEY.name)
_READS: Final = ("GET", "HEAD")
NUL: Final = "\0"  # Postgres takes it in no text


def read_place(model: type[PLACE], names: Mapping[str, str]) -> PLACE:
    """What the path names. A name that is none is as unknown as one that nobody took."""
    for name, value in names.items():
        if NUL in value:
            raise Problem(model.UNKNOWN[name], "no name holds a NUL character")
    try:
        return model.model_validate(names)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_context=False, include_url=False)[0]
        raise Problem(model.UNKNOWN[str(wrong["loc"][0])], wrong["msg"]) from None


def read_query(model: type[Model], request: Request, max_page: int | None = None) -> Model:
    """The query. Every parameter may be there once; `limit` is at most `max_page`."""
    given = request.query_params.multi_items()
    twice = [name for name, count in Counter(name for name, _ in given).items() if count > 1]
    if twice:
        errors = [FieldError(name if name in model.model_fields else "query", "is given twice") for name in twice]
        raise Problem(INVALID, _WRONG, errors=errors[:_MAX_ERRORS])
    odd = [name for name, value in given if NUL in value and name in model.model_fields]
    if odd:
        raise Problem(INVALID, _WRONG, errors=[FieldError(name, "holds a NUL character") for name in odd])
    try:
        asked = model.model_validate(dict(given))
    except ValidationError as error:
        raise invalid(error) from None
    return asked if max_page is None else _with_page(asked, max_page)


def _with_page(asked: Model, max_page: int) -> Model:
    """Whoever names no `limit` is not refused for the usual one."""
    if getattr(asked, "limit") <= max_page:  # noqa: B009 -- of any model that has one
        return asked
    if "limit" in asked.model_fields_set:
        raise Problem(INVALID, _WRONG, errors=[FieldError("limit", f"is more than {max_page}")])
    return asked.model_copy(update={"limit": max_page})


def read_cursor(cursor: str | None, of: str, types: Sequence[str]) -> list[KeysetValue] | None:
    """Where the page before ended, None on the first; `types`: see `cursors.read`."""
    if cursor is None:
        return None
    try:
        return cursors.read(cursor, of, types)
    except ValueError as error:
        raise Problem(INVALID, errors=[FieldError("cursor", str(error))]) from None


def read_body(model: type[Model], body: bytes) -> Model:
    """A JSON body. An empty one stands for `{}`."""
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except ValidationError as error:
        raise invalid(error) from None


def check_headers(headers: Sequence[Header], request: Request) -> None:
    """Headers are shorter than their bounds."""
    long = [h for h in headers if sum(map(len, request.headers.getlist(h.name))) > h.max_chars]
    if long:
        errors = [FieldError(header.name, f"has more than {header.max_chars} characters") for header in long]
        raise Problem(INVALID, _WRONG, errors=errors)


def check_encoding(request: Request) -> None:
    """A body is taken as it is: a few bytes may be a compressed gigabyte."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Problem(ENCODED, headers={"Accept-Encoding": "identity"})


def check_conditions(headers: Sequence[Header], request: Request) -> None:
    """What writes makes no exception of conditions and keys: where one would not be looked at, nothing is written."""
    taken = {header.name for header in headers}
    odd = [name for name in _LOOKED_AT if name in request.headers and name not in taken]
    if odd and request.method not in _READS:
        raise Problem(INVALID, _WRONG, errors=[FieldError(name, "is not looked at here") for name in odd])


def read_condition(header: str | None) -> Tags | None:
    """What `If-Match` asks for."""
    try:
        return None if header is None else read_tags(header)
    except ValueError as error:
        raise Problem(INVALID, _WRONG, errors=[FieldError(IF_MATCH.name, str(error))]) from None


def invalid(error: ValidationError) -> Problem:
    """An entry for each field that pydantic refused."""
    found = error.errors(include_input=False, include_context=False, include_url=False)[:_MAX_ERRORS]
    errors = [FieldError(".".join(map(str, each["loc"])) or "body", each["msg"]) for each in found]
    return Problem(INVALID, _WRONG, errors=errors)


async def read_bytes(request: Request, max_bytes: int) -> bytes:
    """A whole body."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise Problem(TOO_LARGE, f"a body has at most {max_bytes} bytes here")
    return bytes(body)
