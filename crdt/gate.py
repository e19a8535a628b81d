"""The check before bytes are believed: what of an update is new, causally complete and possible in this document?

`check` is the only way into the log. It trims what is known, leaves out what has no causes yet (a gap), refuses what no
honest client can write, and updates the index. It never refuses an honest update: the odd ones are named where they
pass.
"""

from collections.abc import Mapping

from crdt.admission import Admission
from crdt.capacity import has_room
from crdt.index import GONE, TEXTUAL, Index
from crdt.keystrokes import read_keystrokes
from crdt.parser import MAX_CLOCK, parse
from crdt.records import (
    BOUNDLESS,
    NOBODY,
    STRING,
    UNBOUNDED,
    UNKNOWN_ARRIVAL,
    Arrival,
    Capacity,
    Limits,
    Mandate,
    Verdict,
)


def check(
    index: Index,
    data: bytes,
    actor: str,
    limits: Limits,
    mandate: Mandate | None = None,
    arrival: Arrival = UNKNOWN_ARRIVAL,
) -> Verdict:
    """Judge one update from `actor`, who may write what `mandate` says (None: anything). On return the index includes
    what was accepted; `Refused` leaves it untouched. `index.stored_bytes` says how large the issue is."""
    if mandate is None or not mandate.comments_only:
        verdict = _typing(index, data, actor, limits.capacity)
        if verdict is not None:
            return verdict
    admission = Admission(index, parse(data, limits), limits, mandate, arrival)
    admission.check_clients(actor)
    return admission.run(actor)


def fold(index: Index, update: bytes, actor: str, arrival: Arrival = UNKNOWN_ARRIVAL) -> Verdict:
    """Take in an update the log already holds: neither its size nor its owner is questioned again, only its soundness.

    A verdict with a gap means that the log is not causally closed. Raises `Refused` for bytes that are not sound.
    """
    verdict = _typing(index, update, actor, BOUNDLESS)
    if verdict is not None:
        return verdict
    return Admission(index, parse(update, UNBOUNDED), UNBOUNDED, None, arrival).run(actor)


def index_of(update: bytes, owners: Mapping[int, str]) -> Index:
    """The index of a whole document given as one update, with the owners already known of its clients."""
    index = Index()
    index.owners = dict(owners)
    parsed = parse(update, UNBOUNDED)
    Admission(index, parsed, UNBOUNDED).run("")
    index.structs = sum([len(section.structs) for section in parsed.sections])
    return index


def index_of_snapshot(state: bytes, encoded: bytes) -> Index:
    """The index stored beside a snapshot. Raises `Refused` on anything else."""
    index = Index.decode(encoded)
    if index.lacks_heads or index.lacks_structs:
        derived = index_of(state, index.owners)
        index.structs = derived.structs
        if index.lacks_heads:
            index.heads = derived.heads
        index.lacks_heads = index.lacks_structs = False
    return index


def _typing(index: Index, data: bytes, actor: str, capacity: Capacity) -> Verdict | None:
    """The short path: strokes of one author after a known character of a text. Else None, and the parser reads it."""
    strokes = read_keystrokes(data)
    if strokes is None:
        return None
    client = strokes.client
    clock = strokes.clock
    if index.state_vector.get(client, NOBODY) != clock or index.owners.get(client) != actor:
        return None
    place = _text_place(index, strokes.origin_client, strokes.origin_clock)
    if place == GONE:
        return None
    if strokes.right_client >= 0 and _text_place(index, strokes.right_client, strokes.right_clock) != place:
        return None
    if clock + strokes.length > MAX_CLOCK:
        return None
    runs = index.runs[client]
    right_clock = strokes.right_clock if strokes.right_client >= 0 else 0
    continues = (
        strokes.origin_client == client
        and strokes.origin_clock == clock - 1
        and runs.kind == STRING
        and runs.right_client == strokes.right_client
        and runs.right_clock == right_clock
    )
    if not has_room(index, capacity, len(data), 0 if continues else 1):
        return None
    if not continues:
        index.structs += 1
        runs.kind = STRING
        runs.right_client = strokes.right_client
        runs.right_clock = right_clock
    index.stored_bytes += len(data)
    index.extend(client, clock, strokes.length, place)
    return Verdict(data, False, [])


def _text_place(index: Index, client: int, clock: int) -> int:
    """The place (doubled, see `Runs`) of a known character in a text without surrogate pairs; GONE for all else."""
    if clock >= index.state_vector.get(client, 0) or client in index.pairs:
        return GONE
    number = index.place_of(client, clock) >> 1
    place = index.places[number]
    if place.key is not None or place.parent.flavour != TEXTUAL:
        return GONE
    return number * 2
