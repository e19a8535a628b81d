"""Who wrote which characters of a text: every character keeps its id through merges and compactions, and ids keep their
writers.

The order of the characters is the engine's business. It is asked with a document whose every string was exchanged for
marks, one for each unit of it, so what comes out reads as a text of marks in place of a text of characters.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from crdt.document import Document
from crdt.encoding import write_ranges, write_string, write_var_uint
from crdt.errors import SCHEMA, Refused
from crdt.parser import parse
from crdt.records import STRING, UNBOUNDED, Struct

MAX_MARKS: Final = 50_000
_FIRST: Final = 0x100
_SURROGATES: Final = 0xD800
_AFTER_SURROGATES: Final = 0x800


@dataclass(slots=True)
class Marks:
    """Numbers given to ranges of ids: by client, the clocks at which another number begins."""

    _starts: dict[int, list[int]] = field(default_factory=dict)
    _marks: dict[int, list[int]] = field(default_factory=dict)

    def put(self, client: int, start: int, mark: int) -> None:
        """All of a client's clocks from `start` on have this mark. Later calls for a client begin later."""
        self._starts.setdefault(client, []).append(start)
        self._marks.setdefault(client, []).append(mark)

    def over(self, client: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The marks of a range of clocks, as (length, mark). Raises `Refused` where there is none."""
        starts = self._starts.get(client, [])
        at = bisect_right(starts, start) - 1
        if at < 0:
            raise Refused(SCHEMA, "a character that no update brought")
        bounds = [start, *starts[at + 1 : bisect_left(starts, end)], end]
        for place, (first, last) in enumerate(pairwise(bounds)):
            yield last - first, self._marks[client][at + place]


def brought(updates: Sequence[bytes]) -> dict[int, tuple[int, int]]:
    """The ids that updates of the log bring, from the first to behind the last of each client."""
    ids: dict[int, tuple[int, int]] = {}
    for update in updates:
        for section in parse(update, UNBOUNDED).sections:
            start, _ = ids.get(section.client, (section.clock, 0))
            ids[section.client] = (start, section.end)
    return ids


def attributed(merged: bytes, text: str, root: str, marks: Marks) -> list[tuple[str, int]]:
    """`text`, as the root of that name reads, in runs of one mark each. `merged` is the whole issue."""
    shown = _marks_shown(_marked(merged, marks), root)
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) != 2 * len(shown):
        raise Refused(SCHEMA, "the text and its marks are not of one length")
    runs: list[tuple[str, int]] = []
    start = 0
    for end in range(1, len(shown) + 1):
        if end == len(shown) or shown[end] != shown[start]:
            runs.append((units[2 * start : 2 * end].decode("utf-16-le", "replace"), shown[start]))
            start = end
    return runs


def characters_of(marks: Sequence[tuple[int, int]]) -> str:
    """Marks as characters, one UTF-16 unit each."""
    return "".join(chr(_code(mark)) * length for length, mark in marks)


def older_marks(marks: Marks, owners: Mapping[int, str], clocks: Mapping[int, int]) -> list[str | None]:
    """Give what a snapshot holds a mark an owner, from 0 on; their names by mark, None for ids without an owner."""
    names = sorted({owners[client] for client in clocks if client in owners})
    number_of = {name: number for number, name in enumerate(names)}
    for client in clocks:
        marks.put(client, 0, number_of[owners[client]] if client in owners else len(names))
    return [*names, None]


def _marks_shown(update: bytes, root: str) -> list[int]:
    return [_mark(ord(character)) for character in Document.load(update).text(root)]


def _marked(update: bytes, marks: Marks) -> bytes:
    """`update` with every string exchanged for marks."""
    parsed = parse(update, UNBOUNDED)
    out = bytearray()
    write_var_uint(out, len(parsed.sections))
    for section in parsed.sections:
        write_var_uint(out, len(section.structs))
        write_var_uint(out, section.client)
        write_var_uint(out, section.clock)
        for struct in section.structs:
            if struct.kind == STRING:
                _write_marks(out, update, struct, marks)
            else:
                out += update[struct.start : struct.end]
    write_ranges(out, parsed.deletes.items())
    return bytes(out)


def _write_marks(out: bytearray, update: bytes, struct: Struct, marks: Marks) -> None:
    out += update[struct.start : struct.content]
    over = list(marks.over(struct.client, struct.clock, struct.clock + struct.length))
    write_string(out, characters_of(over))


def _code(mark: int) -> int:
    code = _FIRST + mark
    return code if code < _SURROGATES else code + _AFTER_SURROGATES


def _mark(code: int) -> int:
    return (code if code < _SURROGATES else code - _AFTER_SURROGATES) - _FIRST
