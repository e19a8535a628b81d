"""Nobody says that somebody else did something: `createdBy`, the author of a comment, `stamps.*.by`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pycrdt import Map, Text

from crdt.errors import FORBIDDEN
from crdt.index import Index
from crdt.jobs import Check
from crdt.resident import Resident
from crdt.update import merge
from crdt.wire import pack, unpack
from tests.crdt.writers import LIMITS, Issue, Writer

Act = Callable[[Writer], object]

TRUE: dict[str, Act] = {
    "createdBy": lambda ben: ben.map("fields").update({"createdBy": "ben"}),
    "createdBy nobody": lambda ben: ben.map("fields").update({"createdBy": None}),
    "a stamp": lambda ben: ben.map("stamps").update({"status": {"at": "now", "by": "ben", "device": "d"}}),
    "a stamp of nobody": lambda ben: ben.map("stamps").update({"status": {"at": "now", "by": None}}),
    "a stamp that is a map": lambda ben: ben.map("stamps").update({"status": Map({"by": "ben"})}),
    "a stamp of another shape": lambda ben: ben.map("stamps").update({"status": 7}),
    "author elsewhere": lambda ben: ben.map("fields").update({"author": "ana", "by": "ana"}),
    "createdBy elsewhere": lambda ben: ben.map("labels").update({"createdBy": "ana"}),
    "deeper in a comment": lambda ben: ben.map("comments").update({"c": Map({"quote": Map({"author": "ana"})})}),
}
FORGED: dict[str, Act] = {
    "createdBy": lambda ben: ben.map("fields").update({"createdBy": "ana"}),
    "createdBy as a number": lambda ben: ben.map("fields").update({"createdBy": 7.0}),
    "createdBy as a text": lambda ben: ben.map("fields").update({"createdBy": Text("ana")}),
    "createdBy as bytes": lambda ben: ben.map("fields").update({"createdBy": b"ana"}),
    "a stamp": lambda ben: ben.map("stamps").update({"status": {"at": "now", "by": "ana"}}),
    "a stamp by a list": lambda ben: ben.map("stamps").update({"status": {"by": ["ana"]}}),
    "a stamp that is a map": lambda ben: ben.map("stamps").update({"status": Map({"by": "ana"})}),
    "a comment": lambda ben: ben.map("comments").update({"c": Map({"author": "ana"})}),
    "a comment as an object": lambda ben: ben.map("comments").update({"c": Map({"author": {"is": "ana"}})}),
}


@pytest.mark.parametrize("name", TRUE)
def test_what_is_said_of_oneself_or_of_nobody_passes(name: str) -> None:
    ben = Issue().writer("ben", 22)
    assert ben.writes(lambda: TRUE[name](ben)) == ""


@pytest.mark.parametrize("name", FORGED)
def test_what_is_said_of_another_is_refused(name: str) -> None:
    ben = Issue().writer("ben", 22)
    assert ben.writes(lambda: FORGED[name](ben)) == FORBIDDEN


@pytest.mark.parametrize("name", ["createdBy", "a stamp", "a comment"])
def test_whoever_may_attribute_names_anybody(name: str) -> None:
    admin = Issue().writer("root", 22, may_attribute=True)
    assert admin.writes(lambda: FORGED[name](admin)) == ""


def test_several_values_in_one_struct_are_all_read() -> None:
    issue = Issue()
    ben = issue.writer("ben", 9)
    values = bytes.fromhex("01010900 2801 06 7374616d7073 01 6b 02 77026f6b 7601 026279 7703616e61 00")
    assert issue.take(values, ben) == FORBIDDEN


def test_the_known_half_of_a_struct_is_not_judged_again() -> None:
    issue = Issue()
    admin, ben = issue.writer("root", 8, may_attribute=True), issue.writer("ben", 9)
    start = "01010900 2801 06 6669656c6473 09 637265617465644279"
    one = bytes.fromhex(start + "01 7703616e61 00")
    both = bytes.fromhex(start + "02 7703616e61 770362656e 00")
    admin.name = "ben"  # the same owner of client 9, at another time
    assert issue.take(one, admin) == ""
    assert issue.take(both, ben) == ""


def test_undo_may_write_again_what_was_said_there() -> None:
    """An editor's undo makes new structs of its own with the old content in them."""
    issue = Issue()
    ana, ben = issue.writer("ana", 11), issue.writer("ben", 22)
    assert ana.writes(lambda: ana.map("stamps").update({"status": {"by": "ana"}})) == ""
    assert ana.says("hers", "by ana") == ""
    assert ben.writes(lambda: ben.map("stamps").update({"status": {"by": "ben"}})) == ""
    assert ben.writes(lambda: ben.map("stamps").update({"status": {"by": "ana"}})) == ""
    assert ben.writes(lambda: ben.map("comments").pop("hers")) == ""
    assert ben.says("hers", "by ana", author="ana") == ""
    assert ben.says("other", "never said", author="ana") == FORBIDDEN


def test_a_refusal_halfway_forgets_whom_it_named() -> None:
    issue = Issue()
    ben = issue.writer("ben", 22)
    forged = ben.made(lambda: [FORGED[name](ben) for name in ("createdBy", "a stamp")])
    for _ in range(2):
        assert issue.take(forged, ben) == FORBIDDEN


def test_two_who_begin_one_issue_offline_are_both_heard() -> None:
    issue = Issue()
    ana, ben = issue.writer("ana", 11), issue.writer("ben", 22)
    mine = ana.made(lambda: ana.map("fields").update({"createdBy": "ana"}))
    his = ben.made(lambda: ben.map("fields").update({"createdBy": "ben"}))
    assert issue.take(mine, ana) == ""
    assert issue.take(his, ben) == ""


def test_names_are_kept_with_the_index() -> None:
    issue = Issue()
    ana = issue.writer("ana", 11)
    assert ana.writes(lambda: ana.map("stamps").update({"status": {"by": "ana"}})) == ""
    assert ana.says("hers", "by ana") == ""
    again = Index.decode(issue.index.encode())
    assert again.encode() == issue.index.encode()
    assert [place.names for place in again.places if place.names] == [["ana"], ["ana"]]


def test_an_index_from_before_names_were_kept_is_read() -> None:
    issue = Issue()
    ana = issue.writer("ana", 11)
    assert ana.writes(lambda: ana.map("fields").update({"colour": "red"})) == ""
    encoded = issue.index.encode()
    read = Index.decode(b"\x01" + encoded[1:-2])  # nor were heads of fields, of which is none here, nor structs
    read.structs = issue.index.structs
    assert read.encode() == encoded


def test_an_engine_holds_big_updates_to_the_same() -> None:
    issue = Issue()
    ben = issue.writer("ben", 22)
    forged = ben.made(lambda: FORGED["a stamp"](ben))
    job = Check(Index().encode(), merge([forged]), "ben", LIMITS, ben.mandate)
    crossed = unpack(pack(job))
    with pytest.raises(Exception, match=FORBIDDEN):
        crossed.run(Resident(max_issues=1, max_bytes=1))
