"""What a full issue takes and what it does not, and how full it is: against documents of real clients."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from crdt.errors import FULL, Refused
from crdt.gate import check, fold, index_of, index_of_snapshot
from crdt.index import Index
from crdt.jobs import Check, Compact
from crdt.parser import parse
from crdt.records import UNBOUNDED, Capacity, Limits
from crdt.resident import Resident
from crdt.update import merge
from crdt.wire import pack, unpack

NOTHING_KEPT = Resident(max_issues=1, max_bytes=1)


class Client:
    """One replica whose edits pass the gate."""

    def __init__(self, capacity: Capacity) -> None:
        self.limits = Limits(capacity=capacity)
        self.index = Index()
        self.log: list[bytes] = []
        self.doc: Doc[Any] = Doc(client_id=7)
        self.title: Text = self.doc.get("title", type=Text)
        self.fields: Map[Any] = self.doc.get("fields", type=Map)
        self.comments: Map[Any] = self.doc.get("comments", type=Map)

    def sends(self, edit: Any) -> str:
        """Make an edit and have it judged: "" or the reason. What is refused stays in the replica only."""
        before = self.doc.get_state()
        edit()
        return self.judged(self.doc.get_update(before))

    def judged(self, update: bytes) -> str:
        before, structs = self.index.encode(), self.index.structs
        try:
            self.log.append(check(self.index, update, "ana", self.limits).update)
        except Refused as refused:
            assert (self.index.encode(), self.index.structs) == (before, structs), "a refusal left a trace"
            return refused.reason
        return ""

    def forget(self) -> None:
        """The client loads the issue anew, as it is told to behind a refusal."""
        limits, index, log = self.limits, self.index, self.log
        self.__init__(limits.capacity)  # type: ignore[misc]
        self.index, self.log = index, log
        self.doc.apply_update(merge(log))

    def type(self, text: str) -> str:
        return self.sends(lambda: self.title.insert(len(str(self.title)), text))

    def scatter(self, times: int) -> list[str]:
        """Type in front of what is there: nothing of it is kept in one struct."""
        return [self.sends(lambda: self.title.insert(0, "x")) for _ in range(times)]

    def comment(self, name: str) -> str:
        return self.sends(lambda: self.comments.update({name: Map({"author": "ana", "body": Text("hello")})}))


FULL_OF: dict[str, Capacity] = {
    "bytes": Capacity(max_bytes=100),
    "structs": Capacity(max_structs=8),
    "tombstones": Capacity(max_tombstones=3),
}


def filled(name: str) -> Client:
    """An issue that takes no more."""
    client = Client(FULL_OF[name])
    client.type("x" * 20)
    if name == "tombstones":
        for at in (2, 4, 6, 8):
            assert client.sends(lambda at=at: client.title.__delitem__(slice(at, at + 1))) == ""
    for _ in range(50):
        if client.scatter(1) == [FULL]:
            client.forget()
            return client
    raise AssertionError("it is never full")


@pytest.mark.parametrize("name", FULL_OF)
def test_a_full_issue_does_not_grow(name: str) -> None:
    client = filled(name)
    assert client.type("more") == FULL
    client.forget()
    assert client.comment("one") == FULL
    client.forget()
    assert client.scatter(1) == [FULL]


@pytest.mark.parametrize("name", FULL_OF)
def test_a_full_issue_shrinks_and_is_closed_and_deleted(name: str) -> None:
    client = filled(name)
    assert client.sends(lambda: client.title.clear()) == ""
    assert client.sends(lambda: client.fields.update({"status": "done"})) == ""
    assert client.sends(lambda: client.fields.update({"deletedAt": "2026-01-01T00:00:00Z"})) == ""
    client.doc = Doc(client_id=8)
    client.doc.apply_update(merge(client.log))
    assert str(client.doc.get("title", type=Text)) == ""
    assert client.doc.get("fields", type=Map)["status"] == "done"


@pytest.mark.parametrize("name", FULL_OF)
def test_upkeep_has_a_bound_too(name: str) -> None:
    client = filled(name)
    client.type("y" * 400)  # refused, but it gives the replica something to overwrite
    client.forget()
    keys = ("status", "priority")
    flips = [client.sends(lambda n=n: client.fields.update({keys[n % 2]: str(n)})) for n in range(100)]
    if name == "tombstones":
        assert FULL not in flips  # the values before are one range
    else:
        assert flips[0] == ""
        assert FULL in flips


def test_deletions_in_nothing_but_garbage_end_at_twice_the_bound() -> None:
    index, limits = Index(), Limits(capacity=Capacity(max_tombstones=10))
    check(index, bytes([1, 1, 7, 0, 0, 0x7F, 0]), "ana", limits)  # 127 clocks of garbage
    deleted = [bytes([0, 1, 7, 1, clock, 1]) for clock in range(0, 100, 2)]
    for update in deleted[:20]:
        assert check(index, update, "ana", limits).update
    with pytest.raises(Refused, match=FULL):
        check(index, deleted[20], "ana", limits)
    assert not check(index, merge(deleted[:20]), "ana", limits).update  # what is known is no offence


@pytest.mark.parametrize("name", FULL_OF)
def test_what_is_known_is_never_refused(name: str) -> None:
    client = filled(name)
    assert client.judged(client.doc.get_update()) == ""


def test_comments_are_counted_by_themselves() -> None:
    client = Client(Capacity(max_comments=2))
    assert [client.comment(name) for name in ("one", "two")] == ["", ""]
    assert client.comment("three") == FULL
    client.forget()
    assert client.sends(lambda: client.comments["one"]["body"].insert(0, "edited ")) == ""
    assert client.sends(lambda: client.comments["one"].update({"deletedAt": "2026-01-01T00:00:00Z"})) == ""
    assert client.type("the issue goes on") == ""
    assert client.comment("four") == FULL


def test_an_update_that_is_alone_too_large_for_an_issue_is_refused() -> None:
    assert Client(Capacity(max_bytes=100)).type("x" * 200) == FULL


def test_typing_on_costs_bytes_only() -> None:
    client = Client(Capacity(max_structs=2))
    assert {client.type(letter) for letter in "typed letter by letter"} == {""}
    assert client.index.structs == 1


def test_an_engine_holds_big_updates_to_the_same() -> None:
    client = Client(Capacity(max_bytes=100))
    client.type("x" * 50)
    before = client.doc.get_state()
    client.title.insert(0, "y" * 30)
    job = Check(client.index.encode(), client.doc.get_update(before), "ana", client.limits, stored_bytes=90)
    with pytest.raises(Refused, match=FULL):
        unpack(pack(job)).run(NOTHING_KEPT)
    unpack(pack(Check(job.index, job.update, "ana", client.limits))).run(NOTHING_KEPT)


@pytest.mark.parametrize("seed", range(8))
def test_structs_are_counted_as_a_document_keeps_them(seed: int) -> None:
    """Once it is compacted exactly; until then, those that later edits split count as one."""
    random, client = Random(seed), Client(Capacity())
    for _ in range(60):
        match random.randrange(4):
            case 0:
                client.type("word")
            case 1:
                client.sends(lambda: client.title.insert(random.randrange(len(str(client.title)) + 1), "x"))
            case 2:
                client.sends(lambda: client.fields.update({"status": str(random.random())}))
            case _ if len(str(client.title)) > 3:
                client.sends(lambda: client.title.__delitem__(slice(1, 3)))
    compacted = Compact(None, None, [(update, "ana") for update in client.log if update]).run(NOTHING_KEPT)
    there = sum(len(section.structs) for section in parse(compacted.state, UNBOUNDED).sections)
    index = index_of_snapshot(compacted.state, compacted.index)
    assert index.structs == there
    assert there <= 3 * client.index.structs


def test_an_index_that_was_stored_without_a_count_is_counted() -> None:
    client = Client(Capacity())
    client.scatter(5)
    state = merge(client.log)
    encoded = index_of(state, {7: "ana"}).encode()
    assert index_of_snapshot(state, b"\x03" + encoded[1:-1]).encode() == encoded


def test_the_log_is_read_whatever_it_holds() -> None:
    client = filled("structs")
    index = Index()
    for update in [*client.log, *(bytes([1, 1, 9, clock, 0, 1, 0]) for clock in range(100))]:
        fold(index, update, "ana")
    assert index.state_vector[9] == 100
