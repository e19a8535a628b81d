"""What somebody may write who may only comment: comments of their own, proven from where structs and deletions land."""

from collections.abc import Mapping

from crdt.attribution import is_own
from crdt.errors import FORBIDDEN, Refused
from crdt.index import COMMENT, GONE, Index, Parent, Place
from crdt.novelty import visible_deletes
from crdt.ranges import contains
from crdt.records import DELETED, MAP, NOBODY, TYPE, Mandate, Struct


def check_struct(index: Index, struct: Struct, place: Place, actor: str, mandate: Mandate) -> None:
    """Raises `Refused` unless a struct that is about to live in `place` is part of a comment of their own, or begins
    one. Overwriting is deleting, so what stood there before must be their own too."""
    top, comment = _climb(index, place)
    if top is index.places[GONE]:
        return  # in something that is no more: nobody sees it
    if top.attribution != COMMENT:
        raise _beyond(top)
    if comment is not None:
        if not is_own(index, comment, actor, mandate):
            raise Refused(FORBIDDEN, "the comment is somebody else's")
        return
    if struct.kind != DELETED and not (struct.kind == TYPE and struct.type_ref == MAP):
        raise Refused(FORBIDDEN, "a comment is a map")
    for client, clock, _, _ in top.chain:
        if not contains(index.deleted.get(client, []), clock) and not _is_own_entry(
            index, client, clock, actor, mandate
        ):
            raise Refused(FORBIDDEN, "the comment that this overwrites is somebody else's")


def check_deletes(index: Index, deletes: Mapping[int, list[int]], actor: str, mandate: Mandate) -> None:
    """Raises `Refused` when something is deleted that is seen and not part of a comment of their own."""
    for client, clock, place in visible_deletes(index, deletes):
        top, comment = _climb(index, place)
        if top.attribution != COMMENT:
            raise _beyond(top)
        mine = (
            _is_own_entry(index, client, clock, actor, mandate)
            if comment is None
            else is_own(index, comment, actor, mandate)
        )
        if not mine:
            raise Refused(FORBIDDEN, "what this deletes is somebody else's")


def _climb(index: Index, place: Place) -> tuple[Place, Parent | None]:
    """The place in a root that `place` is below, and the shared type that holds it there; None: it is that place."""
    inner: Parent | None = None
    while place.parent.client != NOBODY:
        inner = place.parent
        place = index.places[index.place_of(inner.client, inner.clock) >> 1]
    return place, inner


def _is_own_entry(index: Index, client: int, clock: int, actor: str, mandate: Mandate) -> bool:
    comment = index.types.get((client, clock))
    if comment is None:
        return index.owners.get(client, actor) == actor
    return is_own(index, comment, actor, mandate)


def _beyond(top: Place) -> Refused:
    return Refused(FORBIDDEN, f"a commenter writes comments, not {top.parent.name or 'this'!r}")
