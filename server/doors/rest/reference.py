"""`GET /v1/openapi.json`, and `GET /v1/docs`: a page that shows it, which needs nothing but this server."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from starlette.responses import Response

from server.doors.rest.openapi import document
from server.doors.rest.operations import JSON, Answer, Call, Nothing, Operation, Served
from server.doors.rest.paths import Place

_HTML: Final = "text/html"
_CACHED: Final = {"Cache-Control": "public, max-age=300"}

OPENAPI: Final = Operation(
    method="GET",
    path="/v1/openapi.json",
    id="openapi",
    tag="reference",
    summary="This document",
    place=Place,
    query=Nothing,
    body=Nothing,
    needs=None,
    answers={HTTPStatus.OK: Answer("OpenAPI 3.1.", media=(JSON,))},
)
DOCS: Final = Operation(
    method="GET",
    path="/v1/docs",
    id="docs",
    tag="reference",
    summary="This document as a page to browse",
    place=Place,
    query=Nothing,
    body=Nothing,
    needs=None,
    answers={HTTPStatus.OK: Answer("A page.", media=(_HTML,))},
)


class Reference:
    """Both, for `served` and themselves."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._served = [*served, *self.operations()]
        self._page = files("server.doors.rest").joinpath("reference.html").read_text()
        self._policy = _policy(self._page)

    def operations(self) -> list[Served]:
        """What is served here."""
        return [OPENAPI.by(self.openapi), DOCS.by(self.docs)]

    async def openapi(self, _call: Call[Place, Nothing, Nothing]) -> Response:
        """The document."""
        # Away from the loop, once, and only if somebody asks: every start of a node would pay for it otherwise.
        written = await asyncio.to_thread(lambda: self._document)
        return Response(written, media_type=JSON, headers=_CACHED)

    async def docs(self, _call: Call[Place, Nothing, Nothing]) -> Response:
        """The page."""
        headers = {"Content-Security-Policy": self._policy, "X-Content-Type-Options": "nosniff", **_CACHED}
        return Response(self._page, media_type=_HTML, headers=headers)

    @cached_property
    def _document(self) -> bytes:
        return json.dumps(document(self._served), ensure_ascii=False).encode()


def _policy(page: str) -> str:
    """What the page may do: run its own script and style, and fetch from here."""
    hashes = {
        tag: " ".join(f"'sha256-{_hash(text)}'" for text in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL))
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
