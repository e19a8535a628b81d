"""Plain HTTP: is the process alive, can it take edits, and its numbers. Errors are problem documents (RFC 9457)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.doors.compression import Compression
from server.doors.rest.frame import problem_response, request_id_of
from server.doors.rest.problems import METHOD_NOT_ALLOWED, PROBLEM_TYPE, UNKNOWN_ROUTE, Problem
from server.metrics import Metrics
from storage.errors import StoreError

EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_KINDS = {int(kind.status): kind for kind in (UNKNOWN_ROUTE, METHOD_NOT_ALLOWED)}

Check = Callable[[], Awaitable[None]]


class NotReady(Exception):
    """Why this node must not get traffic now. The message is shown to whoever asks, so it names no secret."""


def http_app(
    metrics: Metrics, readiness: Check, routes: Sequence[Route] = (), timeout_seconds: float = 2.0
) -> Starlette:
    """The HTTP routes and, beside them, `routes`. `readiness` raises `NotReady` or a `StoreError`; later than the
    deadline is not ready, too."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        try:
            async with asyncio.timeout(timeout_seconds):
                await readiness()
        except TimeoutError:
            return problem(503, f"no answer from the database within {timeout_seconds:g} s")
        except (NotReady, StoreError) as error:
            return problem(503, str(error))
        return JSONResponse({"status": "ready"})

    async def exposition(_request: Request) -> Response:
        return Response(await metrics.render(), media_type=EXPOSITION_TYPE)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition), *routes],
        middleware=[Middleware(Compression)],
        exception_handlers={HTTPException: _on_http_exception, Exception: _on_failure},
    )


def problem(status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """A problem document for an HTTP status."""
    body: dict[str, str | int] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    return JSONResponse(body, status_code=status, headers=headers, media_type=PROBLEM_TYPE)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if (kind := _KINDS.get(error.status_code)) is not None:
        return problem_response(Problem(kind, kind.remedy, headers=error.headers), request_id_of(request))
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail if error.detail != phrase else ""
    return problem(error.status_code, detail, dict(error.headers or {}))


async def _on_failure(_request: Request, _error: Exception) -> Response:
    return problem(500)  # Starlette raises it again behind the answer, uvicorn logs it
