"""One update on its way into the index: structs in an order that satisfies their references, then deletions.

What has no causes yet is left out and reported as a gap. Content is checked against the place it lands in: the engine
hangs or corrupts memory on combinations that no Yjs client writes.
"""

from typing import Final

from crdt import attribution, own_comments, ranges
from crdt.beginnings import TITLE, beginning_of
from crdt.capacity import Growth
from crdt.encoding import write_ranges, write_var_uint
from crdt.errors import CLIENT_ID, SCHEMA, TOO_LARGE, Refused
from crdt.field_writes import DECIDED, STAMPS, VALUES
from crdt.index import COMMENT, GONE, LISTED, PLAIN, ROOT, TEXTUAL, UNDECIDED, Index, Parent, Place
from crdt.overwrites import Overwrites, chain_position
from crdt.records import (
    ANY,
    ARRAY,
    BINARY,
    DELETED,
    EMBED,
    FORMAT,
    GC,
    MAP,
    NOBODY,
    SKIP,
    STRING,
    TEXT,
    TYPE,
    UNKNOWN_ARRIVAL,
    XML_ELEMENT,
    XML_FRAGMENT,
    XML_TEXT,
    Arrival,
    Limits,
    Mandate,
    Parsed,
    Section,
    Struct,
    Verdict,
)
from crdt.savepoint import Savepoint
from crdt.trim import write_section

_NOTHING: Final[list[int]] = []
CHAIN: Final = 64  # remembered values of one key; an overwrite of an older one counts as concurrent with all of them


