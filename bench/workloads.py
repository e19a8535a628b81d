"""Updates as real clients make them, in causal order: made-up ones from a seed, and recorded sessions."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
from pycrdt import Doc, Map, Text, TransactionEvent

from bench.traces import ConcurrentTrace, Patch, SequentialTrace, find_traces, load
from bench.typist import FIRST_CLIENT, ROOT, Typist

CACHE = Path(tempfile.gettempdir()) / "syncline-bench-traces"
REPLICAS = 4
EDITS_BETWEEN_MEETINGS = 10
KEYS = ("status", "priority", "userId", "sessionId", "claudeTaskId", "completedAt")


@dataclass(frozen=True, slots=True)
class Workload:
    """`updates` of one document in an order that is causal. `text`: what its root text must say in the end."""

    name: str
    updates: Sequence[bytes]
    text: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all updates."""
        return sum(map(len, self.updates))


def typing(count: int) -> Workload:
    """One author, one letter an update."""
    typist = Typist(FIRST_CLIENT)
    return Workload("typing", [typist.type() for _ in range(count)], typist.text)


def map_sets(count: int) -> Workload:
    """One author who sets the fields of an issue over and over."""
    document: Doc[Map[str]] = Doc(client_id=11)
    fields = document.get("fields", type=Map)
    with _recorded(document) as updates:
        for number in range(count):
            fields[KEYS[number % len(KEYS)]] = f"value {number}"
    return Workload("map sets", updates)


def deletions(count: int) -> tuple[Workload, Workload]:
    """A text of `count` letters, and its being deleted from the end letter by letter."""
    typed = typing(count)
    document: Doc[Text] = Doc(client_id=12)
    text = document.get(ROOT.decode(), type=Text)
    for update in typed.updates:
        document.apply_update(update)
    with _recorded(document) as updates:
        for end in range(count, 0, -1):
            del text[end - 1 : end]
    return typed, Workload("deletions", updates, "")


def concurrent(count: int) -> Workload:
    """Four replicas that edit one text at random places and see one another's edits every ten of their own."""
    chance = random.Random(4)
    documents: list[Doc[Text]] = [Doc(client_id=21 + number) for number in range(REPLICAS)]
    texts = [document.get(ROOT.decode(), type=Text) for document in documents]
    updates: list[bytes] = []
    while len(updates) < count:
        fresh: list[list[bytes]] = []
        for document, text in zip(documents, texts, strict=True):
            with _recorded(document) as made:
                for _ in range(EDITS_BETWEEN_MEETINGS):
                    _edit_somewhere(text, chance)
            fresh.append(made)
        for number, document in enumerate(documents):
            for author, made in enumerate(fresh):
                if author != number:
                    for update in made:
                        document.apply_update(update)
        updates.extend(update for made in fresh for update in made)
    return Workload(f"concurrent, {REPLICAS} replicas", updates, str(texts[0]))


def recorded(transactions: int | None) -> list[Workload]:
    """The recordings that are present as Yjs updates, at most `transactions` each. Converted once, then cached."""
    return [_recording(path, transactions) for path in find_traces().values()]


def _edit_somewhere(text: Text, chance: random.Random) -> None:
    length = len(text)
    if length > 20 and chance.random() < 0.3:
        start = chance.randrange(length - 3)
        del text[start : start + chance.randint(1, 3)]
    else:
        text.insert(chance.randint(0, length), chance.choice(("a", "word ", "two words ")))


def _recording(path: Path, transactions: int | None) -> Workload:
    name = path.name.partition(".")[0]
    cached = CACHE / f"{name}-{path.stat().st_size}-{transactions or 'all'}.msgpack"
    if cached.exists():
        updates, text = msgpack.unpackb(cached.read_bytes())
        return Workload(name, updates, text)
    match load(path):
        case SequentialTrace() as trace:
            updates, text = _convert_sequential(trace, transactions)
        case ConcurrentTrace() as trace:
            updates, text = _convert_concurrent(trace, transactions)
    CACHE.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(msgpack.packb((updates, text)))
    return Workload(name, updates, text)


def _convert_sequential(trace: SequentialTrace, transactions: int | None) -> tuple[list[bytes], str]:
    document: Doc[Text] = Doc(client_id=31)
    text = document.get(ROOT.decode(), type=Text)
    with _recorded(document) as updates:
        if trace.start_content:
            text.insert(0, trace.start_content)
        for patches in trace.transactions[:transactions]:
            with document.transaction():
                _apply(patches, text)
    return updates, _checked(str(text), trace.end_content, transactions)


def _convert_concurrent(trace: ConcurrentTrace, transactions: int | None) -> tuple[list[bytes], str]:
    """A replica an agent; before an edit the replica hears all that the edit's author had heard."""
    documents: list[Doc[Text]] = [Doc(client_id=41 + agent) for agent in range(trace.agents)]
    texts = [document.get(ROOT.decode(), type=Text) for document in documents]
    heard: list[set[int]] = [set() for _ in documents]
    updates: list[bytes] = []
    for number, transaction in enumerate(trace.transactions[:transactions]):
        agent = transaction.agent
        for missing in _missing(trace, transaction.parents, heard[agent]):
            documents[agent].apply_update(updates[missing])
        with _recorded(documents[agent]) as made, documents[agent].transaction():
            _apply(transaction.patches, texts[agent])
        updates.append(made[0] if made else b"\x00\x00")
        heard[agent].add(number)
    everything = [number for number in range(len(updates)) if number not in heard[0]]
    for number in everything:
        documents[0].apply_update(updates[number])
    return [update for update in updates if update != b"\x00\x00"], _checked(
        str(texts[0]), trace.end_content, transactions
    )


def _missing(trace: ConcurrentTrace, parents: Sequence[int], heard: set[int]) -> list[int]:
    """The parents and their ancestors not heard of yet, causes first; they count as heard from now on."""
    missing: list[int] = []
    waiting = list(parents)
    while waiting:
        number = waiting.pop()
        if number not in heard:
            heard.add(number)
            missing.append(number)
            waiting.extend(trace.transactions[number].parents)
    return sorted(missing)


def _apply(patches: Sequence[Patch], text: Text) -> None:
    """Positions are code points, pycrdt counts bytes: the same in ASCII, which both recordings are."""
    for patch in patches:
        if patch.deleted:
            del text[patch.position : patch.position + patch.deleted]
        if patch.inserted:
            if not patch.inserted.isascii():
                raise ValueError("a recording with more than ASCII needs its positions converted")
            text.insert(patch.position, patch.inserted)


def _checked(text: str, expected: str, transactions: int | None) -> str:
    if transactions is None and text != expected:
        raise ValueError("the converted recording does not end in its own text")
    return text


@contextmanager
def _recorded(document: Doc[Text] | Doc[Map[str]]) -> Iterator[list[bytes]]:
    """The updates of the transactions committed inside, in order."""
    updates: list[bytes] = []
    record: Callable[[TransactionEvent], None] = lambda event: updates.append(event.update)  # noqa: E731
    subscription = document.observe(record)
    try:
        yield updates
    finally:
        document.unobserve(subscription)
