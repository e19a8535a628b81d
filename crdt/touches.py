"""Which parts of an issue an update touches, told from its bytes alone: a path for each, from the root down.

A path is ("title",), ("fields", "status"), ("labels", "bug"), ("comments", id, "body"), or begins with another root.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Final, TypeAlias

from crdt.index import GONE, Index
from crdt.issue import MAX_SHORT_CHARS, printable
from crdt.parser import parse
from crdt.records import EMBED, FORMAT, NOBODY, TYPE, UNBOUNDED, Section
from crdt.shape import FIELD_KEYS

Path: TypeAlias = tuple[str, ...]

RICH: Final = "*"  # stands at the end of a path for what is in a text and is no character
_MAX_PARTS: Final = 8  # a path says where, not how deep a rich text is nested
_MAX_OTHERS: Final = 20
_MAX_PIECES: Final = 20_000  # a few milliseconds

_TEXTS: Final = frozenset({"title", "description"})
_KEYS: Final = frozenset(FIELD_KEYS.values())
_COMMENT_KEYS: Final = frozenset({"author", "createdAt", "editedAt", "deletedAt", "body"})


def touched(index: Index, update: bytes) -> set[Path]:
    """The paths of everything an update writes or deletes. `index` holds the update already; what was collected as
    garbage has no path any more."""
    parsed = parse(update, UNBOUNDED)
    places: set[int] = set()
    rich: set[int] = set()
    for section in parsed.sections:
        places.update(_places(index, section.client, section.clock, section.end))
        rich.update(_rich(index, section))
    for client, flat in parsed.deletes.items():
        for at in range(0, len(flat), 2):
            places.update(_places(index, client, flat[at], flat[at + 1]))
    paths = {path_of(index, place) for place in places if place != GONE}
    return paths | {(*path_of(index, place), RICH) for place in rich if place != GONE}


def written_in(index: Index, spans: Mapping[int, tuple[int, int]]) -> set[Path]:
    """The paths of what was written in spans of clocks, by client; of no more than a bounded number of pieces."""
    pieces = chain.from_iterable(_places(index, client, start, end) for client, (start, end) in spans.items())
    return {path_of(index, place) for place in set(islice(pieces, _MAX_PIECES)) if place != GONE}


def others(paths: Iterable[Path]) -> list[str]:
    """Those of which no row tells, printable, a bounded number."""
    shown = {printable(".".join(path))[:MAX_SHORT_CHARS] for path in paths if not _is_projected(path)}
    return sorted(shown)[:_MAX_OTHERS]


def path_of(index: Index, place: int) -> Path:
    """The path of a place by its number (not doubled), () for one that hangs on garbage."""
    parts: list[str] = []
    while place != GONE:
        there = index.places[place]
        if there.key is not None:
            parts.append(there.key)
        if there.parent.client == NOBODY:
            parts.append(there.parent.name)
            return tuple(parts[: -_MAX_PARTS - 1 : -1])
        place = index.place_of(there.parent.client, there.parent.clock) >> 1
    return ()


def _is_projected(path: Path) -> bool:
    match path:
        case () | ("stamps", *_) | ("labels", _) | ("comments", _):
            return True
        case (root,):
            return root in _TEXTS
        case ("fields", key):
            return key in _KEYS
        case ("comments", _, key):
            return key in _COMMENT_KEYS
    return False


def _places(index: Index, client: int, start: int, end: int) -> Iterator[int]:
    runs = index.runs.get(client)
    if runs is None:
        return
    for at in range(max(bisect_right(runs.starts, start) - 1, 0), len(runs.starts)):
        if runs.starts[at] >= end:
            return
        yield runs.places[at] >> 1


def _rich(index: Index, section: Section) -> Iterator[int]:
    for struct in section.structs:
        if struct.kind in (FORMAT, EMBED, TYPE):
            place = index.place_of(section.client, struct.clock) >> 1
            if index.places[place].key is None:
                yield place
