"""Which values of a field met without knowing of each other, found while one update is admitted.

The values of a field form a tree: each one hangs on the value its author saw. The leaves are what nobody replaced
knowingly. One of them stands; every other one is lost, unless it says the same. A second beginning of the issue is lost
in the same way.
"""

from typing import Final

from crdt import ranges
from crdt.beginnings import BEGINNING, is_whole
from crdt.encoding import Reader, write_var_uint
from crdt.field_writes import DELETED_AT, MAX_VALUE_BYTES, VALUES, same_value, says_something
from crdt.index import Index
from crdt.records import ANY, DELETED, NOBODY, Arrival, FieldWrite, Overwrite, Struct

DELETIONS: Final = "deletions"  # among `heads`: what `deletions_in` reads
_NO_RANGES: Final[list[int]] = []


class Lost:
    """A value that another one took the place of; it hangs on `origin`."""

    def __init__(self, key: str, write: FieldWrite, origin: tuple[int, int]) -> None:
        self.key = key
        self.write = write
        self.origin = origin


class Overwrites:
    """What one update does to the fields. `index.heads` is replaced, so that whoever kept the old one can put it
    back."""

    def __init__(self, index: Index, data: bytes, arrival: Arrival) -> None:
        self.index = index
        self.data = data
        self.arrival = arrival
        self.writes: list[tuple[str, FieldWrite]] = []
        self.stamps: list[tuple[str, Struct]] = []
        self.origins: dict[tuple[int, int], tuple[int, int]] = {}  # of the values in this update
        self.lost: list[Lost] = []
        self.begun: list[tuple[FieldWrite, FieldWrite]] = []  # the beginning that stands, and the other one
        self.before = index.heads
        index.heads = dict(index.heads)

    def take(
        self,
        struct: Struct,
        clock: int,
        key: str,
        origin: tuple[int, int],
        head: tuple[int, int, int, int] | None,
        wins: bool,
    ) -> None:
        """A value came in that hangs on `origin`, for a key at whose head stood `head`."""
        self.origins[(struct.client, clock)] = origin
        write = FieldWrite(
            struct.client, clock, value_of(self.data, struct), b"", "", self.arrival.device, self.arrival.at_ms
        )
        self.writes.append((key, write))
        if head is not None and origin != (head[0], head[1]):
            if not wins:
                if struct.kind != DELETED:
                    self.lost.append(Lost(key, write, origin))
            elif not self._is_deleted(head[0], head[1]):
                self.lost.append(Lost(key, self._standing(key, head), (head[2], head[3])))
        if wins:
            self.index.heads[key] = write

    def begin(self, struct: Struct, content: bytes) -> None:
        """An author began the issue, who is known by now. Of several the one with the lowest client id stands, whatever
        the order in which they come: its title is the first in every replica."""
        heads = self.index.heads
        actor = self.index.owners.get(struct.client, "")
        write = FieldWrite(struct.client, struct.clock, content, b"", actor, self.arrival.device, self.arrival.at_ms)
        other = heads.get(BEGINNING)
        if other is None:
            heads[BEGINNING] = write
            return
        standing, losing = (write, other) if write.client < other.client else (other, write)
        heads[BEGINNING] = standing
        if standing.value != losing.value or not is_whole(losing.value):
            self.begun.append((standing, losing))

    def finish(self) -> list[Overwrite]:
        """Everything is admitted: who wrote what, and what is lost of it."""
        owners = self.index.owners
        for _, write in self.writes:
            write.actor = owners.get(write.client, "")
        for key, stamp in self.stamps:
            self._stamp(key, stamp)
        self._follow_deletions()
        replaced = set(self.origins.values())
        found = [Overwrite(BEGINNING, standing, losing, (NOBODY, 0)) for standing, losing in self.begun]
        for lost in self.lost:
            standing = self._visible(self.index.heads[lost.key])
            if (lost.write.client, lost.write.clock) in replaced or same_value(
                lost.key, standing.value, lost.write.value
            ):
                continue
            found.append(Overwrite(lost.key, standing, lost.write, self._known_origin(lost.origin)))
        return found

    def _follow_deletions(self) -> None:
        written = [write for key, write in self.writes if key == DELETED_AT]
        if not written:
            return
        saying = set(_deletions(self.index, self.before))
        for write in written:
            if write.value and not says_something(write.value):
                saying.discard((write.client, write.clock))
            else:
                saying.add((write.client, write.clock))
        out = bytearray()
        for client, clock, _, _ in deletion_chain(self.index):
            if (client, clock) in saying:
                write_var_uint(out, client)
                write_var_uint(out, clock)
        self.index.heads[DELETIONS] = FieldWrite(0, 0, bytes(out), b"", "", "", 0)

    def _known_origin(self, origin: tuple[int, int]) -> tuple[int, int]:
        """The value from before this update that the author replaced, maybe in several steps."""
        while origin in self.origins:
            origin = self.origins[origin]
        return origin

    def _standing(self, key: str, head: tuple[int, int, int, int]) -> FieldWrite:
        write = self.index.heads.get(key)
        if write is not None and write.client == head[0] and write.clock == head[1]:
            return write
        return FieldWrite(head[0], head[1], b"", b"", self.index.owners.get(head[0], ""), "", 0)

    def _visible(self, write: FieldWrite) -> FieldWrite:
        """A value that stands; nothing does where its key was deleted."""
        if not self._is_deleted(write.client, write.clock):
            return write
        return FieldWrite(write.client, write.clock, b"", b"", write.actor, write.device, write.at_ms)

    def _is_deleted(self, client: int, clock: int) -> bool:
        return ranges.contains(self.index.deleted.get(client, _NO_RANGES), clock)

    def _stamp(self, key: str, stamp: Struct) -> None:
        """A stamp belongs to its author's last value of that field before it, in this update or standing since before
        it."""
        value = value_of(self.data, stamp)
        last: FieldWrite | None = None
        for name, write in self.writes:
            if name == key and write.client == stamp.client and write.clock < stamp.clock:
                last = write if last is None or write.clock > last.clock else last
        if last is not None:
            last.stamp = value
            return
        head = self.index.heads.get(key)
        if head is not None and head.client == stamp.client and head.clock < stamp.clock and not head.stamp:
            self.index.heads[key] = FieldWrite(
                head.client, head.clock, head.value, value, head.actor, head.device, head.at_ms
            )


