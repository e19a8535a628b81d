"""Where a page of a list ended, as a text that clients hand back and do not look into.

It carries a checksum over itself and the list it is of, so one that was changed, or belongs to another list, is
refused. There is nothing to steal in it: whoever made one up would be shown the same rows from somewhere else.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID

from storage.tables.issue_queries import KeysetValue

MAX_CHARS: Final = 2_000  # of what we write ourselves
_CHECKSUM_BYTES: Final = 8
_INT_BITS: Final = {"int": 32, "int8": 64}


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
    try:
        values = json.loads(text)
        if not isinstance(values, list):
            raise ValueError
        return [_value(value, kind) for value, kind in zip(values, types, strict=True)]
    except (ValueError, RecursionError, OverflowError):
        raise ValueError("is not a cursor") from None


def _plain(value: KeysetValue) -> str | int | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _value(value: object, kind: str) -> KeysetValue:
    """What Postgres takes for that type. Raises ValueError: whoever has read this can make a cursor of anything."""
    if value is None:
        return None
    if kind in _INT_BITS:
        if type(value) is int and -(1 << _INT_BITS[kind] - 1) <= value < 1 << _INT_BITS[kind] - 1:
            return value
    elif isinstance(value, str):
        return _read_text(value, kind)
    raise ValueError


def _read_text(value: str, kind: str) -> KeysetValue:
    if kind == "uuid":
        return UUID(value)
    if kind == "timestamptz":
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    value.encode()  # half a surrogate pair raises
    if "\0" in value:
        raise ValueError
    return value


def _checksum(of: str, text: bytes) -> bytes:
    return blake2b(text, digest_size=_CHECKSUM_BYTES, key=blake2b(of.encode()).digest()).digest()
