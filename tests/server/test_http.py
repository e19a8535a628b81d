from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Message

from server.doors.http import NotReady, http_app
from server.metrics import Metrics
from storage.errors import StoreUnavailable


async def ready() -> None: ...


async def get(path: str, *, readiness: Any = ready, method: str = "GET") -> tuple[int, str, bytes]:
    """Status, content type and body, straight from the ASGI application."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": ("testserver", 80),
        "state": {},
    }
    await http_app(Metrics(), readiness, timeout_seconds=0.05)(scope, receive, send)
    headers = dict(sent[0]["headers"])
    return sent[0]["status"], headers[b"content-type"].decode(), b"".join(part.get("body", b"") for part in sent[1:])


async def test_healthz_says_the_process_runs() -> None:
    assert (await get("/healthz"))[0] == 200


async def test_readyz_is_green_when_every_check_passes() -> None:
    assert (await get("/readyz"))[0] == 200


async def test_readyz_is_red_with_the_reason() -> None:
    async def draining() -> None:
        raise NotReady("shutting down")

    async def store_away() -> None:
        raise StoreUnavailable("cannot reach the database")

    for readiness, reason in [(draining, "shutting down"), (store_away, "cannot reach the database")]:
        status, kind, body = await get("/readyz", readiness=readiness)
        assert (status, kind) == (503, "application/problem+json")
        assert json.loads(body) == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": reason,
        }


async def test_readyz_does_not_wait_for_a_database_that_does_not_answer() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    status, _, body = await get("/readyz", readiness=hangs)
    assert status == 503
    assert b"no answer" in body


async def test_metrics_are_in_the_exposition_format() -> None:
    status, kind, body = await get("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b"syncline_updates_total 0.0" in body


async def test_unknown_routes_and_methods_are_problem_documents() -> None:
    for path, method, expected in [("/nowhere", "GET", 404), ("/healthz", "POST", 405)]:
        status, kind, body = await get(path, method=method)
        assert (status, kind) == (expected, "application/problem+json")
        assert json.loads(body)["status"] == expected