def deletion_in(index: Index) -> FieldWrite | None:
    """What the issue is deleted by; None where it is not."""
    head = index.heads.get(DELETED_AT)
    if head is None or not says_something(head.value):
        return None
    return None if ranges.contains(index.deleted.get(head.client, _NO_RANGES), head.clock) else head


def deletions_in(index: Index) -> list[tuple[int, int]]:
    """The values in `deletion_chain` that say that the issue is deleted, or came too late to say what they said."""
    return _deletions(index, index.heads)


def _deletions(index: Index, heads: dict[str, FieldWrite]) -> list[tuple[int, int]]:
    kept = heads.get(DELETIONS)
    if kept is None:  # an index of a version that kept none
        head = heads.get(DELETED_AT)
        known = None if head is None or says_something(head.value) else (head.client, head.clock)
        return [each[:2] for each in deletion_chain(index) if each[:2] != known]
    reader = Reader(kept.value)
    found: list[tuple[int, int]] = []
    while reader.pos < len(kept.value):
        client = reader.read_var_uint()
        found.append((client, reader.read_var_uint()))
    return found


def deletion_chain(index: Index) -> list[tuple[int, int, int, int]]:
    """The last values of the field that says that the issue is deleted, in Yjs' order, as in `Place.chain`."""
    values = index.roots.get(VALUES)
    number = NOBODY if values is None else values.keys.get(DELETED_AT, NOBODY)
    return [] if number == NOBODY else index.places[number].chain


def value_of(data: bytes, struct: Struct) -> bytes:
    """The `any` bytes of a struct that holds one plain value; empty for all else."""
    size = struct.end - struct.content - 1  # behind the count of values, which is one
    if struct.kind != ANY or struct.length != 1 or size > MAX_VALUE_BYTES:
        return b""
    return data[struct.content + 1 : struct.end]


def chain_position(chain: list[tuple[int, int, int, int]], client: int, origin: tuple[int, int]) -> int:
    """Where a value goes among a key's values (YATA with nothing to the right): behind its origin, and behind those of
    its siblings, with all that follows them, whose author has the lower client id."""
    at = len(chain)
    while at > 0 and (chain[at - 1][0], chain[at - 1][1]) != origin:
        at -= 1
    scan = at
    passed: set[tuple[int, int]] = set()
    conflicting: set[tuple[int, int]] = set()
    while scan < len(chain):
        other = chain[scan]
        identity = (other[0], other[1])
        other_origin = (other[2], other[3])
        passed.add(identity)
        conflicting.add(identity)
        if other_origin == origin:
            if other[0] > client:
                break
            at = scan + 1
            conflicting.clear()
        elif other_origin not in passed:
            break
        elif other_origin not in conflicting:
            at = scan + 1
            conflicting.clear()
        scan += 1
    return at
