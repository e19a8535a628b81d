"""Does an update change what anybody sees? What a viewer may not send, and what nobody may be told ahead of the log.

Repeating what is known is no change, and every honest replica does it: SyncStep2 carries its whole delete set, in which
are also deletions nobody made, such as the loser's of two concurrent values, which every replica deletes for itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from crdt import ranges
from crdt.index import GONE, Index, Place
from crdt.parser import parse
from crdt.records import NOBODY, Limits


def says_something_new(index: Index, update: bytes, limits: Limits) -> bool:
    """Whether an update holds a struct that `index` does not, or deletes something visible. Raises `Refused` on
    malformed bytes."""
    parsed = parse(update, limits)
    if any(section.end > index.state_vector.get(section.client, 0) for section in parsed.sections):
        return True
    if any(flat and flat[-1] > index.state_vector.get(client, 0) for client, flat in parsed.deletes.items()):
        return True
    return any(True for _ in visible_deletes(index, parsed.deletes))


def visible_deletes(index: Index, deletes: Mapping[int, list[int]]) -> Iterator[tuple[int, int, Place]]:
    """What of `deletes` (client → flat ranges) is known and there to be seen: client, clock and place, once for all
    that share a sequence."""
    for client, flat in deletes.items():
        known = index.state_vector.get(client, 0)
        deleted = index.deleted.get(client, [])
        for at in range(0, len(flat), 2):
            missing = ranges.missing(deleted, flat[at], min(flat[at + 1], known))
            for gap in range(0, len(missing), 2):
                for first, place in _stretches(index, client, missing[gap], missing[gap + 1]):
                    if _is_visible(index, client, first, place):
                        yield client, first, index.places[place >> 1]


def _stretches(index: Index, client: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What stands at [start, end): a clock and its place (with the deleted bit), one for all that share a sequence,
    each alone where a key holds them."""
    runs = index.runs[client]
    at = bisect_right(runs.starts, start) - 1
    while start < end:
        until = min(end, runs.starts[at + 1]) if at + 1 < len(runs.starts) else end
        place = runs.places[at]
        if index.places[place >> 1].key is None:
            yield start, place
        else:
            yield from ((clock, place) for clock in range(start, until))
        start = until
        at += 1


def _is_visible(index: Index, client: int, clock: int, place: int) -> bool:
    """Whether a struct that no delete set names is there to be seen: not overwritten, and in nothing that is gone."""
    while True:
        if place & 1 or place >> 1 == GONE:
            return False
        there = index.places[place >> 1]
        if there.key is not None and not _is_value(there, client, clock):
            return False
        client, clock = there.parent.client, there.parent.clock
        if client == NOBODY:
            return True
        if ranges.contains(index.deleted.get(client, []), clock):
            return False
        place = index.place_of(client, clock)


def _is_value(place: Place, client: int, clock: int) -> bool:
    return bool(place.chain) and place.chain[-1][:2] == (client, clock)
