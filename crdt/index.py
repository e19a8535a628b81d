"""What the gate must know of an issue to judge the next update: it grows with structure, not with text.

Every struct has a place: a sequence of some shared type, or one key of it. Neighbouring structs of one author mostly
share their place, so places are kept as runs of clocks. A garbage-collected struct has the place GONE: its parent is
forgotten.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from crdt.encoding import Reader, write_ranges, write_string, write_var_uint
from crdt.field_writes import read_field_write, write_field_write
from crdt.records import NOBODY, FieldWrite

GONE: Final = 0  # the place of garbage and of what hangs on it

ROOT: Final = -2  # the kind of a root type: whoever asks decides, so its content tells
UNDECIDED: Final = 0
TEXTUAL: Final = 1
LISTED: Final = 2

# What a key says of who did something (see `crdt.attribution`), or that it holds a comment.
PLAIN: Final = 0
CREATOR: Final = 1  # fields.createdBy
AUTHOR: Final = 2  # comments.*.author
STAMP: Final = 3  # stamps.*, an object with `by`
STAMP_BY: Final = 4  # stamps.*.by, where a stamp is a map
COMMENT: Final = 5  # comments.*


class Parent:
    """A shared type: a root (by name) or a nested one (by the id of the item that holds it).

    `kind` is a type reference of `records` or ROOT. `flavour` says what a root's sequence was seen to hold.
    """

    def __init__(self, kind: int, depth: int, name: str, client: int, clock: int) -> None:
        self.kind = kind
        self.depth = depth
        self.name = name
        self.client = client
        self.clock = clock
        self.flavour = UNDECIDED
        self.sequence = NOBODY  # number of the sequence's place, once something is in it
        self.keys: dict[str, int] = {}


NO_NAMES: Final[list[str]] = []


class Place:
    """Where structs live. `key` is None in a sequence; for a key, `chain` holds its last values in Yjs order, the last
    being the visible one, as (client, clock, origin client, origin clock). `names`: whom it has named, where it names
    anybody; never changed in place."""

    def __init__(self, parent: Parent, key: str | None, attribution: int) -> None:
        self.parent = parent
        self.key = key
        self.attribution = attribution
        self.chain: list[tuple[int, int, int, int]] = []
        self.names: list[str] = NO_NAMES


class Runs:
    """One author's structs: from `starts[i]` on they live in `places[i]`. A place is number * 2, plus 1 for structs
    that came as garbage or already deleted (whether one was a type is not known any more).

    `kind`, `right_client`, `right_clock`: of the last struct, for the next one that continues it; not stored."""

    def __init__(self) -> None:
        self.kind = NOBODY
        self.right_client = NOBODY
        self.right_clock = 0
        self.starts: list[int] = []
        self.places: list[int] = []


class Index:
    """What is known of one issue. `state_vector`: client → next clock · `owners`: client → the actor who first wrote
    with it · `announced`: client → the user whose presence named it, not stored · `deleted`: client → flat ranges ·
    `pairs`: first halves of surrogate pairs · `cuts`: those cut · `heads`: what stands in each decided field, and the
    issue's beginning (see `crdt.beginnings`), replaced when they change · `structs`, `tombstones`: about how many a
    document would hold, and how many ranges are deleted · `stored_bytes`: of all of it, as whoever checks updates last
    counted them, not stored. `lacks_heads`, `lacks_structs`: it was stored by a version that kept none."""

    def __init__(self) -> None:
        self.state_vector: dict[int, int] = {}
        self.owners: dict[int, str] = {}
        self.announced: Mapping[int, str] = {}
        self.deleted: dict[int, list[int]] = {}
        self.pairs: dict[int, set[int]] = {}
        self.cuts: set[tuple[int, int]] = set()
        self.roots: dict[str, Parent] = {}
        self.types: dict[tuple[int, int], Parent] = {}
        self.places: list[Place] = [Place(Parent(ROOT, 0, "", NOBODY, 0), None, PLAIN)]
        self.runs: dict[int, Runs] = {}
        self.heads: dict[str, FieldWrite] = {}
        self.structs = 0
        self.tombstones = 0
        self.stored_bytes = 0
        self.lacks_heads = False
        self.lacks_structs = False

    def place_of(self, client: int, clock: int) -> int:
        """Place number of a known struct, doubled, with the deleted bit (see `Runs`)."""
        runs = self.runs[client]
        return runs.places[bisect_right(runs.starts, clock) - 1]

    def extend(self, client: int, clock: int, length: int, place: int) -> None:
        """`client` wrote `length` clocks from `clock` in `place` (doubled, with the deleted bit)."""
        runs = self.runs.get(client)
        if runs is None:
            runs = Runs()
            self.runs[client] = runs
        if not runs.places or runs.places[-1] != place:
            runs.starts.append(clock)
            runs.places.append(place)
        self.state_vector[client] = clock + length

    def root(self, name: str) -> Parent:
        """The root of that name, made when it is first asked for."""
        parent = self.roots.get(name)
        if parent is None:
            parent = Parent(ROOT, 0, name, NOBODY, 0)
            self.roots[name] = parent
        return parent

    def place_in(self, parent: Parent, key: str | None) -> int:
        """Number of the place for a sequence (key None) or a key of `parent`, made when it is first asked for."""
        if key is None:
            if parent.sequence == NOBODY:
                parent.sequence = len(self.places)
                self.places.append(Place(parent, None, PLAIN))
            return parent.sequence
        number = parent.keys.get(key, NOBODY)
        if number == NOBODY:
            number = len(self.places)
            parent.keys[key] = number
            self.places.append(Place(parent, key, self._attribution(parent, key)))
        return number

    def _attribution(self, parent: Parent, key: str) -> int:
        if parent.client == NOBODY:
            if parent.name == "comments":
                return COMMENT
            if parent.name == "stamps":
                return STAMP
            return CREATOR if parent.name == "fields" and key == "createdBy" else PLAIN
        if key != "author" and key != "by":
            return PLAIN
        holder = self.places[self.place_of(parent.client, parent.clock) >> 1].attribution
        if key == "author":
            return AUTHOR if holder == COMMENT else PLAIN
        return STAMP_BY if holder == STAMP else PLAIN

    def cut(self, client: int, clock: int) -> None:
        """Somebody separated the unit at `clock` from the next; note it where the two are a surrogate pair."""
        pairs = self.pairs.get(client)
        if pairs is not None and clock in pairs:
            pairs.discard(clock)
            self.cuts.add((client, clock))

    def encode(self) -> bytes:
        """The whole index as bytes, to be stored beside a snapshot."""
        return _encode(self)

    @staticmethod
    def decode(data: bytes) -> "Index":
        """The index that `encode` wrote. Raises `Refused` on anything else."""
        return _decode(data)


_FORMAT: Final = 4
_NAMELESS: Final = 1  # the format before names were kept: who is named there is learnt again from what is written
_HEADLESS: Final = 2  # and the one before heads were
_UNCOUNTED: Final = 3  # and the one before structs were counted


def _encode(index: Index) -> bytes:
    out = bytearray([_FORMAT])
    _write_clients(out, index)
    write_ranges(out, index.deleted.items())
    _write_pairs(out, sorted((client, clock) for client, highs in index.pairs.items() for clock in highs))
    _write_pairs(out, sorted(index.cuts))
    parents = [*index.roots.values(), *index.types.values()]
    numbers = {id(parent): number for number, parent in enumerate(parents)}
    write_var_uint(out, len(index.roots))
    write_var_uint(out, len(index.types))
    for parent in parents:
        _write_parent(out, parent)
    write_var_uint(out, len(index.places) - 1)
    for place in index.places[1:]:
        _write_place(out, place, numbers[id(place.parent)])
    write_var_uint(out, len(index.heads))
    for key in sorted(index.heads):
        write_string(out, key)
        write_field_write(out, index.heads[key])
    write_var_uint(out, index.structs)
    return bytes(out)


def _write_clients(out: bytearray, index: Index) -> None:
    actors = sorted(set(index.owners.values()))
    number_of = {actor: number for number, actor in enumerate(actors)}
    write_var_uint(out, len(actors))
    for actor in actors:
        write_string(out, actor)
    clients = sorted(index.state_vector.keys() | index.owners.keys())
    write_var_uint(out, len(clients))
    for client in clients:
        write_var_uint(out, client)
        write_var_uint(out, index.state_vector.get(client, 0))
        write_var_uint(out, number_of[index.owners[client]] + 1 if client in index.owners else 0)
        runs = index.runs.get(client)
        count = len(runs.starts) if runs is not None else 0
        write_var_uint(out, count)
        if runs is not None:
            for at in range(count):
                write_var_uint(out, runs.starts[at])
                write_var_uint(out, runs.places[at])


def _write_pairs(out: bytearray, pairs: list[tuple[int, int]]) -> None:
    write_var_uint(out, len(pairs))
    for client, clock in pairs:
        write_var_uint(out, client)
        write_var_uint(out, clock)


def _write_parent(out: bytearray, parent: Parent) -> None:
    write_var_uint(out, parent.flavour)
    if parent.kind == ROOT:
        write_string(out, parent.name)
        return
    write_var_uint(out, parent.kind)
    write_var_uint(out, parent.depth)
    write_var_uint(out, parent.client)
    write_var_uint(out, parent.clock)


def _write_place(out: bytearray, place: Place, parent: int) -> None:
    write_var_uint(out, parent)
    if place.key is None:
        out.append(0)
        return
    out.append(1)
    write_string(out, place.key)
    write_var_uint(out, len(place.chain))
    for client, clock, origin_client, origin_clock in place.chain:
        write_var_uint(out, client)
        write_var_uint(out, clock)
        write_var_uint(out, origin_client + 1)
        write_var_uint(out, origin_clock)
    if place.attribution != PLAIN:
        write_var_uint(out, len(place.names))
        for name in place.names:
            write_string(out, name)


def _decode(data: bytes) -> Index:
    reader = Reader(data)
    version = reader.read_byte()
    if version not in (_FORMAT, _NAMELESS, _HEADLESS, _UNCOUNTED):
        raise reader.refusal("index of another format")
    index = Index()
    index.lacks_heads = version in (_NAMELESS, _HEADLESS)
    index.lacks_structs = version != _FORMAT
    _read_clients(reader, index)
    for _ in range(reader.read_count(2)):
        client = reader.read_var_uint()
        flat: list[int] = []
        for _ in range(reader.read_count(2)):
            start = reader.read_var_uint()
            flat.append(start)
            flat.append(start + reader.read_var_uint())
        index.deleted[client] = flat
        index.tombstones += len(flat) // 2
    for client, clock in _read_pairs(reader):
        index.pairs.setdefault(client, set()).add(clock)
    index.cuts = set(_read_pairs(reader))
    parents = _read_parents(reader, index)
    for _ in range(reader.read_count(2)):
        _read_place(reader, index, parents, version != _NAMELESS)
    if not index.lacks_heads:
        for _ in range(reader.read_count(8)):
            key = reader.read_string()
            index.heads[key] = read_field_write(reader)
    if not index.lacks_structs:
        index.structs = reader.read_var_uint()
    reader.expect_end()
    for runs in index.runs.values():
        if max(runs.places, default=0) >> 1 >= len(index.places):
            raise reader.refusal("run in an unknown place")
    return index


def _read_clients(reader: Reader, index: Index) -> None:
    actors = [reader.read_string() for _ in range(reader.read_count(1))]
    for _ in range(reader.read_count(4)):
        client = reader.read_var_uint()
        clock = reader.read_var_uint()
        owner = reader.read_var_uint()
        if clock > 0:
            index.state_vector[client] = clock
        if owner > len(actors):
            raise reader.refusal("unknown owner")
        if owner > 0:
            index.owners[client] = actors[owner - 1]
        runs = Runs()
        for _ in range(reader.read_count(2)):
            runs.starts.append(reader.read_var_uint())
            runs.places.append(reader.read_var_uint())
        if runs.starts:
            index.runs[client] = runs


def _read_pairs(reader: Reader) -> list[tuple[int, int]]:
    return [(reader.read_var_uint(), reader.read_var_uint()) for _ in range(reader.read_count(2))]


def _read_parents(reader: Reader, index: Index) -> list[Parent]:
    parents: list[Parent] = []
    roots = reader.read_count(2)
    types = reader.read_count(5)
    for _ in range(roots):
        flavour = reader.read_var_uint()
        parent = index.root(reader.read_string())
        parent.flavour = flavour
        parents.append(parent)
    for _ in range(types):
        flavour = reader.read_var_uint()
        kind = reader.read_var_uint()
        depth = reader.read_var_uint()
        client = reader.read_var_uint()
        clock = reader.read_var_uint()
        parent = Parent(kind, depth, "", client, clock)
        parent.flavour = flavour
        index.types[(client, clock)] = parent
        parents.append(parent)
    return parents


def _read_place(reader: Reader, index: Index, parents: list[Parent], has_names: bool) -> None:
    number = reader.read_var_uint()
    key = reader.read_string() if reader.read_byte() == 1 else None
    try:
        place = index.places[index.place_in(parents[number], key)]
    except (IndexError, KeyError):
        raise reader.refusal("place in an unknown parent") from None
    if key is None:
        return
    for _ in range(reader.read_count(4)):
        client = reader.read_var_uint()
        clock = reader.read_var_uint()
        origin_client = reader.read_var_uint() - 1
        place.chain.append((client, clock, origin_client, reader.read_var_uint()))
    if has_names and place.attribution != PLAIN:
        place.names = [reader.read_string() for _ in range(reader.read_count(1))]
