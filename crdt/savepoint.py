"""What an index was before an update."""

from crdt.index import UNDECIDED, Index, Parent, Place
from crdt.records import NOBODY


class Savepoint:
    """How much the index held before an update, so that a refusal halfway leaves no trace. Everything but flavours,
    chains and names only grows, so lengths are enough."""

    def __init__(self, index: Index, clients: list[int]) -> None:
        self.index = index
        self.clocks = {client: index.state_vector.get(client, NOBODY) for client in clients}
        self.runs = {client: len(index.runs[client].starts) for client in clients if client in index.runs}
        self.places = len(index.places)
        self.roots = len(index.roots)
        self.types = len(index.types)
        self.cuts = set(index.cuts)
        self.heads = index.heads
        self.structs = index.structs
        self.flavours: list[Parent] = []
        self.chains: list[tuple[Place, list[tuple[int, int, int, int]]]] = []
        self.names: list[tuple[Place, list[str]]] = []

    def restore(self) -> None:
        """Put everything back."""
        index = self.index
        for place, chain in reversed(self.chains):
            place.chain = chain
        for place, names in reversed(self.names):
            place.names = names
        for parent in self.flavours:
            parent.flavour = UNDECIDED
        for client, clock in index.cuts - self.cuts:
            index.pairs[client].add(clock)
        index.cuts = self.cuts
        index.heads = self.heads
        index.structs = self.structs
        while len(index.places) > self.places:
            place = index.places.pop()
            if place.key is None:
                place.parent.sequence = NOBODY
            else:
                del place.parent.keys[place.key]
        while len(index.roots) > self.roots:
            index.roots.popitem()
        while len(index.types) > self.types:
            index.types.popitem()
        for client, clock in self.clocks.items():
            self._restore_client(client, clock)

    def _restore_client(self, client: int, clock: int) -> None:
        index = self.index
        if client in index.pairs:
            index.pairs[client] = {high for high in index.pairs[client] if high < clock}
        if clock == NOBODY:
            index.state_vector.pop(client, None)
            index.runs.pop(client, None)
            return
        index.state_vector[client] = clock
        runs = index.runs[client]
        length = self.runs[client]
        del runs.starts[length:]
        del runs.places[length:]
