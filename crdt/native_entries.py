"""What a page of the native feed holds: its entries, the rows that light clients get in place of updates, conflicts.

body  = msgpack array of entries, zlib if the page says so
entry = [issue, seq, kind, payload]
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgpack  # type: ignore[import-untyped]

from crdt.errors import MALFORMED, TOO_LARGE, Refused
from crdt.frame_reader import FrameReader

UPDATE: Final = 0  # payload: an update, all of the issue that is new in the page
SNAPSHOT: Final = 1  # payload: the whole issue as one update
ROW: Final = 2  # payload: its row as a msgpack map; empty when it has none (under quarantine)
TOMBSTONE: Final = 3  # payload: empty; the issue was deleted for good, its conflicts with it
CONFLICT: Final = 4  # payload: one of its conflicts as JSON; `seq`: the number of its newest change. Not in a page

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
MAX_ENTRIES: Final = 1_000_000
MAX_ROW_ITEMS: Final = 20_000  # of one list in a row


@dataclass(frozen=True, slots=True)
class Entry:
    """One issue in a page. `seq`: the newest of its deltas that is in here."""

    issue: UUID
    seq: int
    kind: int
    payload: bytes


def write_entry(entry: Entry) -> bytes:
    """One entry, encoded."""
    packed: bytes = msgpack.packb([entry.issue.bytes, entry.seq, entry.kind, entry.payload])
    return packed


def write_body(entries: Iterable[bytes], count: int) -> bytes:
    """`count` encoded entries as a body, not packed."""
    return b"".join([msgpack.Packer().pack_array_header(count), *entries])


def read_entries(body: bytes, is_packed: bool, max_body_bytes: int = MAX_BODY_BYTES) -> list[Entry]:
    """The entries of a page. Raises `Refused`."""
    reader = FrameReader(unpack_body(body, max_body_bytes) if is_packed else body)
    entries = [_read_entry(reader, max_body_bytes) for _ in range(reader.array(MAX_ENTRIES))]
    reader.expect_end()
    return entries


def unpack_body(packed: bytes, max_body_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Undo zlib, up to a bound. Raises `Refused`."""
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(packed, max_body_bytes)
    except zlib.error:
        raise Refused(MALFORMED, "not a zlib stream") from None
    if inflate.unconsumed_tail:
        raise Refused(TOO_LARGE, f"a page above {max_body_bytes} bytes")
    if not inflate.eof or inflate.unused_data:
        raise Refused(MALFORMED, "not exactly one zlib stream")
    return body


def write_row(row: Mapping[str, object]) -> bytes:
    """A row as the payload of an entry. Values are strings, integers, None, lists and maps of these."""
    packed: bytes = msgpack.packb(row)
    return packed


def read_row(payload: bytes) -> dict[str, Any] | None:
    """The row of an entry; None when the issue has none. Raises `Refused`."""
    if not payload:
        return None
    try:
        row = msgpack.unpackb(payload, max_array_len=MAX_ROW_ITEMS, max_map_len=100, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        raise Refused(MALFORMED, "not a row") from None
    if not isinstance(row, dict):
        raise Refused(MALFORMED, "not a row")
    return row


def write_conflict(conflict: Mapping[str, object]) -> bytes:
    """A conflict as the payload of an entry. JSON, because what somebody wrote into a field may be anything it has."""
    return json.dumps(conflict, separators=(",", ":")).encode()


def read_conflict(payload: bytes) -> dict[str, Any]:
    """The conflict of an entry. Raises `Refused`."""
    try:
        conflict = json.loads(payload)
    except (ValueError, RecursionError):
        raise Refused(MALFORMED, "not a conflict") from None
    if not isinstance(conflict, dict):
        raise Refused(MALFORMED, "not a conflict")
    return conflict


def _read_entry(reader: FrameReader, max_bytes: int) -> Entry:
    reader.fields(4)
    entry = Entry(reader.uuid(), reader.uint(), reader.uint(), reader.binary(max_bytes))
    if entry.kind > CONFLICT:
        raise Refused(MALFORMED, "unknown kind of entry")
    return entry
