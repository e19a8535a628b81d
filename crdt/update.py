"""Byte functions over Yjs v1 updates under the names used here; pycrdt does the merging and diffing.

They hold no document, and never failed on input that `parser.parse` let through. State vectors are decoded here,
because a five-byte one can claim 2**28 entries.
"""

from collections.abc import Mapping, Sequence

import pycrdt

from crdt.encoding import Reader, write_ranges, write_var_uint
from crdt.keystrokes import join_keystrokes
from crdt.parser import parse
from crdt.records import STRING, UNBOUNDED
from crdt.trim import repair_text

EMPTY_UPDATE = b"\x00\x00"
EMPTY_STATE_VECTOR = b"\x00"

_GROUP = 100  # merging n at once costs n²: 10,000 took half a second, in groups of 100 ten milliseconds


def merge(updates: Sequence[bytes]) -> bytes:
    """One update that says what all of them say, in any order; `EMPTY_UPDATE` for none."""
    if len(updates) < 2:
        return updates[0] if updates else EMPTY_UPDATE
    level = join_keystrokes(updates)
    while len(level) > 1:
        level = [
            pycrdt.merge_updates(*level[at : at + _GROUP]) if at + 1 < len(level) else level[at]
            for at in range(0, len(level), _GROUP)
        ]
    return level[0]


def diff(update: bytes, state_vector: bytes) -> bytes:
    """What a peer at `state_vector` lacks of `update`. The whole delete set is always in it."""
    return pycrdt.get_update(update, state_vector)


def encode_state_vector(clocks: Mapping[int, int]) -> bytes:
    """A state vector, highest client first as Yjs writes it; clocks of 0 say nothing and are left out."""
    known = sorted(((client, clock) for client, clock in clocks.items() if clock > 0), reverse=True)
    out = bytearray()
    write_var_uint(out, len(known))
    for client, clock in known:
        write_var_uint(out, client)
        write_var_uint(out, clock)
    return bytes(out)


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Client → clock. The count is checked against the length first: five bytes may claim 2**28 entries."""
    reader = Reader(data)
    clocks: dict[int, int] = {}
    for _ in range(reader.read_count(2)):
        client = reader.read_var_uint()
        clock = reader.read_var_uint()
        if client in clocks:
            raise reader.refusal("client twice in a state vector")
        clocks[client] = clock
    reader.expect_end()
    return clocks


def repair_cuts(update: bytes, cuts: set[tuple[int, int]]) -> bytes:
    """`update` with the surrogate pairs at `cuts` (client, clock of the first half) shown as Yjs shows them once cut.

    pycrdt cannot cut a pair: documents that hold one would read and compact wrongly without this.
    """
    if not cuts:
        return update
    by_client: dict[int, set[int]] = {}
    for client, clock in cuts:
        by_client.setdefault(client, set()).add(clock)
    parsed = parse(update, UNBOUNDED)
    out = bytearray()
    write_var_uint(out, len(parsed.sections))
    for section in parsed.sections:
        clocks = by_client.get(section.client)
        write_var_uint(out, len(section.structs))
        write_var_uint(out, section.client)
        write_var_uint(out, section.clock)
        for struct in section.structs:
            if clocks and struct.kind == STRING and struct.pairs:
                repair_text(out, update, struct, clocks)
            else:
                out += update[struct.start : struct.end]
    write_ranges(out, parsed.deletes.items())
    return bytes(out)
