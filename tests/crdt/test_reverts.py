"""Taking changes back, on documents: to a moment, or one writer's work out of everybody's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map, Text

from crdt.changes import FieldChange
from crdt.document import Document
from crdt.issue import IssueContent, read
from crdt.jobs_history import LoggedEntry, entry_of
from crdt.jobs_reverts import MakeRevert, Reverted
from crdt.reverts import LeftAlone, Whose
from crdt.shape import Author, Shape, add_comment, delete_comment, edit_comment, rewrite, set_field
from crdt.update import EMPTY_UPDATE, merge
from tests.crdt.issue_log import Log, across

ANA = Whose("ana", None)
CARL = Author("carl", "desk", datetime(2026, 2, 1, tzinfo=UTC))
CLIENT = 5


def revert(
    log: Log, since: int, whose: Whose | None = None, newer: Log | None = None, *, is_leaping: bool = False
) -> Reverted:
    """Take back what was done after the first `since` deltas; `newer`: the log the issue is really at. `is_leaping`: as
    if a snapshot stood in each turn of a writer."""
    now = [delta.update for delta in (newer or log).deltas]
    seen = [delta.update for delta in log.deltas[:since]]
    turns = groupby(log.deltas[since:], key=lambda delta: (delta.actor_id, delta.device_id))
    entries = [entry_of(list(turn)) for _, turn in turns]
    if is_leaping:
        entries = [leaping(log, entry) for entry in entries]
    answer: Reverted = across(MakeRevert(now, CLIENT, CARL, seen, entries, whose))
    return answer


def leaping(log: Log, entry: LoggedEntry) -> LoggedEntry:
    middle = (entry.head.first_seq + entry.head.seq) // 2
    snapshot = Document.load(merge([delta.update for delta in log.deltas[:middle]])).snapshot()
    return replace(entry, updates=[snapshot, *(delta.update for delta in log.deltas[middle : entry.head.seq])])


def after(log: Log, reverted: Reverted) -> IssueContent:
    return read(Document.load(merge([*(delta.update for delta in log.deltas), reverted.update])))


def started() -> Log:
    """Ana's issue, with a comment of hers and a label."""
    log = Log()

    def begin(shape: Shape) -> None:
        shape.title.insert(0, "Slow search")
        shape.description.insert(0, "It takes ten seconds.")
        shape.labels["bug"] = True
        set_field(shape, "status", "open", log.author("ana"))
        add_comment(shape, "c1", "Since Monday", log.author("ana"))

    log.write("ana", begin)
    return log


def test_to_a_moment_everything_is_as_it_was() -> None:
    log = started()

    def change(shape: Shape) -> None:
        rewrite(shape.title, "Search is slow")
        rewrite(shape.description, "")
        set_field(shape, "status", "done", log.author("ben"))
        set_field(shape, "user_id", "ben", log.author("ben"))
        del shape.labels["bug"]
        shape.labels["old"] = True
        edit_comment(shape, "c1", "Since Tuesday", log.author("ben"))
        add_comment(shape, "c2", "Fixed", log.author("ben"))

    then = after(log, revert(log, 1))
    log.write("ben", change)
    log.write("ana", lambda shape: delete_comment(shape, "c1", log.author("ana")))
    reverted = revert(log, 1)
    now = after(log, reverted)
    for name in ("title", "description", "status", "user_id", "labels"):
        assert getattr(now, name) == getattr(then, name), name
    first, second = now.comments
    assert (first.body, first.deleted_at) == ("Since Monday", None)
    assert (second.body, second.deleted_at) == ("Fixed", CARL.at), "what was written since can only be marked"
    assert FieldChange("status", "done", "open") in reverted.changes
    assert reverted.left == ()


def test_what_is_as_it_was_is_not_written() -> None:
    log = started()
    assert revert(log, 1).update == EMPTY_UPDATE
    log.write("ben", lambda shape: shape.title.insert(0, "x"))
    log.write("ben", lambda shape: rewrite(shape.title, "Slow search"))
    assert revert(log, 1).update == EMPTY_UPDATE
    assert revert(log, 1, ANA).update == EMPTY_UPDATE


def test_ones_work_is_taken_back_and_that_of_others_stays() -> None:
    log = started()
    log.write("ana", lambda shape: rewrite(shape.description, "It takes twenty long seconds."))
    log.write("ben", lambda shape: rewrite(shape.description, "Here it takes twenty long seconds!"))
    log.write("ana", lambda shape: set_field(shape, "status", "done", log.author("ana")))
    log.write("ben", lambda shape: shape.labels.update({"perf": True}))
    log.write("ana", lambda shape: (shape.labels.pop("bug"), None)[1])
    log.write("ana", lambda shape: add_comment(shape, "c2", "Oops", log.author("ana")))
    now = after(log, revert(log, 1, ANA))
    assert now.description == "Here it takes ten seconds!"
    assert (now.status, now.labels) == ("open", ("bug", "perf"))
    assert [(comment.id, comment.deleted_at) for comment in now.comments] == [("c1", None), ("c2", CARL.at)]


