"""Values of fields that met without knowing of each other: found by the gate, each loser once, none invented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from pycrdt import Doc, Map

from crdt.errors import Refused
from crdt.field_writes import DECIDED, read_any, same_value
from crdt.gate import check, fold, index_of_snapshot
from crdt.index import Index
from crdt.jobs import Compact
from crdt.records import Arrival, Limits, Overwrite
from crdt.resident import Resident
from crdt.shape import FIELD_KEYS
from crdt.update import merge

LIMITS = Limits()
NOTHING_KEPT = Resident(max_issues=0, max_bytes=0)


class Replica:
    """A document that somebody edits."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.doc: Doc[Any] = Doc(client_id=client)
        self.made: list[bytes] = []
        self.fields: Map[Any] = self.doc.get("fields", type=Map)
        self.stamps: Map[Any] = self.doc.get("stamps", type=Map)

    def change(self, write: Callable[[], None]) -> bytes:
        before = self.doc.get_state()
        with self.doc.transaction():
            write()
        update = self.doc.get_update(before)
        self.made.append(update)
        return update

    def set(self, value: object, key: str = "status") -> bytes:
        return self.change(lambda: self.fields.__setitem__(key, value))

    def learn(self, *updates: bytes) -> None:
        for update in updates:
            self.doc.apply_update(update)

    def shown(self, key: str = "status") -> object:
        return self.fields.get(key)


def take(index: Index, update: bytes, actor: str = "", device: str = "", at_ms: int = 0) -> list[Overwrite]:
    return check(index, update, actor, LIMITS, None, Arrival(device, at_ms)).overwrites


def told(found: list[Overwrite]) -> list[tuple[object, object]]:
    """(what stands, what is lost)."""
    return [(read_any(one.standing.value), read_any(one.losing.value)) for one in found]


@pytest.fixture
def low() -> Replica:
    return Replica(5)


@pytest.fixture
def high() -> Replica:
    return Replica(9)


@pytest.fixture
def index() -> Index:
    return Index()


def test_the_fields_are_those_of_a_record_but_its_beginning() -> None:
    assert set(FIELD_KEYS.values()) - {"createdAt", "createdBy"} == DECIDED


def test_who_has_seen_a_value_overwrites_it_without_conflict(low: Replica, high: Replica, index: Index) -> None:
    assert take(index, low.set("open")) == []
    high.learn(*low.made)
    assert take(index, high.set("done")) == []


@pytest.mark.parametrize("first", ["low", "high"])
def test_of_two_values_the_one_that_is_not_shown_is_lost(low: Replica, high: Replica, index: Index, first: str) -> None:
    sent = [(low.set("blocked"), "ana"), (high.set("done"), "bob")]
    if first == "high":
        sent.reverse()
    assert take(index, *sent[0], "laptop", 1) == []
    (found,) = take(index, *sent[1], "phone", 2)
    low.learn(*high.made)
    assert low.shown() == "done"
    assert told([found]) == [("done", "blocked")]
    assert (found.standing.actor, found.losing.actor) == ("bob", "ana")
    devices = ("phone", "laptop") if first == "low" else ("laptop", "phone")
    assert (found.standing.device, found.losing.device) == devices
    assert {found.standing.at_ms, found.losing.at_ms} == {1, 2}


def test_the_same_value_is_no_conflict(low: Replica, high: Replica, index: Index) -> None:
    take(index, low.set("done"))
    assert take(index, high.set("done")) == []


def test_two_who_delete_an_issue_agree_and_one_who_restores_it_does_not(index: Index) -> None:
    assert same_value("deletedAt", b"w\x011", b"w\x012")
    assert not same_value("completedAt", b"w\x011", b"w\x012")
    ana, bob, cleo = Replica(1), Replica(2), Replica(3)
    take(index, ana.set("2026-01-01", "deletedAt"))
    assert take(index, bob.set("2026-01-02", "deletedAt")) == []
    assert told(take(index, cleo.set(None, "deletedAt"))) == [(None, "2026-01-02")]


@pytest.mark.parametrize("key", ["createdAt", "createdBy", "colour"])
def test_other_keys_are_nobodys_business(low: Replica, high: Replica, index: Index, key: str) -> None:
    take(index, low.set("a", key))
    assert take(index, high.set("b", key)) == []


