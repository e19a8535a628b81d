"""Requests over one kept connection, and how long each took."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bench.plan import percentile
from bench.report import Value

SHARES: Final = {"p50 ms": 0.50, "p95 ms": 0.95, "p99 ms": 0.99, "max ms": 1.0}


class Unanswered(ValueError):
    """An answer that was not what was asked for; the text is its beginning."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request below `/v1/workspaces/{workspace}`; `body`: as JSON, None for none."""

    method: str
    path: str
    body: Any = None


class Asker:
    """One client of a server, a request at a time."""

    def __init__(self, url: str, workspace: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        self._root = f"/v1/workspaces/{workspace}"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, request: Request) -> tuple[float, Any]:
        """Seconds until the whole answer is there, and what it says. Raises Unanswered."""
        body = None if request.body is None else json.dumps(request.body)
        started = time.perf_counter()
        self._connection.request(request.method, self._root + request.path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        took = time.perf_counter() - started
        if answer.status >= 400:
            raise Unanswered(f"{request.method} {request.path}: {answer.status} {content[:300].decode()}")
        return took, json.loads(content) if content else None

    def time(self, requests: Iterable[Request]) -> list[float]:
        """Seconds of each."""
        return [self.ask(request)[0] for request in requests]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def spread(seconds: Sequence[float]) -> dict[str, Value]:
    """`SHARES` of what requests took, in milliseconds."""
    ascending = sorted(seconds)
    return {name: percentile(ascending, share) * 1e3 for name, share in SHARES.items()}
