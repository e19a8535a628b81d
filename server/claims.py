"""Whose a client id is when two nodes met it at one time: the log's order decides, as for whoever loads it later.

A client that changes nodes brings what others wrote, under the client ids of others, maybe before their commits have
come here; the gate then takes it for their owner. The first delta of that client id, once fed, puts that right.
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.index import Index
from crdt.parser import parse
from crdt.records import UNBOUNDED
from storage.store import Delta


class Claims:
    """Client ids first met here since the room was loaded. `_at`: the seq of the delta that brought them, None before
    its commit."""

    __slots__ = ("_at", "_known")

    def __init__(self, index: Index) -> None:
        self._known = set(index.owners)
        self._at: dict[int, int | None] = {}

    def note(self, index: Index) -> Sequence[int]:
        """What the gate accepted just now; returns the client ids that are new."""
        if len(index.owners) == len(self._known):
            return ()
        new = index.owners.keys() - self._known
        self._known |= new
        self._at.update(dict.fromkeys(new))
        return tuple(new)

    def commit(self, clients: Sequence[int], seq: int) -> None:
        """They are in the log, at `seq`."""
        for client in clients:
            if client in self._at:
                self._at[client] = seq

    def forget(self, clients: Sequence[int]) -> None:
        """What brought them was not committed, and the index knows nothing of it any more."""
        self._known.difference_update(clients)
        for client in clients:
            self._at.pop(client, None)

    def settle(self, index: Index, news: Sequence[Delta]) -> None:
        """Other nodes' deltas were folded: where one holds a client's first clock and comes before ours, it owns it."""
        self._known |= index.owners.keys()
        if not self._at:
            return
        for delta in news:
            for section in parse(delta.update, UNBOUNDED).sections:
                claimed_at = self._at.get(section.client, 0)
                if section.clock == 0 and (claimed_at is None or delta.seq < claimed_at):
                    index.owners[section.client] = delta.actor_id
                    del self._at[section.client]
        # Deltas are fed in seq order: what is claimed below these has nothing before it any more.
        self._at = {client: at for client, at in self._at.items() if at is None or at > news[-1].seq}
