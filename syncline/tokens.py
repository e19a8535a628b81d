"""What a client may read in its own token: whom it names. Only the server can tell whether it is good."""

from __future__ import annotations

import base64
import binascii
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

TokenSource: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]


async def fetch(source: TokenSource) -> str:
    """The token, from wherever it comes."""
    if isinstance(source, str):
        return source
    token = source()
    return await token if inspect.isawaitable(token) else token


def claim(token: str, name: str) -> str | None:
    """A claim of a JWT, such as `sub`, the user; None when it is no text or cannot be read."""
    value = _claims(token).get(name)
    return value if isinstance(value, str) else None


def expiry(token: str) -> float | None:
    """When a JWT runs out, in seconds since 1970; None when it does not say."""
    value = _claims(token).get("exp")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    payload = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
