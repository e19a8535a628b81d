"""What a workspace may be called in addresses: one segment of a path, whoever writes or rewrites it."""

from __future__ import annotations

from typing import Final

from storage.errors import BadSlug

MAX_CHARS: Final = 100  # of the format: it is part of addresses and keys


def check_slug(slug: str) -> None:
    """Raises `BadSlug`."""
    why = _fault(slug)
    if why:
        raise BadSlug(f"a workspace cannot be called {slug[:MAX_CHARS]!r}: {why}")


def _fault(slug: str) -> str | None:
    if not slug:
        return "its name in addresses is empty"
    if len(slug) > MAX_CHARS:
        return f"a name in addresses has at most {MAX_CHARS} characters"
    if "/" in slug or "\\" in slug:
        return "a slash would divide its address"
    if slug in (".", ".."):
        return "clients take that out of an address"
    if slug != slug.strip():
        return "it begins or ends with white space"
    if not slug.isprintable():
        return "it holds characters that cannot be printed"
    return None