def test_labels_are_no_fields(low: Replica, high: Replica, index: Index) -> None:
    labels = [replica.doc.get("labels", type=Map) for replica in (low, high)]
    take(index, low.change(lambda: labels[0].__setitem__("status", True)))
    assert take(index, high.change(lambda: labels[1].__setitem__("status", False))) == []


def test_each_of_three_concurrent_values_is_lost_once(index: Index) -> None:
    replicas = [Replica(client) for client in (3, 1, 2)]
    found = [one for replica in replicas for one in take(index, replica.set(replica.client))]
    assert told(found) == [(3, 1), (3, 2)]


def test_a_value_that_was_replaced_by_its_author_is_not_lost(low: Replica, high: Replica, index: Index) -> None:
    take(index, high.set("done"))
    for value in ("one", "two", "three"):
        low.set(value)
    (found,) = take(index, merge(low.made))
    assert told([found]) == [("done", "three")]
    assert found.replaced[0] == -1


def test_a_loser_says_which_of_its_own_it_replaced(low: Replica, high: Replica, index: Index) -> None:
    take(index, high.set("done"))
    (first,) = take(index, low.set("one"))
    low.set("two")
    low.set("three")
    (second,) = take(index, merge(low.made[1:]))
    assert second.replaced == (first.losing.client, first.losing.clock)


def test_a_winner_that_was_replaced_unseen_still_displaced_what_stood(
    low: Replica, high: Replica, index: Index
) -> None:
    """Yjs sends the replaced value as deleted content; what stood is lost all the same."""
    take(index, low.set("blocked"))
    high.set("one")
    high.set("two")
    assert told(take(index, high.doc.get_update())) == [("two", "blocked")]


def test_a_value_lost_to_a_deleted_key_is_lost(low: Replica, high: Replica, index: Index) -> None:
    high.set("done")
    high.change(lambda: high.fields.__delitem__("status"))
    take(index, high.doc.get_update())
    assert told(take(index, low.set("blocked"))) == [(None, "blocked")]


def test_nothing_is_found_twice(low: Replica, high: Replica, index: Index) -> None:
    take(index, low.set("blocked"))
    assert len(take(index, high.set("done"))) == 1
    assert take(index, merge(low.made + high.made)) == []


def test_a_refused_update_leaves_no_trace(low: Replica, high: Replica, index: Index) -> None:
    take(index, low.set("blocked"), "ana")
    before = index.encode()
    high.set("done")
    high.doc.get("title", type=Map)["x"] = Map({"deep": Map()})
    with pytest.raises(Refused):
        check(index, high.doc.get_update(), "bob", Limits(max_depth=1))
    assert index.encode() == before


def test_a_stamp_belongs_to_the_value_before_it(low: Replica, high: Replica, index: Index) -> None:
    def write() -> None:
        for key in ("status", "priority"):
            low.fields[key] = "a"
        for key in ("status", "priority"):
            low.stamps[key] = {"at": f"{key} time", "by": "ana", "device": "d"}

    take(index, low.change(write), "ana")
    found = take(index, high.set("b")) + take(index, high.set("b", "priority"))
    assert [read_any(one.losing.stamp) for one in found] == [
        {"at": f"{key} time", "by": "ana", "device": "d"} for key in ("status", "priority")
    ]
    assert [one.standing.stamp for one in found] == [b"", b""]


def test_a_stamp_that_comes_later_is_noted(low: Replica, high: Replica, index: Index) -> None:
    take(index, low.set("a"))
    take(index, low.change(lambda: low.stamps.__setitem__("status", {"at": "t"})))
    (found,) = take(index, high.set("b"))
    assert read_any(found.losing.stamp) == {"at": "t"}


@pytest.mark.parametrize("value", ["x" * 200, 3, -70, 2.5, True, None, {"a": [1, "b"]}, "ü😀", ""])
def test_values_are_read_as_they_were_written(low: Replica, high: Replica, index: Index, value: object) -> None:
    take(index, low.set(value))
    high.set("other")
    assert [lost for _, lost in told(take(index, high.made[0]))] == [value]


