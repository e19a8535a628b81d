"""What is on its way through the appender, and what its landing will make of the room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crdt.index import Index
from server.batch import Batch
from storage.store import NewDelta


class Flight:
    """A batch between `append` and COMMIT. `state_vector`: of everything committed once it has landed · `update`: all
    deltas as one · `claims`: client ids first met in it · `before`: the index without it, where it may be overtaken."""

    __slots__ = ("batch", "before", "claims", "deltas", "state_vector", "update")

    def __init__(
        self,
        batch: Batch,
        deltas: Sequence[NewDelta],
        state_vector: Mapping[int, int],
        claims: Sequence[int],
        before: Index | None = None,
    ) -> None:
        self.batch = batch
        self.deltas = deltas
        self.state_vector = state_vector
        self.claims = claims
        self.before = before
        self.update = b""


def union(one: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, int]:
    """The state vector of both."""
    both = dict(one)
    for client, clock in other.items():
        if clock > both.get(client, 0):
            both[client] = clock
    return both