def test_a_value_somebody_else_wrote_over_it_is_left_alone_and_named() -> None:
    log = started()
    log.write("ana", lambda shape: set_field(shape, "status", "done", log.author("ana")))
    log.write("ben", lambda shape: set_field(shape, "status", "closed", log.author("ben")))
    log.write("ana", lambda shape: set_field(shape, "priority", "high", log.author("ana")))
    reverted = revert(log, 1, ANA)
    assert reverted.left == (LeftAlone(("status",), "ben", 3),)
    now = after(log, reverted)
    assert (now.status, now.priority) == ("closed", "medium")


def test_a_value_between_two_of_theirs_comes_back() -> None:
    log = started()
    log.write("ana", lambda shape: set_field(shape, "status", "done", log.author("ana")))
    log.write("ben", lambda shape: set_field(shape, "status", "closed", log.author("ben")))
    log.write("ana", lambda shape: set_field(shape, "status", "open", log.author("ana")))
    reverted = revert(log, 1, ANA)
    assert (after(log, reverted).status, reverted.left) == ("closed", ())


def test_a_comment_others_have_edited_since_is_left_alone() -> None:
    log = started()
    log.write("ana", lambda shape: add_comment(shape, "c2", "Wrong", log.author("ana")))
    log.write("ben", lambda shape: edit_comment(shape, "c2", "Wrong, see #3", log.author("ben")))
    reverted = revert(log, 1, ANA)
    assert reverted.left == (LeftAlone(("comments", "c2"), "ben", 3),)
    assert reverted.update == EMPTY_UPDATE


def test_one_device_of_somebody_is_taken_back() -> None:
    log = started()
    log.write("ana", lambda shape: set_field(shape, "status", "done", log.author("ana")), device="phone")
    log.write("ana", lambda shape: set_field(shape, "priority", "high", log.author("ana")), device="desk")
    now = after(log, revert(log, 1, Whose(None, "phone")))
    assert (now.status, now.priority) == ("open", "high")


def test_what_came_while_it_was_planned_counts_as_the_work_of_others() -> None:
    log = started()
    log.write("ana", lambda shape: set_field(shape, "status", "done", log.author("ana")))
    newer = Log()
    newer.deltas = list(log.deltas)
    newer.write("ben", lambda shape: set_field(shape, "status", "closed", newer.author("ben")))
    reverted = revert(log, 1, ANA, newer)
    assert reverted.left == (LeftAlone(("status",), None, None),)
    assert after(newer, reverted).status == "closed"


def test_it_merges_with_what_is_typed_meanwhile() -> None:
    log = started()
    log.write("ana", lambda shape: rewrite(shape.title, "Very slow search"))
    typing: Doc[Any] = Doc(client_id=99)
    for delta in log.deltas:
        typing.apply_update(delta.update)
    typing.get("title", type=Text).insert(len("Very slow search"), "!")
    reverted = revert(log, 1, ANA)
    typing.apply_update(reverted.update)
    assert str(typing.get("title", type=Text)) == "Slow search!"


def test_an_embedded_object_in_a_text_is_not_written_over() -> None:
    log = started()
    log.write("ana", lambda shape: shape.title.insert_embed(0, {"image": "x"}))
    log.write("ana", lambda shape: set_field(shape, "status", "done", log.author("ana")))
    log.write("ana", lambda shape: shape.title.insert(1, "Very "))
    reverted = revert(log, 2)
    assert (reverted.is_plain, reverted.update) == (False, EMPTY_UPDATE)


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 6), st.integers(0, 3)), max_size=25)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_of_any_two_writers_one_can_be_taken_back(steps: list[tuple[bool, int, int, int]]) -> None:
    """Ana writes small letters and Ben capital ones, so that every character tells whose it is."""
    log = Log()
    log.write("cleo", lambda shape: shape.description.insert(0, "0123456789"))
    for is_ana, at, deleted, inserted in steps:
        letters = ("abc" if is_ana else "ABC")[:inserted]
        log.write("ana" if is_ana else "ben", lambda shape, edit=(at, deleted, letters): typed(shape, *edit))  # type: ignore[misc]
    before = read(Document.load(merge([delta.update for delta in log.deltas]))).description
    reverted = revert(log, 1, ANA)
    now = after(log, reverted).description
    assert after(log, revert(log, 1, ANA, is_leaping=True)).description == now
    assert not any(character.islower() for character in now)
    assert is_within([c for c in before if c.isupper()], [c for c in now if c.isupper()]), "Ben's stay, in their order"
    digits = "".join(c for c in now if c.isdigit())
    assert digits == "".join(sorted(digits)), "what comes back comes back to its place"
    assert {c for c in before if c.isdigit()} <= set(digits)
    if not any(not is_ana for is_ana, *_ in steps):
        assert now == "0123456789"


def is_within(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(character in rest for character in part)


def typed(shape: Shape, at: int, deleted: int, letters: str) -> None:
    size = len(str(shape.description))
    at = min(at, size)
    if deleted and at < size:
        del shape.description[at : min(at + deleted, size)]
    if letters:
        shape.description.insert(at, letters)


def test_nested_maps_beside_the_shape_are_left_alone() -> None:
    log = started()
    log.write("ana", lambda shape: shape.fields.update({"custom": Map({"x": 1})}))
    assert revert(log, 1, ANA).update == EMPTY_UPDATE