class Admission:
    """One update on its way into the index: structs in an order that satisfies their references, then deletions."""

    def __init__(
        self,
        index: Index,
        parsed: Parsed,
        limits: Limits,
        mandate: Mandate | None = None,
        arrival: Arrival = UNKNOWN_ARRIVAL,
    ) -> None:
        self.index = index
        self.mandate = mandate
        self.actor = ""
        self.parsed = parsed
        self.limits = limits
        self.sections: dict[int, Section] = {section.client: section for section in parsed.sections}
        self.next: dict[int, int] = {}  # client → number of its first struct not yet admitted
        self.gap = False
        self.growth = Growth()
        self.arrival = arrival
        self.fields: Overwrites | None = None  # once the update touches a field, or begins the issue
        self.beginners: list[Struct] = []  # who wrote the first characters of a title without knowing of any
        self.savepoint = Savepoint(index, list(self.sections))

    def check_clients(self, actor: str) -> None:
        """Client ids belong to the user who first wrote with them, not to a socket: tabs of one browser relay each
        other's edits. Before that to the user who announced it in presence: else anybody who sees it there could write
        with it first, and its user could not any more."""
        index = self.index
        unknown = 0
        for section in self.parsed.sections:
            known = index.state_vector.get(section.client, 0)
            if known == 0:
                unknown += 1
                if index.announced.get(section.client, actor) != actor:
                    raise Refused(CLIENT_ID, f"client id {section.client} is another user's")
            if section.end > known and index.owners.get(section.client, actor) != actor:
                raise Refused(CLIENT_ID, f"client id {section.client} belongs to another user")
        if unknown > self.limits.max_new_clients:
            raise Refused(TOO_LARGE, f"{unknown} new client ids, at most {self.limits.max_new_clients}")

    def run(self, actor: str) -> Verdict:
        """Admit what can be admitted, for `actor`."""
        index = self.index
        self.actor = actor
        try:
            for section in self.parsed.sections:
                if self._admit(section.client):
                    self.gap = True
            if self.mandate is not None and self.mandate.comments_only:
                own_comments.check_deletes(index, self.parsed.deletes, actor, self.mandate)
            self.growth.judge(index, self.limits.capacity, self.parsed.deletes)
        except Refused:
            self.savepoint.restore()
            raise
        for client in self.sections:
            if client in index.state_vector:
                index.owners.setdefault(client, actor)
        for struct in self.beginners:
            deleted = self.parsed.deletes.get(struct.client, _NOTHING)
            content = beginning_of(index, self.parsed.data, self.sections[struct.client], deleted)
            if content:
                self._overwrites().begin(struct, content)
        overwrites = [] if self.fields is None else self.fields.finish()
        accepted = self._encode(self._new_deletes())
        index.stored_bytes += len(accepted)
        return Verdict(accepted, self.gap, overwrites)

    def _admit(self, first: int) -> bool:
        """Admit what can be of `first`'s section, and of others as far as it depends on them. True: a gap stopped it.

        An explicit stack as in Yjs' integrateStructs: a struct that waits for another section's clock pushes it, and
        that section is worked on only until the clock is reached. Waiting for a client on the stack is a circle.
        """
        stack: list[tuple[int, int]] = [(first, self.sections[first].end - 1)]
        waiting: set[int] = {first}
        while stack:
            client, target = stack[-1]
            needed = self._advance(client, target)
            if needed is None:
                stack.pop()
                waiting.discard(client)
                continue
            dependency, clock = needed
            section = self.sections.get(dependency)
            if section is None or section.end <= clock or dependency == NOBODY:
                return True
            if dependency in waiting:
                raise Refused(SCHEMA, f"structs of client {client} wait for each other")
            stack.append((dependency, clock))
            waiting.add(dependency)
        return False

    def _advance(self, client: int, target: int) -> tuple[int, int] | None:
        """Admit structs of `client` through clock `target`. Returns the id it waits for, or None when it got there;
        (NOBODY, 0) stands for a hole in its own clocks."""
        index = self.index
        structs = self.sections[client].structs
        at = self.next.get(client, 0)
        while at < len(structs):
            struct = structs[at]
            known = index.state_vector.get(client, 0)
            if struct.clock + struct.length <= known:
                at += 1
                continue
            if known > target:
                break
            if struct.clock > known or struct.kind == SKIP:
                self.next[client] = at
                return (NOBODY, 0)
            needed = self._missing(struct, known)
            if needed is not None:
                self.next[client] = at
                return needed
            self._place(struct, known)
            at += 1
        self.next[client] = at
        return None

    def _missing(self, struct: Struct, known: int) -> tuple[int, int] | None:
        """The first reference of a struct that is not known yet."""
        if struct.kind == GC:
            return None
        clocks = self.index.state_vector
        if struct.origin_client != NOBODY and struct.origin_clock >= clocks.get(struct.origin_client, 0):
            return self._waits_for(struct, struct.origin_client, struct.origin_clock)
        if struct.right_client != NOBODY and struct.right_clock >= clocks.get(struct.right_client, 0):
            return self._waits_for(struct, struct.right_client, struct.right_clock)
        if struct.parent_client != NOBODY and struct.parent_clock >= clocks.get(struct.parent_client, 0):
            return self._waits_for(struct, struct.parent_client, struct.parent_clock)
        return None

    def _waits_for(self, struct: Struct, client: int, clock: int) -> tuple[int, int]:
        if client == struct.client:
            raise Refused(SCHEMA, f"struct {struct.client}:{struct.clock} refers to itself or to a later one")
        return (client, clock)

    def _place(self, struct: Struct, known: int) -> None:
        """Find where a struct lives, check that it may live there, and note it from clock `known` on."""
        index = self.index
        length = struct.clock + struct.length - known
        kind = struct.kind
        number = GONE if kind == GC else self._find(struct)
        place = index.places[number]
        self.growth.count(index, struct, known, place)
        if number != GONE:
            self._check_content(struct, place)
            if self.mandate is not None and self.mandate.comments_only:
                own_comments.check_struct(index, struct, place, self.actor, self.mandate)
            if place.key is not None:
                if place.attribution != PLAIN and place.attribution != COMMENT:
                    self._attribute(struct, known, place)
                self._chain(struct, known, place)
            elif struct.origin_client == NOBODY and _begins(struct, known, place):
                self.beginners.append(struct)
        if kind == TYPE:
            self._new_type(struct, place.parent.depth + 1)
        index.extend(struct.client, known, length, number * 2 + (1 if kind in (GC, DELETED) else 0))
        runs = index.runs[struct.client]
        runs.kind = kind
        runs.right_client = struct.right_client
        runs.right_clock = struct.right_clock
        self._note_pairs(struct, known)

    def _find(self, struct: Struct) -> int:
        """Number of the place: the neighbours' where it has one, else that of the parent it names."""
        index = self.index
        number = NOBODY
        if struct.origin_client != NOBODY:
            number = index.place_of(struct.origin_client, struct.origin_clock) >> 1
            index.cut(struct.origin_client, struct.origin_clock)
        if struct.right_client != NOBODY:
            right = index.place_of(struct.right_client, struct.right_clock) >> 1
            index.cut(struct.right_client, struct.right_clock - 1)
            # One of the two may be garbage: then the struct becomes garbage too, as in Yjs.
            if number == NOBODY or right == GONE:
                number = right
            elif number != right and number != GONE:
                raise Refused(SCHEMA, f"struct {struct.client}:{struct.clock} between two different parents")
        if number != NOBODY:
            return number
        parent = self._parent(struct)
        return GONE if parent is None else index.place_in(parent, struct.key)

    def _parent(self, struct: Struct) -> Parent | None:
        """The parent a struct names; None when it is garbage or was deleted before we ever saw what it was."""
        index = self.index
        if struct.parent_client == NOBODY:
            return index.root(struct.root)
        parent = index.types.get((struct.parent_client, struct.parent_clock))
        if parent is None and not index.place_of(struct.parent_client, struct.parent_clock) & 1:
            raise Refused(SCHEMA, f"parent {struct.parent_client}:{struct.parent_clock} is no shared type")
        return parent

    def _check_content(self, struct: Struct, place: Place) -> None:
        parent = place.parent
        fits = _fits_key(struct.kind, parent) if place.key is not None else self._fits_sequence(struct, parent)
        if not fits:
            raise Refused(SCHEMA, f"content {struct.kind} in a parent of kind {parent.kind}")

    def _fits_sequence(self, struct: Struct, parent: Parent) -> bool:
        kind = struct.kind
        if kind == DELETED:
            return parent.kind != MAP
        textual = kind in (STRING, FORMAT, EMBED)
        listed = kind in (ANY, BINARY)
        if parent.kind == ROOT:
            # Reading a list that holds an emoji as text content hangs the engine for ever: a root is one or the other.
            flavour = TEXTUAL if textual else LISTED if listed else UNDECIDED
            if flavour == UNDECIDED or parent.flavour == flavour:
                return True
            if parent.flavour != UNDECIDED:
                return False
            self.savepoint.flavours.append(parent)
            parent.flavour = flavour
            return True
        if parent.kind == ARRAY:
            return listed or kind == TYPE
        if parent.kind == TEXT or parent.kind == XML_TEXT:
            return textual or kind == TYPE
        if parent.kind == XML_ELEMENT or parent.kind == XML_FRAGMENT:
            return kind == TYPE and struct.type_ref in (XML_ELEMENT, XML_TEXT)
        return False

    def _new_type(self, struct: Struct, depth: int) -> None:
        if depth > self.limits.max_depth:
            raise Refused(TOO_LARGE, f"shared types nested more than {self.limits.max_depth} deep")
        parent = Parent(struct.type_ref, depth, "", struct.client, struct.clock)
        if struct.type_ref == TEXT or struct.type_ref == XML_TEXT:
            parent.flavour = TEXTUAL
        self.index.types[(struct.client, struct.clock)] = parent

    def _attribute(self, struct: Struct, known: int, place: Place) -> None:
        """Note whom a value names, unless this writer may not name them."""
        names = attribution.names_in(self.parsed.data, struct, known, place)
        if self.mandate is not None:
            attribution.judge(self.index, place, names, self.actor, self.mandate)
        self.savepoint.names.append((place, place.names))
        attribution.note(place, names)

    def _chain(self, struct: Struct, known: int, place: Place) -> None:
        """Add values of a key in Yjs' order. Those of a field are compared with what stands."""
        self.savepoint.chains.append((place, list(place.chain)))
        fields = self._fields(struct, place)
        for clock in range(max(known, struct.clock + struct.length - CHAIN), struct.clock + struct.length):
            origin = (struct.client, clock - 1) if clock > struct.clock else (struct.origin_client, struct.origin_clock)
            chain = place.chain
            head = chain[-1] if chain else None
            at = chain_position(chain, struct.client, origin)
            chain.insert(at, (struct.client, clock, origin[0], origin[1]))
            if fields is not None and place.key is not None:
                fields.take(struct, clock, place.key, origin, head, at == len(chain) - 1)
        del place.chain[: max(0, len(place.chain) - CHAIN)]

    def _fields(self, struct: Struct, place: Place) -> Overwrites | None:
        """Where a value of a field is to be noted; None for all else. A stamp is noted here."""
        parent = place.parent
        if parent.kind != ROOT or place.key not in DECIDED or (parent.name != VALUES and parent.name != STAMPS):
            return None
        fields = self._overwrites()
        if parent.name == STAMPS:
            fields.stamps.append((place.key, struct))
            return None
        return fields

    def _overwrites(self) -> Overwrites:
        if self.fields is None:
            self.fields = Overwrites(self.index, self.parsed.data, self.arrival)
        return self.fields

    def _note_pairs(self, struct: Struct, known: int) -> None:
        if struct.pairs is not None:
            pairs = self.index.pairs.setdefault(struct.client, set())
            pairs.update(high for high in struct.pairs if high >= known)

    def _new_deletes(self) -> dict[int, list[int]]:
        """What is deleted and known and was not deleted before. Ranges of unknown clocks are a gap."""
        index = self.index
        new: dict[int, list[int]] = {}
        for client, flat in self.parsed.deletes.items():
            known = index.state_vector.get(client, 0)
            if flat and flat[-1] > known:
                self.gap = True
            found: list[int] = []
            for at in range(0, len(flat), 2):
                start = flat[at]
                end = min(flat[at + 1], known)
                if start < end:
                    index.cut(client, start - 1)
                    index.cut(client, end - 1)
                    found.extend(self._delete(client, start, end))
            if found:
                new[client] = found
        return new

    def _delete(self, client: int, start: int, end: int) -> list[int]:
        """Mark [start, end) deleted; returns what was not yet."""
        deleted = self.index.deleted.get(client)
        if deleted is None:
            deleted = []
            self.index.deleted[client] = deleted
        found = ranges.missing(deleted, start, end)
        if found:
            before = len(deleted)
            ranges.add(deleted, start, end)
            self.index.tombstones += (len(deleted) - before) // 2
        return found

    def _encode(self, deletes: dict[int, list[int]]) -> bytes:
        """The accepted part as an update: the very bytes that came in when all of it is new."""
        parsed = self.parsed
        whole = not self.gap and parsed.deletes_canonical and deletes == parsed.deletes
        body = bytearray()
        sections = 0
        for section in parsed.sections:
            before = max(self.savepoint.clocks[section.client], 0)
            now = self.index.state_vector.get(section.client, 0)
            if before != section.clock or now != section.end:
                whole = False
            if now > before:
                sections += 1
                write_section(body, parsed, section, before, now)
        if not sections and not deletes:
            return b""
        if whole:
            return parsed.data
        out = bytearray()
        write_var_uint(out, sections)
        out += body
        write_ranges(out, deletes.items())
        return bytes(out)


def _begins(struct: Struct, known: int, place: Place) -> bool:
    """Whether these are the first characters of a title, as far as their author knew."""
    parent = place.parent
    return struct.right_client == NOBODY and known == struct.clock and parent.kind == ROOT and parent.name == TITLE


def _fits_key(kind: int, parent: Parent) -> bool:
    """Entries of maps, and attributes of texts and XML elements, which Yjs stores the same way."""
    return parent.kind != ARRAY and (kind in (ANY, TYPE, BINARY, DELETED))
