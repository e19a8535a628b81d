"""The y-websocket dialect, sans-IO: one document a socket, frames of `varUint(type) • payload`.

    0 sync            sync message of y-protocols        both ways
    1 awareness       varUint8Array(awareness update)    both ways
    2 auth            varUint(0) • varString(reason)     server to client; we close with a code instead
    3 queryAwareness  nothing                            client to server

Source: y-protocols 1.0.7, y-websocket 3.1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crdt import sync
from crdt.encoding import Reader, write_bytes
from crdt.errors import MALFORMED, Refused
from crdt.sync import SyncMessage

SYNC: Final = 0
AWARENESS: Final = 1
AUTH: Final = 2
QUERY_AWARENESS: Final = 3

_SHORT_HEADS: Final = [bytes((SYNC, sync.UPDATE, size)) for size in range(0x80)]  # of updates, by their size

KEEP_ALIVE: Final = b"\x01\x01\x00"  # an awareness update about nobody


@dataclass(frozen=True, slots=True)
class AwarenessUpdate:
    """Presence, as encoded by y-protocols (not yet checked)."""

    update: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """The peer wants everybody's presence."""


Event = SyncMessage | AwarenessUpdate | QueryAwareness


def short_update(message: bytes) -> bytes | None:
    """The update in `00 02 <length> <update>` if it is shorter than 128 bytes, else None and `decode` must be asked.

    Nearly every message is one, so the common way through a door is this comparison and no event object.
    """
    size = len(message) - 3
    if 0 < size < 0x80 and message[2] == size and message[1] == sync.UPDATE and message[0] == SYNC:
        return message[3:]
    return None


def decode(message: bytes) -> Event:
    """One binary message from a client as an event. Raises `Refused` on anything that is not exactly one."""
    reader = Reader(message)
    match reader.read_byte():
        case 0:
            return sync.read(reader)
        case 1:
            update = reader.read_bytes()
            reader.expect_end()
            return AwarenessUpdate(update)
        case 3:
            reader.expect_end()
            return QueryAwareness()
        case _:
            raise Refused(MALFORMED, "unknown message type")


def sync_step1(state_vector: bytes) -> bytes:
    """A frame that asks the peer for what `state_vector` lacks."""
    return _sync(sync.STEP_1, state_vector)


def sync_step2(update: bytes) -> bytes:
    """The answer to a SyncStep1."""
    return _sync(sync.STEP_2, update)


def update(update: bytes) -> bytes:
    """An edit for a reader."""
    size = len(update)
    return _SHORT_HEADS[size] + update if size < 0x80 else _sync(sync.UPDATE, update)


def awareness(update: bytes) -> bytes:
    """Presence for a reader."""
    out = bytearray((AWARENESS,))
    write_bytes(out, update)
    return bytes(out)


def _sync(kind: int, payload: bytes) -> bytes:
    out = bytearray((SYNC,))
    sync.write(out, kind, payload)
    return bytes(out)
