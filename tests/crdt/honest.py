"""Honest clients made of pycrdt documents: random programs over the shapes an issue can hold."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from crdt.update import diff, encode_state_vector

WORDS = ["a", "status", "héllo ", "naïve 😀 text", "\n", "🏳️‍🌈"]


@dataclass
class Client:
    """One replica and the updates it made, in order."""

    number: int
    doc: Doc = field(init=False)  # type: ignore[type-arg]
    made: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.doc = Doc(client_id=self.number)
        self.title = self.doc.get("title", type=Text)
        self.description = self.doc.get("description", type=Text)
        self.fields = self.doc.get("fields", type=Map)
        self.labels = self.doc.get("list", type=Array)
        self.comments = self.doc.get("comments", type=Map)

    def edit(self, action: int, at: int, word: int) -> None:
        """One transaction; what it does depends on the three numbers and on what the replica holds."""
        before = self.doc.get_state()
        text = self.title if at % 2 else self.description
        piece = WORDS[word % len(WORDS)]
        match action % 8:
            case 0 | 1:
                insert(text, at, piece)
            case 2:
                erase(text, at, 1 + word % 3)
            case 3:
                self.fields[f"k{at % 3}"] = word if word % 2 else piece
            case 4:
                self.fields.pop(f"k{at % 3}", None)
            case 5:
                self.labels.insert(at % (len(self.labels) + 1), piece)
            case 6 if len(self.labels):
                del self.labels[at % len(self.labels)]
            case _:
                self._comment(at, piece)
        update = self.doc.get_update(before)
        if update != b"\x00\x00":
            self.made.append(update)

    def _comment(self, at: int, piece: str) -> None:
        key = f"c{at % 3}"
        if key not in self.comments:
            self.comments[key] = Map({"author": piece, "body": Text(piece)})
        else:
            insert(self.comments[key]["body"], at, piece)

    def learn(self, other: "Client") -> None:
        """Take in everything `other` holds."""
        self.doc.apply_update(other.doc.get_update(self.doc.get_state()))

    def shown(self) -> dict[str, object]:
        """What a person sees."""
        return shown(self.doc)


def insert(text: Text, at: int, piece: str) -> None:
    """Insert at a character boundary (pycrdt counts UTF-8 bytes)."""
    content = str(text)
    text.insert(len(content[: at % (len(content) + 1)].encode()), piece)


def erase(text: Text, at: int, count: int) -> None:
    """Delete whole characters."""
    content = str(text)
    if content:
        start = at % len(content)
        del text[len(content[:start].encode()) : len(content[: start + count].encode())]


def shown(doc: "Doc") -> dict[str, object]:  # type: ignore[type-arg]
    """Every root as plain values."""
    return {
        "title": str(doc.get("title", type=Text)),
        "description": str(doc.get("description", type=Text)),
        "fields": doc.get("fields", type=Map).to_py(),
        "list": doc.get("list", type=Array).to_py(),
        "comments": doc.get("comments", type=Map).to_py(),
    }


def loaded(update: bytes) -> "Doc":  # type: ignore[type-arg]
    """A fresh document from one update."""
    doc: Doc = Doc()  # type: ignore[type-arg]
    doc.apply_update(update)
    return doc


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60
)


def program(steps: list[tuple[int, int, int, int]]) -> list[Client]:
    """Run a program of three clients: (client, action, at, word); actions 8 and 9 learn from the next client."""
    clients = [Client(11), Client(22), Client(33)]
    for who, action, at, word in steps:
        if action < 8:
            clients[who].edit(action, at, word)
        else:
            clients[who].learn(clients[(who + 1) % 3])
    for _ in range(2):
        for client in clients:
            for other in clients:
                client.learn(other)
    return clients


def what_is_missing(update: bytes, clocks: dict[int, int]) -> bytes:
    """What a peer that holds `update` answers to a state vector."""
    return diff(update, encode_state_vector(clocks))
