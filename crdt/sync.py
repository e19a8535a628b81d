"""The sync messages of y-protocols: SyncStep1, SyncStep2 and Update, without the envelope a dialect puts around them.

Strict: a message is exactly one kind, one length and that many bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crdt.encoding import Reader, write_bytes
from crdt.errors import MALFORMED, TOO_LARGE, Refused

STEP_1: Final = 0
STEP_2: Final = 1
UPDATE: Final = 2

MAX_STATE_VECTOR_BYTES: Final = 1 << 20  # about 100,000 clients


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """What a peer has, as an encoded state vector (not yet checked); it asks for the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """The answer to a SyncStep1: one update, often empty."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """An edit as it happens."""

    update: bytes


SyncMessage = SyncStep1 | SyncStep2 | Update


def read(reader: Reader) -> SyncMessage:
    """The message `reader` stands at, through the end of the frame. Raises `Refused` on anything else."""
    kind = reader.read_byte()
    if kind > UPDATE:
        raise Refused(MALFORMED, "unknown sync message")
    payload = reader.read_bytes()
    reader.expect_end()
    if kind == UPDATE:
        return Update(payload)
    if kind == STEP_2:
        return SyncStep2(payload)
    if len(payload) > MAX_STATE_VECTOR_BYTES:
        raise Refused(TOO_LARGE, "state vector")
    return SyncStep1(payload)


def write(out: bytearray, kind: int, payload: bytes) -> None:
    """Append the message `kind` (`STEP_1`, `STEP_2` or `UPDATE`)."""
    out.append(kind)
    write_bytes(out, payload)
