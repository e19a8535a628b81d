"""What a document says of who did something: `fields.createdBy`, a comment's `author`, `stamps.*.by`. A writer names
nobody but themself there, or somebody whom the document named in that place before: an editor's undo writes what it had
deleted anew.
"""

from typing import Final

from crdt.encoding import Reader
from crdt.errors import FORBIDDEN, Refused
from crdt.index import AUTHOR, STAMP, Index, Parent, Place
from crdt.parser import skip_any
from crdt.records import ANY, DELETED, Mandate, Struct

MAX_NAME_CHARS: Final = 200  # longer ones name nobody

_STRING: Final = 119
_NULL: Final = 126
_UNDEFINED: Final = 127
_OBJECT: Final = 118
_MAX_DEPTH: Final = 128
_UNREADABLE: Final = "\0"  # a value that is no name: nobody is called that


def names_in(data: bytes, struct: Struct, known: int, place: Place) -> list[str]:
    """Whom the values of a struct name, from clock `known` on; for one that may name somebody but is no string: NUL."""
    is_stamp = place.attribution == STAMP
    if struct.kind != ANY:
        return [] if is_stamp or struct.kind == DELETED else [_UNREADABLE]
    reader = Reader(data)
    reader.pos = struct.content
    names: list[str] = []
    clock = struct.clock
    for _ in range(reader.read_var_uint()):
        found = _stamped(reader) if is_stamp else _named(reader)
        if clock >= known:
            names.extend(found)
        clock += 1
    return names


def note(place: Place, names: list[str]) -> None:
    """Remember who was named there."""
    for name in names:
        if name != _UNREADABLE and len(name) <= MAX_NAME_CHARS and name not in place.names:
            place.names = [*place.names, name]


def judge(index: Index, place: Place, names: list[str], actor: str, mandate: Mandate) -> None:
    """Raises `Refused` when somebody is named who did not write this."""
    if mandate.may_attribute:
        return
    for name in names:
        if name in place.names:
            continue
        if place.attribution == AUTHOR and not _may_sign(index, place, name, actor, mandate):
            raise Refused(FORBIDDEN, "the author of a comment is who wrote it")
        if place.attribution != AUTHOR and name not in mandate.names:
            raise Refused(FORBIDDEN, "an edit is signed with another user's name")


def is_own(index: Index, comment: Parent, actor: str, mandate: Mandate) -> bool:
    """Whether a comment is the writer's: its author where it names one, else whoever made it."""
    named = _authors(index, comment)
    if named:
        return all(name in mandate.names for name in named)
    return index.owners.get(comment.client, actor) == actor


def _may_sign(index: Index, place: Place, name: str, actor: str, mandate: Mandate) -> bool:
    """Whoever made a comment signs it, once; or it is one that was deleted, and is written anew as it was."""
    comment = place.parent
    if name in mandate.names and index.owners.get(comment.client, actor) == actor and not place.names:
        return True
    entry = index.places[index.place_of(comment.client, comment.clock) >> 1]
    for client, clock, _, _ in entry.chain:
        before = index.types.get((client, clock))
        if before is not None and name in _authors(index, before):
            return True
    return False


def _authors(index: Index, comment: Parent) -> list[str]:
    number = comment.keys.get("author")
    return [] if number is None else index.places[number].names


def _stamped(reader: Reader) -> list[str]:
    """Whom `by` names in a stamp, which is an object."""
    start = reader.pos
    if reader.read_byte() != _OBJECT:
        reader.pos = start
        skip_any(reader, _MAX_DEPTH)
        return []
    names: list[str] = []
    for _ in range(reader.read_var_uint()):
        if reader.read_string() == "by":
            names.extend(_named(reader))
        else:
            skip_any(reader, _MAX_DEPTH)
    return names


def _named(reader: Reader) -> list[str]:
    start = reader.pos
    tag = reader.read_byte()
    if tag == _STRING:
        return [reader.read_string()]
    reader.pos = start
    skip_any(reader, _MAX_DEPTH)
    return [] if tag in (_NULL, _UNDEFINED) else [_UNREADABLE]
