"""The strict parser of Yjs v1 updates: structure only, no knowledge of any document.

What passes is safe for pycrdt's byte functions (merge, diff): counts and lengths are bounded by the input, values are
not deeper than `max_depth`, JSON and UTF-8 are sound, no client appears twice, nothing has length zero, nothing trails.
Layout and bit meanings: Yjs `UpdateEncoderV1`, `Item.write`.
"""

import json
import math

from crdt.encoding import Reader
from crdt.errors import MALFORMED, TOO_LARGE, UNSUPPORTED, Refused
from crdt.records import (
    ANY,
    BINARY,
    DELETED,
    DOC,
    EMBED,
    FORMAT,
    GC,
    JSON,
    SKIP,
    STRING,
    TYPE,
    XML_ELEMENT,
    XML_HOOK,
    XML_TEXT,
    Limits,
    Parsed,
    Section,
    Struct,
)

MAX_CLOCK = (1 << 31) - 1  # yrs counts clocks in 32 bits


def parse(data: bytes, limits: Limits) -> Parsed:
    """Parse one update completely. Raises `Refused` (malformed, too_large, unsupported)."""
    if len(data) > limits.max_update_bytes:
        raise Refused(TOO_LARGE, f"update of {len(data)} bytes, at most {limits.max_update_bytes}")
    return _update(Reader(data), limits)


def is_quick(data: bytes, limits: Limits, most_items: int) -> bool:
    """Whether an update counts no more than so many structs, ranges and values: what it takes to check it, if it is
    sound. Reads no further than to the count that is too much."""
    try:
        _update(Reader(data, most_items), limits)
    except Refused as refused:
        return refused.reason != TOO_LARGE
    return True


def _update(reader: Reader, limits: Limits) -> Parsed:
    parsed = Parsed(reader.data)
    seen: set[int] = set()
    structs_left = limits.max_structs
    for _ in range(reader.read_count(4)):
        count = reader.read_count(2)
        client = reader.read_var_uint()
        clock = reader.read_var_uint()
        if count == 0 or client in seen:
            raise reader.refusal("empty or repeated client section")
        structs_left -= count
        if structs_left < 0:
            raise Refused(TOO_LARGE, f"more than {limits.max_structs} structs")
        seen.add(client)
        parsed.sections.append(_section(reader, client, clock, count, limits))
    _deletes(reader, parsed)
    reader.expect_end()
    return parsed


def _section(reader: Reader, client: int, clock: int, count: int, limits: Limits) -> Section:
    section = Section(client, clock)
    structs = section.structs
    for _ in range(count):
        struct = Struct(client, clock, reader.pos)
        _struct(reader, struct, limits)
        if struct.length <= 0:
            raise reader.refusal("struct of length zero")
        clock += struct.length
        if clock > MAX_CLOCK:
            raise reader.refusal("clock beyond 31 bits")
        struct.end = reader.pos
        structs.append(struct)
    section.end = clock
    return section


def _struct(reader: Reader, struct: Struct, limits: Limits) -> None:
    info = reader.read_byte()
    struct.info = info
    kind = info & 0x1F
    struct.kind = kind
    if kind in (GC, SKIP):
        if info != kind:
            raise reader.refusal("flags on a struct that has none")
        struct.content = reader.pos
        struct.length = reader.read_var_uint()
        return
    if info & 0x80:
        struct.origin_client = reader.read_var_uint()
        struct.origin_clock = reader.read_var_uint()
    if info & 0x40:
        struct.right_client = reader.read_var_uint()
        struct.right_clock = reader.read_var_uint()
    if not info & 0xC0:
        _parent(reader, struct, limits)
    struct.content = reader.pos
    _content(reader, struct, limits)


def _parent(reader: Reader, struct: Struct, limits: Limits) -> None:
    """An item without neighbours names its parent: a root by name or a type by id, and the key if it is a map entry."""
    by_name = reader.read_var_uint()
    if by_name == 1:
        struct.root = _key(reader, limits)
    elif by_name == 0:
        struct.parent_client = reader.read_var_uint()
        struct.parent_clock = reader.read_var_uint()
    else:
        raise reader.refusal("parent kind")
    if struct.info & 0x20:
        struct.key = _key(reader, limits)


def _key(reader: Reader, limits: Limits) -> str:
    key = reader.read_string()
    if len(key) > limits.max_key_bytes:
        raise Refused(TOO_LARGE, f"name of {len(key)} characters, at most {limits.max_key_bytes}")
    return key


