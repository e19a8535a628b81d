"""Edits and deletions of an issue that met without having heard of each other. docs/conflicts.md says what counts as
having heard: nothing in the bytes of an edit says whether its author knew that the issue was deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from crdt.field_writes import DECIDED, DELETED_AT, read_any
from crdt.index import Index
from crdt.overwrites import deletion_chain, deletions_in
from crdt.parser import parse
from crdt.records import UNBOUNDED, FieldWrite, Parsed
from crdt.shape import FIELD_KEYS
from crdt.touches import Path, written_in

TOUCHED: Final = "touched"  # in what is told of an edit: the parts that are no field, or whose value does not stand
MAX_AUTHORS: Final = 100  # that one deletion is told of
_NAMES: Final = {key: name for name, key in FIELD_KEYS.items() if key in DECIDED and key != DELETED_AT}
_PARTS: Final = frozenset(("title", "description", "labels", "comments"))

Told: TypeAlias = Mapping[str, object]
Spans: TypeAlias = dict[int, tuple[int, int]]  # client → clocks from, to


@dataclass(frozen=True, slots=True)
class Heard:
    """What whoever sent an update had heard of, as state vectors. What is in `stated` was written by somebody who had
    heard of exactly that; empty where they stated nothing. All else had heard of `arrived`, of that, of all the same
    `user` did, and of itself."""

    user: str
    stated: Mapping[int, int]
    arrived: Mapping[int, int]


class _Known:
    """What the author of one part of an update had heard of."""

    def __init__(self, index: Index, state_vector: Mapping[int, int], user: str | None) -> None:
        self._owners = index.owners
        self._state_vector = state_vector
        self._user = user

    def clock(self, client: int) -> int | None:
        """How far they had heard of a client; None: all of it."""
        if self._user is not None and self._owners.get(client) == self._user:
            return None
        return self._state_vector.get(client, 0)

    def has(self, client: int, clock: int) -> bool:
        """Whether they had heard of a struct."""
        heard = self.clock(client)
        return heard is None or clock < heard


def edited_under(index: Index, deletion: FieldWrite, update: bytes, heard: Heard) -> Told | None:
    """What an update says to an issue that is deleted by what is not in it, as far as its author had not heard that it
    is; None: nothing. `update` is in the index and was new."""
    parsed = parse(update, UNBOUNDED)
    early, late = _at_statement(index, heard), _at_arrival(index, heard)
    spans: Spans = {}
    if not _knows_deleted(index, deletion, early):
        spans = _before(parsed, heard.stated)
    if not _knows_deleted(index, deletion, late):
        for client, (start, end) in _behind(parsed, heard.stated).items():
            spans[client] = (spans[client][0] if client in spans else start, end)
    return _told(index, written_in(index, spans), spans)


def edited_before(index: Index, deletion: FieldWrite, update: bytes, heard: Heard) -> Mapping[str, Told]:
    """By author: what was said to an issue before an update came that has its deletion, of which whoever deleted it had
    not heard. `update` is in the index and was new."""
    is_early = deletion.clock < heard.stated.get(deletion.client, 0)
    known = _at_statement(index, heard) if is_early else _at_arrival(index, heard)
    new = {section.client: section.clock for section in parse(update, UNBOUNDED).sections}
    by_author: dict[str, Spans] = {}
    for client, clock in index.state_vector.items():
        start, end = known.clock(client), new.get(client, clock)
        if start is not None and start < end:
            by_author.setdefault(index.owners.get(client, ""), {})[client] = (start, end)
    told: dict[str, Told] = {}
    for author, spans in sorted(by_author.items()):
        edited = _told(index, written_in(index, spans), spans)
        if edited is not None and len(told) < MAX_AUTHORS:
            told[author] = edited
    return told


def edited_by(index: Index, update: bytes, stated: Mapping[int, int]) -> Told | None:
    """What an update that is in the index says, beyond what somebody stated; None: nothing."""
    spans = _behind(parse(update, UNBOUNDED), stated)
    return _told(index, written_in(index, spans), spans)


def _at_statement(index: Index, heard: Heard) -> _Known:
    return _Known(index, heard.stated, None)


def _at_arrival(index: Index, heard: Heard) -> _Known:
    both = {client: max(clock, heard.stated.get(client, 0)) for client, clock in heard.arrived.items()}
    return _Known(index, {**heard.stated, **both}, heard.user)


def _knows_deleted(index: Index, deletion: FieldWrite, known: _Known) -> bool:
    """Whether they had heard of this deletion, or of another one that stood where that was all there was."""
    if known.has(deletion.client, deletion.clock):
        return True
    for client, clock, _, _ in reversed(deletion_chain(index)):
        if known.has(client, clock):
            return (client, clock) in deletions_in(index)
    return False


def _before(parsed: Parsed, stated: Mapping[int, int]) -> Spans:
    """What of an update its sender had when they stated what they have."""
    ends = {each.client: min(each.end, stated.get(each.client, 0)) for each in parsed.sections}
    return {each.client: (each.clock, ends[each.client]) for each in parsed.sections if each.clock < ends[each.client]}


def _behind(parsed: Parsed, stated: Mapping[int, int]) -> Spans:
    """And the rest."""
    starts = {each.client: max(each.clock, stated.get(each.client, 0)) for each in parsed.sections}
    return {each.client: (starts[each.client], each.end) for each in parsed.sections if starts[each.client] < each.end}


def _told(index: Index, paths: Iterable[Path], spans: Spans) -> Told | None:
    """Values of fields that were written in these spans and stand, by the names of a record, and the other parts that
    were touched; None where it is no part of a record."""
    told: dict[str, object] = {}
    parts: set[str] = set()
    for path in paths:
        match path:
            case ("fields", key) if key in _NAMES:
                head = index.heads.get(key)
                start, end = spans.get(head.client, (0, 0)) if head is not None else (0, 0)
                if head is not None and start <= head.clock < end:
                    told[_NAMES[key]] = read_any(head.value)
                else:
                    parts.add(_NAMES[key])
            case (part, *_) if part in _PARTS:
                parts.add(part)
    if parts:
        told[TOUCHED] = sorted(parts)
    return told or None
