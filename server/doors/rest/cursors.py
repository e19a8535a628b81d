"""Where a page of a list ended, as a text that clients hand back and do not look into.

It carries a checksum over itself and the list it is of, so one that was changed, or belongs to another list, is
refused. There is nothing to steal in it: whoever made one up would be shown the same rows from somewhere else.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID

from storage.tables.issue_queries import KeysetValue

MAX_CHARS: Final = 2_000
_CHECKSUM_BYTES: Final = 8


def written(of: str, values: Sequence[KeysetValue]) -> str:
    """Printable in a URL as it is. `of`: which list, with its filters and order."""
    text = json.dumps([_plain(value) for value in values], separators=(",", ":")).encode()
    return urlsafe_b64encode(_checksum(of, text) + text).decode().rstrip("=")


def read(cursor: str, of: str, types: Sequence[str]) -> list[KeysetValue]:
    """The values; `types` are those of Postgres, one a value. Raises ValueError for what is no cursor of this list."""
    try:
        whole = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise ValueError("is not a cursor") from None
    checksum, text = whole[:_CHECKSUM_BYTES], whole[_CHECKSUM_BYTES:]
    if checksum != _checksum(of, text):
        raise ValueError("is not a cursor of this list: follow a list with the filters and the sort it began with")
    return [_value(value, kind) for value, kind in zip(json.loads(text), types, strict=True)]


def _plain(value: KeysetValue) -> str | int | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _value(value: str | int | None, kind: str) -> KeysetValue:
    if value is None or isinstance(value, int):
        return value
    if kind == "timestamptz":
        return datetime.fromisoformat(value)
    return UUID(value) if kind == "uuid" else value


def _checksum(of: str, text: bytes) -> bytes:
    return blake2b(text, digest_size=_CHECKSUM_BYTES, key=blake2b(of.encode()).digest()).digest()
