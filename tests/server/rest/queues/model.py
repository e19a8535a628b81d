"""What the outbox promises, by sets of what who had heard of: no bytes, no seqs, no log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from storage.conflicts import Conflict

Kind: TypeAlias = Literal["insert", "set", "word", "label", "delete", "comment", "reply"]
DELETED = "deleted_at"
Place: TypeAlias = str  # title, description, or a comment's id
Lost: TypeAlias = tuple[str, str, object]  # kind, field, what of the losing value is to be compared


@dataclass(frozen=True)
class Done:
    """One thing that somebody did. `knew`: ids of all that they had heard of, None: they do not say, and mean what is
    there · `fields`: column → value · `word`: one they added to the text of `place` · `saw_deleted`: they did it to an
    issue they knew to be deleted."""

    id: str
    kind: Kind
    author: str
    knew: frozenset[str] | None
    clock: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    word: str = ""
    place: Place = ""
    label: str = ""
    saw_deleted: bool = False


@dataclass(frozen=True)
class Standing:
    """What a field says. `id`: of what said it."""

    value: Any
    id: str
    clock: float


class Model:
    """One issue: what it must say, and which values must be in the ledger."""

    def __init__(self) -> None:
        self.is_there = False
        self.fields: dict[str, Standing] = {}
        self.words: dict[Place, dict[str, str]] = {}  # place → word → id
        self.labels: dict[str, str] = {}
        self.events: dict[str, str] = {}  # id → author
        self.lost: Counter[Lost] = Counter()

    @property
    def is_deleted(self) -> bool:
        return DELETED in self.fields and bool(self.fields[DELETED].value)

    def take(self, done: Done) -> str:
        """It is committed now: its outcome."""
        if done.kind == "insert":
            return self._begin(done)
        knew = frozenset(self.events) if done.knew is None else done.knew
        beside = any(event not in knew and author != done.author for event, author in self.events.items())
        before = self.lost.total()
        if done.kind == "delete":
            self._delete(done, knew)
        else:
            self._meet_deletion(done, knew)
            for name, value in done.fields.items():
                self._set(done, name, value, knew)
        if done.word:
            self._write(done)
        if done.label:
            self.labels[done.label] = done.id
            self.events[done.id] = done.author
        return "conflict" if self.lost.total() > before else "merged" if beside else "applied"

    def overwrite(
        self, id: str, author: str, name: str, value: str, knew: frozenset[str], shown: str, at: float
    ) -> None:
        """A replica has set a field in a document; merging shows `shown` there now."""
        stood = self.fields.get(name)
        if stood is not None and stood.id not in knew:
            self.lost[("update_update", name, value if shown == stood.value else stood.value)] += 1
        if stood is None or shown != stood.value:
            self.fields[name] = Standing(shown, id, at)
        self.events[id] = author

    def _begin(self, done: Done) -> str:
        if self.is_there:
            self.lost[("create_create", "", done.word)] += 1
            return "conflict"
        self.is_there = True
        self.fields = {name: Standing(value, done.id, done.clock) for name, value in done.fields.items()}
        self._write(done)
        return "applied"

    def _write(self, done: Done) -> None:
        self.words.setdefault(done.place, {})[done.word] = done.id
        self.events[done.id] = done.author

    def _set(self, done: Done, name: str, value: Any, knew: frozenset[str]) -> None:
        stood = self.fields.get(name)
        if name == DELETED and not self.is_deleted:
            return  # it is restored already
        if stood is not None and stood.id not in knew and stood.value != value:
            is_ours = done.clock > stood.clock
            self.lost[("update_update", name, stood.value if is_ours else value)] += 1
            if not is_ours:
                return
        self.fields[name] = Standing(value, done.id, done.clock)
        self.events[done.id] = done.author

    def _meet_deletion(self, done: Done, knew: frozenset[str]) -> None:
        if done.kind in ("comment", "reply") or done.saw_deleted or not self.is_deleted:
            return
        if self.fields[DELETED].id not in knew:
            said = {(name, value) for name, value in done.fields.items()}
            said |= {(done.place, ...)} if done.word else set()
            said |= {("add_labels", ...)} if done.label else set()
            self.lost[("update_delete", DELETED, frozenset(said))] += 1

    def _delete(self, done: Done, knew: frozenset[str]) -> None:
        if self.is_deleted:
            return
        unknown = {(name, stood.value) for name, stood in self.fields.items() if stood.id not in knew and stood.value}
        for place in ("title", "description"):
            if not set(self.words.get(place, {}).values()) <= knew:
                unknown.add((place, ...))
        if not set(self.labels.values()) <= knew:
            unknown.add(("labels", ...))
        if unknown:
            self.lost[("update_delete", DELETED, frozenset(unknown))] += 1
        self.fields[DELETED] = Standing(True, done.id, done.clock)
        self.events[done.id] = done.author


def told(row: Conflict) -> Lost:
    """A row of the ledger, as far as the model has an opinion of it."""
    value: Any = row.losing.value
    if row.kind == "create_create":
        return row.kind, row.field, value["title"]
    if row.kind == "update_delete":
        plain = {name: each for name, each in value.items() if name not in ("title", "description")}
        texts = {(name, ...) for name in value if name in ("title", "description")}
        fields = {(name, ... if isinstance(each, list) else each) for name, each in plain.items()}
        return row.kind, row.field, frozenset(texts | fields)
    return row.kind, row.field, bool(value) if row.field == DELETED else value
