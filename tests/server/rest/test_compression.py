"""gzip of answers: who gets it, what it leaves alone, and what tags say of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.doors.compression import takes_gzip
from server.doors.http import http_app
from server.metrics import Metrics
from tests.server.rest.asking import ask_raw
from tests.server.rest.conftest import Api, ready

ID = UUID(int=5)
LONG = "All work and no play. " * 200


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip; q=1.000", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, br", False),
        ("notgzip", False),
    ],
)
def test_what_the_header_says_is_done(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


async def test_a_long_answer_is_compressed_and_written_at_by_its_own_tag(api: Api) -> None:
    await api("POST", "/issues", {"id": str(ID), "title": "x", "description": LONG})
    await api.project()
    path = f"/v1/workspaces/main/issues/{ID}"
    _, plain, told = await ask_raw(api.app, "GET", path)
    status, sent, headers = await ask_raw(api.app, "GET", path, accept_encoding="gzip")
    assert (status, headers["content-encoding"], headers["etag"]) == (200, "gzip", '"1-gzip"')
    assert told["vary"] == headers["vary"] == "Accept-Encoding"
    assert told["etag"] == '"1"'
    assert gzip.decompress(sent) == plain
    assert int(headers["content-length"]) == len(sent) < len(plain) // 5
    for tag in ('"1"', '"1-gzip"'):
        status, _, headers = await ask_raw(api.app, "GET", path, accept_encoding="gzip", if_none_match=tag)
        assert (status, headers["etag"]) == (304, tag)
    assert (await api("PATCH", f"/issues/{ID}", {"status": "done"}, if_match='"1-gzip"'))[0] == 200


async def test_a_short_answer_is_left_as_it_is(api: Api) -> None:
    _, sent, headers = await ask_raw(api.app, "GET", "/v1/workspaces/main", accept_encoding="gzip")
    assert json.loads(sent)["slug"] == "main"
    assert "content-encoding" not in headers


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(5):
        yield LONG.encode()


async def streamed(_request: Request) -> Response:
    return StreamingResponse(pieces(), headers={"ETag": '"s"'})


async def picture(_request: Request) -> Response:
    return Response(LONG.encode(), media_type="image/png", headers={"ETag": '"p"'})


@pytest.fixture
def app() -> Starlette:
    return http_app(Metrics(), ready, [Route("/stream", streamed), Route("/picture", picture)])


async def test_a_stream_is_compressed_piece_by_piece(app: Starlette) -> None:
    _, sent, headers = await ask_raw(app, "GET", "/stream", accept_encoding="gzip")
    assert gzip.decompress(sent).decode() == LONG * 5
    assert (headers["content-encoding"], headers["etag"]) == ("gzip", '"s-gzip"')
    assert "content-length" not in headers


async def test_what_is_compressed_already_is_left_as_it_is(app: Starlette) -> None:
    _, sent, headers = await ask_raw(app, "GET", "/picture", accept_encoding="gzip")
    assert (sent.decode(), headers["etag"]) == (LONG, '"p"')
    assert "content-encoding" not in headers


async def test_a_compressed_body_is_not_taken(api: Api) -> None:
    head = await api.head()
    body = gzip.compress(b'{"title": "bomb"}')
    status, problem, headers = await api("POST", "/issues", body, content_encoding="gzip")
    assert (status, problem["type"], headers["accept-encoding"]) == (415, "urn:syncline:problem:encoded", "identity")
    assert await api.head() == head
    assert (await api("POST", "/issues", {"title": "x"}, content_encoding="identity"))[0] == 201
