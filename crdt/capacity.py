"""How much one issue may hold. Whoever would make it grow beyond that is refused; whoever makes it shrink is not.

Deleting leaves something behind, and so does saying in a field that an issue is done or deleted. Both are upkeep: they
are taken up to twice the bound, so that whoever meets it can still put things right, and nobody can grow an issue by it
for ever.
"""

from typing import Final

from crdt import ranges
from crdt.errors import FULL, Refused
from crdt.field_writes import DECIDED, STAMPS, VALUES
from crdt.index import COMMENT, GONE, Index, Place
from crdt.records import ANY, DELETED, GC, NOBODY, STRING, Capacity, Struct

UPKEEP: Final = 2  # times the bound
_DELETED_AT: Final = "deletedAt"  # of the issue and of a comment
_MERGED: Final = (STRING, ANY, DELETED)


class Growth:
    """What one update adds to its issue: bytes of new structs, whether all are upkeep, and whether a comment begins."""

    def __init__(self) -> None:
        self.added_bytes = 0
        self.is_upkeep = True
        self.begins_comment = False

    def count(self, index: Index, struct: Struct, known: int, place: Place) -> None:
        """A struct is new from clock `known` on, and will be in that place."""
        self.added_bytes += struct.end - struct.start
        if not _continues(index, struct, known):
            index.structs += 1
        if not _is_upkeep(place):
            self.is_upkeep = False
        if place.attribution == COMMENT and not place.chain:
            self.begins_comment = True

    def judge(self, index: Index, capacity: Capacity, deletes: dict[int, list[int]]) -> None:
        """Raises `Refused` where the issue may not become what the index holds already, or not lose what is deleted."""
        if self.added_bytes:
            times = UPKEEP if self.is_upkeep else 1
            _expect(index.stored_bytes + self.added_bytes, capacity.max_bytes, times, "bytes")
            _expect(index.structs, capacity.max_structs, times, "structs")
            _expect(index.tombstones, capacity.max_tombstones, times, "tombstones")
        if self.begins_comment:
            _expect(_comments_in(index), capacity.max_comments, 1, "comments")
        if index.tombstones + sum([len(flat) // 2 for flat in deletes.values()]) > capacity.max_tombstones * UPKEEP:
            # A client that comes back names all that it knows of.
            new = _count_new(index, deletes)
            if new:
                _expect(index.tombstones + new, capacity.max_tombstones, UPKEEP, "tombstones")


def has_room(index: Index, capacity: Capacity, added_bytes: int, added_structs: int) -> bool:
    """Whether the issue may grow by so much."""
    return (
        index.stored_bytes + added_bytes <= capacity.max_bytes
        and index.structs + added_structs <= capacity.max_structs
        and index.tombstones <= capacity.max_tombstones
    )


def _is_upkeep(place: Place) -> bool:
    """Whether a value in this place is no growth: a field of the issue that is overwritten, or a mark of deletion."""
    key = place.key
    if key is None:
        return False
    parent = place.parent
    return key == _DELETED_AT or (key in DECIDED and parent.client == NOBODY and parent.name in (VALUES, STAMPS))


def _continues(index: Index, struct: Struct, known: int) -> bool:
    """Whether a document keeps this struct in one with the last of its author: text that was typed on, garbage behind
    garbage. Such a struct costs its bytes only."""
    runs = index.runs.get(struct.client)
    if runs is None:
        return False
    if struct.kind == GC:
        return runs.places[-1] == GONE * 2 + 1
    if struct.kind != runs.kind or struct.kind not in _MERGED:
        return False
    if struct.right_client != runs.right_client or struct.right_clock != runs.right_clock:
        return False
    return known > struct.clock or (struct.origin_client == struct.client and struct.origin_clock == known - 1)


def _comments_in(index: Index) -> int:
    """How many were ever begun: what is left of a deleted one counts."""
    root = index.roots.get("comments")
    return 0 if root is None else len(root.keys)


def _count_new(index: Index, deletes: dict[int, list[int]]) -> int:
    """At most so many ranges become deleted that are not."""
    count = 0
    for client, flat in deletes.items():
        known = index.state_vector.get(client, 0)
        deleted = index.deleted.get(client, [])
        for at in range(0, len(flat), 2):
            count += len(ranges.missing(deleted, flat[at], min(flat[at + 1], known))) // 2
    return count


def _expect(amount: int, most: int, times: int, name: str) -> None:
    if amount > most * times:
        raise Refused(FULL, f"the issue has as many {name} as it may: {most}")