@pytest.mark.parametrize("data", [b"", b"w", b"\x7b\0", b"v\x01", b"u" * 50, b"\xff", b"\x7d\xff"])
def test_bytes_that_are_no_value_read_as_none(data: bytes) -> None:
    assert read_any(data) is None


def test_the_heads_outlive_storage_and_compaction(low: Replica, high: Replica) -> None:
    before = Compact(None, None, [(low.set("blocked"), "ana")], [Arrival("laptop", 7)]).run(NOTHING_KEPT)
    (found,) = fold(Index.decode(before.index), high.set("done"), "bob").overwrites
    assert (found.losing.actor, found.losing.device, found.losing.at_ms) == ("ana", "laptop", 7)
    assert told([found]) == [("done", "blocked")]


def test_compaction_tells_what_its_tail_overwrote(low: Replica, high: Replica) -> None:
    tail = [(low.set("blocked"), "ana"), (low.set("x", "priority"), "ana"), (high.set("done"), "bob")]
    ((place, found),) = Compact(None, None, tail).run(NOTHING_KEPT).overwrites
    assert place == 2
    assert told([found]) == [("done", "blocked")]


def test_an_index_of_a_version_without_heads_gets_them_from_the_snapshot(low: Replica, high: Replica) -> None:
    compacted = Compact(None, None, [(low.set("blocked"), "ana")]).run(NOTHING_KEPT)
    bare = Index.decode(compacted.index)
    bare.heads = {}
    stored = b"\x02" + bare.encode()[1:-2]
    (found,) = fold(index_of_snapshot(compacted.state, stored), high.set("done"), "bob").overwrites
    assert (told([found]), found.losing.actor) == ([("done", "blocked")], "ana")


@dataclass
class Edit:
    """One edit in the oracle's words: what its author knew, and which edit's value it replaced on their screen."""

    number: int
    update: bytes
    knew: frozenset[int]
    replaced: int | None


@dataclass
class Program:
    """Random edits by replicas that learn from each other now and then, in an order that causes precede effects."""

    seed: int
    edits: list[Edit] = field(default_factory=list)

    def run(self) -> list[Edit]:
        random = Random(self.seed)
        replicas = [Replica(client) for client in random.sample(range(1, 100), 4)]
        knowledge: list[frozenset[int]] = [frozenset() for _ in replicas]
        for _ in range(random.randint(4, 24)):
            at = random.randrange(len(replicas))
            if random.random() < 0.4:
                other = random.randrange(len(replicas))
                replicas[at].learn(replicas[other].doc.get_update())
                knowledge[at] |= knowledge[other]
                continue
            number = len(self.edits)
            seen = replicas[at].shown()
            update = replicas[at].set(number)
            self.edits.append(Edit(number, update, knowledge[at], None if seen is None else int(seen)))  # type: ignore[call-overload]
            knowledge[at] |= {number}
        return self._delivered(random)

    def _delivered(self, random: Random) -> list[Edit]:
        waiting, order = list(self.edits), list[Edit]()
        while waiting:
            here = {edit.number for edit in order}
            order.append(random.choice([edit for edit in waiting if edit.knew <= here]))
            waiting.remove(order[-1])
        return order


@pytest.mark.parametrize("seed", range(150))
def test_an_oracle_that_knows_who_knew_what_finds_the_same_losers(seed: int) -> None:
    index, server = Index(), Replica(0)
    program = Program(seed)
    expected: list[tuple[int, int | None]] = []  # who lost, and whose earlier loss that makes up for
    found: list[tuple[int, int | None]] = []
    numbers: dict[tuple[int, int], int] = {}
    standing: int | None = None
    for edit in program.run():
        verdict = check(index, edit.update, "", LIMITS)
        server.learn(edit.update)
        shown = server.shown()
        if standing is not None and standing not in edit.knew:
            loser = standing if shown == edit.number else edit.number
            replaced = program.edits[loser].replaced
            expected.append((loser, replaced if replaced in [number for number, _ in expected] else None))
        standing = int(shown)  # type: ignore[call-overload]
        for one in verdict.overwrites:
            assert read_any(one.standing.value) == shown
            number = int(read_any(one.losing.value))  # type: ignore[call-overload]
            found.append((number, numbers.get(one.replaced)))
            numbers[one.losing.client, one.losing.clock] = number
    assert found == expected
