"""Values of the fields a record has, as structs wrote them: what the gate keeps of each field so that it can say which
values met, and how their bytes are read.
"""

import struct as packing
from typing import Final

from crdt.encoding import Reader, write_bytes, write_string, write_var_uint
from crdt.errors import Refused
from crdt.records import FieldWrite

VALUES: Final = "fields"  # the root with the values
STAMPS: Final = "stamps"  # and the one with the clocks of their writers

# The keys of `fields` of which one value stands. Who created an issue, and when, is said once and never decided upon.
DECIDED: Final = frozenset(("status", "priority", "userId", "sessionId", "claudeTaskId", "completedAt", "deletedAt"))
DELETED_AT: Final = "deletedAt"  # the one that says that an issue is deleted
MAX_VALUE_BYTES: Final = 4096  # more than any value that a record shows; what is longer counts as unreadable
_MAX_DEPTH: Final = 8


def same_value(key: str, one: bytes, other: bytes) -> bool:
    """Whether two values mean the same: two who delete an issue agree, whenever each of them did it."""
    if one == other:
        return True
    left, right = read_any(one), read_any(other)
    if key == DELETED_AT:
        return (left in (None, "")) == (right in (None, ""))
    return left == right or (left in (None, "") and right in (None, ""))


def says_something(value: bytes) -> bool:
    """Whether a value is neither null nor empty."""
    return read_any(value) not in (None, "")


def read_any(data: bytes) -> object:
    """A value as JSON has it; None for what JSON has not, and for no bytes."""
    if not data:
        return None
    reader = Reader(data)
    try:
        return _any(reader, _MAX_DEPTH)
    except (Refused, packing.error):
        return None


def _any(reader: Reader, depth: int) -> object:
    tag = reader.read_byte()
    if depth <= 0:
        raise reader.refusal("nested too deeply")
    if tag == 119:
        return reader.read_string()
    if tag == 120 or tag == 121:
        return tag == 120
    if tag == 125:
        return _var_int(reader)
    if tag == 124 or tag == 123:
        return _float(reader, 4 if tag == 124 else 8)
    if tag == 122:
        return int.from_bytes(_take(reader, 8), "big", signed=True)
    if tag == 118:
        entries: dict[str, object] = {}
        for _ in range(reader.read_count(2)):
            name = reader.read_string()
            entries[name] = _any(reader, depth - 1)
        return entries
    if tag == 117:
        return [_any(reader, depth - 1) for _ in range(reader.read_count(1))]
    if tag == 116:
        reader.read_bytes()
    return None


def _take(reader: Reader, length: int) -> bytes:
    start = reader.pos
    reader.skip(length)
    return reader.data[start : start + length]


def _float(reader: Reader, length: int) -> object:
    (number,) = packing.unpack(">f" if length == 4 else ">d", _take(reader, length))
    if number != number or number in (float("inf"), float("-inf")):
        return None
    return int(number) if number.is_integer() and abs(number) < 1 << 53 else number


def _var_int(reader: Reader) -> int:
    """lib0's varInt: a sign and six bits, then seven bits a byte."""
    byte = reader.read_byte()
    negative = byte & 0x40 != 0
    value = byte & 0x3F
    shift = 6
    while byte >= 0x80:
        byte = reader.read_byte()
        value |= (byte & 0x7F) << shift
        shift += 7
    return -value if negative else value


def write_field_write(out: bytearray, write: FieldWrite) -> None:
    """Append one, for the stored index."""
    write_var_uint(out, write.client)
    write_var_uint(out, write.clock)
    write_bytes(out, write.value)
    write_bytes(out, write.stamp)
    write_string(out, write.actor)
    write_string(out, write.device)
    write_var_uint(out, write.at_ms)


def read_field_write(reader: Reader) -> FieldWrite:
    """What `write_field_write` wrote. Raises `Refused` on anything else."""
    client = reader.read_var_uint()
    clock = reader.read_var_uint()
    value = reader.read_bytes()
    stamp = reader.read_bytes()
    actor = reader.read_string()
    device = reader.read_string()
    return FieldWrite(client, clock, value, stamp, actor, device, reader.read_var_uint())