def _content(reader: Reader, struct: Struct, limits: Limits) -> None:
    kind = struct.kind
    struct.length = 1
    if kind == STRING:
        _text(reader, struct)
    elif kind == ANY:
        struct.length = reader.read_count(1)
        for _ in range(struct.length):
            skip_any(reader, limits.max_depth)
    elif kind == DELETED:
        struct.length = reader.read_var_uint()
    elif kind == TYPE:
        struct.type_ref = reader.read_var_uint()
        if struct.type_ref > XML_TEXT or struct.type_ref == XML_HOOK:  # yrs reads a hook without its name
            raise Refused(UNSUPPORTED, f"shared type {struct.type_ref}")
        if struct.type_ref == XML_ELEMENT:
            _key(reader, limits)
    elif kind == FORMAT:
        _key(reader, limits)
        _check_json(reader, limits.max_depth)
    elif kind == EMBED:
        _check_json(reader, limits.max_depth)
    elif kind == BINARY:
        reader.skip(reader.read_var_uint())
    elif kind in (JSON, DOC):
        raise Refused(UNSUPPORTED, "sub-document" if kind == DOC else "ContentJSON (Yjs before 13)")
    else:
        raise Refused(UNSUPPORTED if kind == 11 else MALFORMED, f"content {kind}")


def _text(reader: Reader, struct: Struct) -> None:
    """A string's length is in UTF-16 units, as JavaScript counts; the places of its surrogate pairs are remembered."""
    text = reader.read_string()
    if text.isascii():
        struct.length = len(text)
        return
    pairs: list[int] = []
    clock = struct.clock
    for character in text:
        if ord(character) > 0xFFFF:
            pairs.append(clock)
            clock += 2
        else:
            clock += 1
    struct.length = clock - struct.clock
    if pairs:
        struct.pairs = pairs


def skip_any(reader: Reader, depth: int) -> None:
    """Pass over one lib0 `any` value, at most `depth` levels deep."""
    if depth <= 0:
        raise Refused(TOO_LARGE, f"value nested too deeply at byte {reader.pos}")
    tag = reader.read_byte()
    if tag == 119 or tag == 116:  # string, bytes
        start = reader.pos
        if tag == 119:
            reader.read_string()
        else:
            reader.pos = start
            reader.skip(reader.read_var_uint())
    elif tag == 125:
        reader.skip_var_int()
    elif tag == 124:
        reader.skip(4)
    elif tag == 123 or tag == 122:
        reader.skip(8)
    elif tag == 118:
        for _ in range(reader.read_count(2)):
            reader.read_string()
            skip_any(reader, depth - 1)
    elif tag == 117:
        for _ in range(reader.read_count(1)):
            skip_any(reader, depth - 1)
    elif not (tag == 127 or tag == 126 or tag == 121 or tag == 120):
        raise reader.refusal("unknown value tag")


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _check_json(reader: Reader, max_depth: int) -> None:
    """The JSON of an embed or a format: what serde accepts and no more, else the engine could not load it again."""
    text = reader.read_string()
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate escape fails here
    except (ValueError, RecursionError):
        raise reader.refusal("not JSON") from None
    if text.count("[") + text.count("{") > max_depth and depth_of(value) > max_depth:
        raise Refused(TOO_LARGE, f"JSON nested too deeply at byte {reader.pos}")


def depth_of(value: object) -> int:
    """How deep a value of JSON is nested; 1 for a plain one."""
    depth = 0
    level = [value]
    while level:
        depth += 1
        below: list[object] = []
        for entry in level:
            if isinstance(entry, dict):
                below.extend(entry.values())
            elif isinstance(entry, list):
                below.extend(entry)
        level = below
    return depth


def _deletes(reader: Reader, parsed: Parsed) -> None:
    for _ in range(reader.read_count(2)):
        client = reader.read_var_uint()
        if client in parsed.deletes:
            raise reader.refusal("client twice in the delete set")
        flat: list[int] = []
        ordered = True
        for _ in range(reader.read_count(2)):
            start = reader.read_var_uint()
            length = reader.read_var_uint()
            if length == 0 or start + length > MAX_CLOCK:
                raise reader.refusal("delete range")
            if flat and start <= flat[-1]:
                ordered = False
            flat.append(start)
            flat.append(start + length)
        if not flat or not ordered:
            parsed.deletes_canonical = False
        parsed.deletes[client] = flat if ordered else _merged(flat)


def _merged(flat: list[int]) -> list[int]:
    """Overlapping or unordered ranges as disjoint ascending ones."""
    spans = sorted((flat[at], flat[at + 1]) for at in range(0, len(flat), 2))
    merged = [spans[0][0], spans[0][1]]
    for start, end in spans[1:]:
        if start <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged.append(start)
            merged.append(end)
    return merged
