"""Asks the server to decide a conflict: the one thing here that goes over HTTP, because somebody waits for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from syncline.conflict import Conflict
from syncline.errors import ConflictNotFound, ConflictResolved, NotAccepted, ServerUnreachable, TooManyRequests

ANSWER_SECONDS: Final = 20.0
_MAX_ANSWER_BYTES: Final = 16 << 20
_SYNC: Final = "/sync"


def resolve(sync_url: str, token: str, device_id: str, conflict_id: UUID, wanted: Mapping[str, Any]) -> Conflict:
    """Blocking. `sync_url`: of the workspace's socket · `wanted`: the body of the request.

    Raises what `Conflicts.resolve` does, and `TooManyRequests` at once.
    """
    parts = urlsplit(sync_url)
    kind = HTTPSConnection if parts.scheme == "wss" else HTTPConnection
    connection = kind(parts.netloc, timeout=ANSWER_SECONDS)
    path = f"{parts.path.removesuffix(_SYNC)}/conflicts/{conflict_id}/resolve"
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "X-Device-Id": device_id,
    }
    try:
        connection.request("POST", path, json.dumps(wanted), headers)
        answer = connection.getresponse()
        status, body, later = answer.status, answer.read(_MAX_ANSWER_BYTES), answer.getheader("Retry-After", "")
    except (OSError, HTTPException) as error:
        raise ServerUnreachable(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise TooManyRequests(int(later) if later.isdecimal() else 1)
    return _read(status, body, conflict_id)


def _read(status: int, body: bytes, conflict_id: UUID) -> Conflict:
    try:
        told = json.loads(body)
        if status == HTTPStatus.OK:
            return Conflict.of(told, 0)
        resolved = told.get("conflict")
        slug = str(told.get("type", "")).rpartition(":")[2] or str(status)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ServerUnreachable(f"the server answers with HTTP {status}") from None
    if status == HTTPStatus.NOT_FOUND:
        raise ConflictNotFound(conflict_id)
    if status == HTTPStatus.CONFLICT and isinstance(resolved, dict):
        raise ConflictResolved(conflict_id, str(resolved.get("resolved_by")), str(resolved.get("resolution")))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServerUnreachable(f"the server answers with HTTP {status}")
    raise NotAccepted(slug, str(told.get("detail") or told.get("title") or ""))
