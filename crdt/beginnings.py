"""Issues that are begun twice. Whoever writes the first character of a title that has none refers to nothing; who does
so where there is one already did not know of it. Deleted characters count: who knows a text that was emptied refers to
them.
"""

from typing import Final

from crdt import ranges
from crdt.encoding import Reader, write_string, write_var_uint
from crdt.index import ROOT, Index
from crdt.records import ANY, DELETED, NOBODY, STRING, Section, Struct

BEGINNING: Final = ""  # among `heads`: the beginning that stands, of the lowest client id, whose title comes first
TITLE: Final = "title"
MAX_TOLD_BYTES: Final = 1_024  # of a beginning: what is too long is left out, the title last

_STRING: Final = 119
_OBJECT: Final = 118
_ARRAY: Final = 117
_TRUE: Final = 120


class Written:
    """One text as its only author left it: units of UTF-16 in their order, by clock."""

    def __init__(self) -> None:
        self.clocks: list[int] = []
        self.units: dict[int, bytes] = {}
        self.is_too_long = False

    def take(self, struct: Struct, text: str) -> None:
        """Each struct goes right behind the character that its author saw before it; of what they erased there is no
        text, but others go behind it."""
        self.is_too_long = self.is_too_long or len(self.clocks) + struct.length > MAX_TOLD_BYTES
        if self.is_too_long:
            return
        at = 0
        if struct.origin_client != NOBODY:
            is_last = len(self.clocks) > 0 and self.clocks[-1] == struct.origin_clock
            at = len(self.clocks) if is_last else self.clocks.index(struct.origin_clock) + 1
        encoded = text.encode("utf-16-le", "surrogatepass")
        added = list(range(struct.clock, struct.clock + struct.length))
        self.clocks[at:at] = added
        for place, clock in enumerate(added):
            self.units[clock] = encoded[2 * place : 2 * place + 2]

    def text(self, deleted: list[int]) -> str:
        """Without what they took out again; `deleted` are flat ranges."""
        left = [self.units[clock] for clock in self.clocks if not ranges.contains(deleted, clock)]
        return b"".join(left).decode("utf-16-le", "replace")


def beginning_of(index: Index, data: bytes, section: Section, deleted: list[int]) -> bytes:
    """What an update says of an issue in the name of one client, as the `any` bytes of an object: title, description
    and labels, as far as they are short enough; nothing where all of it is empty."""
    title = Written()
    description = Written()
    labels: list[str] = []
    for struct in section.structs:
        if struct.kind not in (STRING, DELETED, ANY) or struct.clock >= index.state_vector.get(struct.client, 0):
            continue
        place = index.places[index.place_of(struct.client, struct.clock) >> 1]
        if place.parent.kind != ROOT:
            continue
        name = place.parent.name
        if struct.kind == ANY:
            if place.key is not None and name == "labels" and data[struct.end - 1] == _TRUE:
                labels.append(place.key)
        elif place.key is None and (name == TITLE or name == "description"):
            _read(data, struct, title if name == TITLE else description)
    told: list[tuple[str, bytes]] = []
    size = 0
    is_empty = not labels
    for name, text in ((TITLE, title), ("description", description)):
        left = text.text(deleted)
        is_empty = is_empty and not left and not text.is_too_long
        value = _text(left)
        size += len(value)
        if not text.is_too_long and size <= MAX_TOLD_BYTES:
            told.append((name, value))
    value = _texts(sorted(labels))
    if size + len(value) <= MAX_TOLD_BYTES:
        told.append(("labels", value))
    return b"" if is_empty else _object(told)


def is_whole(told: bytes) -> bool:
    """Whether nothing was left out of a beginning."""
    return told[1] == 3


def _read(data: bytes, struct: Struct, written: Written) -> None:
    """What is written behind a character of somebody else was written when they were heard of: it begins nothing."""
    is_own = struct.origin_client == struct.client and struct.origin_clock in written.units
    if is_own or struct.origin_client == NOBODY or written.is_too_long:
        reader = Reader(data)
        reader.pos = struct.content
        written.take(struct, reader.read_string() if struct.kind == STRING else "")


def _text(text: str) -> bytes:
    out = bytearray([_STRING])
    write_string(out, text)
    return bytes(out)


def _texts(texts: list[str]) -> bytes:
    out = bytearray([_ARRAY])
    write_var_uint(out, len(texts))
    return bytes(out) + b"".join(map(_text, texts))


def _object(entries: list[tuple[str, bytes]]) -> bytes:
    out = bytearray([_OBJECT])
    write_var_uint(out, len(entries))
    for name, value in entries:
        write_string(out, name)
        out += value
    return bytes(out)
