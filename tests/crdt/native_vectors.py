"""The golden vectors of the native protocol as records: JSON that any implementation can read, and back.

In the files a UUID is its usual text, a bin is hex, and every field of a frame is named as in docs/protocol.md.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import UUID

from crdt import native
from crdt.native import Frame, PushEntry, ReloadPoint
from crdt.native_entries import Entry

DIRECTORY = Path(__file__).parent.parent / "vectors"
UUIDS = {"epoch", "issue", "after", "until"}
BINS = {"update", "state_vector", "body", "payload"}


def load(name: str) -> list[dict[str, Any]]:
    """The vectors of one file."""
    vectors: list[dict[str, Any]] = json.loads((DIRECTORY / f"{name}.json").read_text())
    return vectors


def frame_of(vector: dict[str, Any]) -> Frame:
    """The record a vector describes."""
    values = {name: _value(name, value) for name, value in vector["fields"].items()}
    frame: Frame = getattr(native, vector["frame"])(**values)
    return frame


def entry_of(described: dict[str, Any]) -> Entry:
    """The entry a vector describes."""
    return Entry(**{name: _value(name, value) for name, value in described.items()})


def described(record: Any) -> dict[str, Any]:
    """The other way round: the fields of a record as JSON."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in UUIDS:
        return UUID(value)
    if name in BINS:
        return bytes.fromhex(value)
    if name == "reload":
        return ReloadPoint(**{part: _value(part, inner) for part, inner in value.items()})
    if name == "entries":
        return tuple(PushEntry(**{part: _value(part, inner) for part, inner in entry.items()}) for entry in value)
    if name == "acked":
        return tuple((client_seq, seq) for client_seq, seq in value)
    return value


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case bytes():
            return value.hex()
        case ReloadPoint() | PushEntry():
            return described(value)
        case tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value
