"""The check before bytes are believed: what of an update is new, causally complete and possible in this document?

`check` is the only way into the log. It trims what is known, leaves out what has no causes yet (a gap), refuses what no
honest client can write, and updates the index. It never refuses an honest update: the odd ones are named where they
pass.
"""

from collections.abc import Mapping

from crdt.admission import Admission
from crdt.index import GONE, TEXTUAL, Index
from crdt.parser import MAX_CLOCK, parse
from crdt.records import NOBODY, UNBOUNDED, Limits, Verdict


def check(index: Index, data: bytes, actor: str, limits: Limits) -> Verdict:
    """Judge one update from `actor`. On return the index includes what was accepted; `Refused` leaves it untouched."""
    verdict = _typing(index, data, actor)
    if verdict is not None:
        return verdict
    admission = Admission(index, parse(data, limits), limits)
    admission.check_clients(actor)
    return admission.run(actor)


def fold(index: Index, update: bytes, actor: str) -> Verdict:
    """Take in an update the log already holds: neither its size nor its owner is questioned again, only its soundness.

    A verdict with a gap means that the log is not causally closed. Raises `Refused` for bytes that are not sound.
    """
    verdict = _typing(index, update, actor)
    if verdict is not None:
        return verdict
    return Admission(index, parse(update, UNBOUNDED), UNBOUNDED).run(actor)


def index_of(update: bytes, owners: Mapping[int, str]) -> Index:
    """The index of a whole document given as one update, with the owners already known of its clients."""
    index = Index()
    index.owners = dict(owners)
    Admission(index, parse(update, UNBOUNDED), UNBOUNDED).run("")
    return index


def _typing(index: Index, data: bytes, actor: str) -> Verdict | None:
    """The short path: one author, one ASCII string after a known character of a text, nothing deleted. Else None.

    Every byte is checked as strictly as the parser would; whatever does not fit falls through to it.
    """
    end = len(data) - 1
    if end < 10 or end > 4096 or data[0] != 1 or data[1] != 1 or data[end] != 0:
        return None
    numbers: list[int] = []
    pos = _read_numbers(data, 2, end, 2, numbers)
    if pos == end or (data[pos] != 0x84 and data[pos] != 0xC4):
        return None
    references = 2 if data[pos] == 0x84 else 4  # an origin, or an origin and a right origin: client and clock each
    pos = _read_numbers(data, pos + 1, end, references + 1, numbers)
    length = end - pos
    if length <= 0 or numbers[-1] != length or not data[pos:end].isascii():
        return None
    client = numbers[0]
    clock = numbers[1]
    if index.state_vector.get(client, NOBODY) != clock or index.owners.get(client) != actor:
        return None
    place = _text_place(index, numbers[2], numbers[3])
    if place == GONE or (references == 4 and _text_place(index, numbers[4], numbers[5]) != place):
        return None
    if clock + length > MAX_CLOCK:
        return None
    index.extend(client, clock, length, place)
    return Verdict(data, False, [])


def _read_numbers(data: bytes, pos: int, end: int, count: int, numbers: list[int]) -> int:
    """Append `count` canonical varUints and return where the next byte is; `end` when they are not there."""
    for _ in range(count):
        value = 0
        shift = 0
        while True:
            if pos >= end or shift > 49:
                return end
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift > 0:
            return end
        numbers.append(value)
    return pos


def _text_place(index: Index, client: int, clock: int) -> int:
    """The place (doubled, see `Runs`) of a known character in a text without surrogate pairs; GONE for all else."""
    if clock >= index.state_vector.get(client, 0) or client in index.pairs:
        return GONE
    number = index.place_of(client, clock) >> 1
    place = index.places[number]
    if place.key is not None or place.parent.flavour != TEXTUAL:
        return GONE
    return number * 2
