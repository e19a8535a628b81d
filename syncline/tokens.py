"""What a client may read in its own token: whom it names. Only the server can tell whether it is good."""

from __future__ import annotations

import base64
import binascii
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

TokenSource: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]


async def fetch(source: TokenSource) -> str:
    """The token, from wherever it comes."""
    if isinstance(source, str):
        return source
    token = source()
    return await token if inspect.isawaitable(token) else token


def claim(token: str, name: str) -> str | None:
    """A claim of a JWT, such as `sub`, the user; None when it is no text or cannot be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    payload = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload))
    except (binascii.Error, ValueError):
        return None
    value = claims.get(name) if isinstance(claims, dict) else None
    return value if isinstance(value, str) else None
