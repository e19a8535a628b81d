"""Rewriting single structs: the tail of one that is half known, and text whose surrogate pairs were cut.

Both follow Yjs: what is cut off a struct names the unit before it as its origin, and a surrogate pair that is cut shows
as two U+FFFD (`Item.write`, `ContentString.splice`). Clocks stay what they are, two UTF-16 units either way.
"""

from crdt.encoding import Reader, write_string, write_var_uint
from crdt.parser import skip_any
from crdt.records import ANY, DELETED, GC, SKIP, STRING, Parsed, Section, Struct

REPLACEMENT = "\ufffd"


def tail_of(out: bytearray, data: bytes, struct: Struct, offset: int) -> None:
    """Append what is left of a struct after its first `offset` clocks (0 < offset < length)."""
    if struct.kind == GC:
        out.append(GC)
        write_var_uint(out, struct.length - offset)
        return
    out.append(struct.info & 0x1F | 0x80 | struct.info & 0x60)
    write_var_uint(out, struct.client)
    write_var_uint(out, struct.clock + offset - 1)
    if struct.right_client >= 0:
        write_var_uint(out, struct.right_client)
        write_var_uint(out, struct.right_clock)
    if struct.kind == STRING:
        write_string(out, utf16_tail(_text(data, struct), offset))
    elif struct.kind == DELETED:
        write_var_uint(out, struct.length - offset)
    elif struct.kind == ANY:
        _any_tail(out, data, struct, offset)
    else:
        raise AssertionError(f"content {struct.kind} has length 1 and cannot be cut")


def write_section(out: bytearray, parsed: Parsed, section: Section, before: int, now: int) -> None:
    """The structs of one client between two clocks. Only the first can be cut: admission stops between structs."""
    structs = [
        struct
        for struct in section.structs
        if struct.clock + struct.length > before and struct.clock < now and struct.kind != SKIP
    ]
    write_var_uint(out, len(structs))
    write_var_uint(out, section.client)
    write_var_uint(out, before)
    first = structs[0]
    if first.clock < before:
        tail_of(out, parsed.data, first, before - first.clock)
    else:
        out += parsed.data[first.start : first.end]
    if len(structs) > 1:
        out += parsed.data[structs[1].start : structs[-1].end]


def repair_text(out: bytearray, data: bytes, struct: Struct, cuts: set[int]) -> None:
    """Append a string struct with the pairs at the clocks `cuts` replaced by two U+FFFD each."""
    out += data[struct.start : struct.content]
    clock = struct.clock
    repaired: list[str] = []
    for character in _text(data, struct):
        astral = ord(character) > 0xFFFF
        repaired.append(REPLACEMENT * 2 if astral and clock in cuts else character)
        clock += 2 if astral else 1
    write_string(out, "".join(repaired))


def utf16_tail(text: str, offset: int) -> str:
    """`text` without its first `offset` UTF-16 units; half a pair left over shows as U+FFFD."""
    if text.isascii():
        return text[offset:]
    units = 0
    for at, character in enumerate(text):
        if units == offset:
            return text[at:]
        units += 2 if ord(character) > 0xFFFF else 1
        if units > offset:
            return REPLACEMENT + text[at + 1 :]
    return ""


def _text(data: bytes, struct: Struct) -> str:
    reader = Reader(data)
    reader.pos = struct.content
    return reader.read_string()


def _any_tail(out: bytearray, data: bytes, struct: Struct, offset: int) -> None:
    reader = Reader(data)
    reader.pos = struct.content
    reader.read_var_uint()
    for _ in range(offset):
        skip_any(reader, 1 << 10)
    write_var_uint(out, struct.length - offset)
    out += data[reader.pos : struct.end]
