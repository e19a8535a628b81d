"""What each delta changed and who touched what, as an engine tells it over the wire that leads to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map, Text

from crdt.changes import (
    ADDED,
    DELETED,
    EDITED,
    REMOVED,
    RESTORED,
    Change,
    CommentChange,
    FieldChange,
    LabelsChange,
    OtherChange,
    Replacement,
    TextChange,
)
from crdt.document import Document
from crdt.errors import Refused
from crdt.issue import read
from crdt.jobs import Compact, Compacted
from crdt.jobs_history import Entry, LoggedDelta, Since, TellChanges, TellSince, Told, entry_of, groups_of
from crdt.shape import add_comment, delete_comment, edit_comment, rewrite, set_field
from crdt.update import merge
from tests.crdt.issue_log import START, Log, across
from tests.crdt.logs import LOGS

MANY = 1 << 30


def told(deltas: Sequence[LoggedDelta], seen: int = 0, max_chars: int = MANY) -> Sequence[Entry]:
    entries = [entry_of(group) for group in groups_of(deltas[seen:])]
    job = TellChanges([delta.update for delta in deltas[:seen]], seen, entries, max_chars)
    answer: Told = across(job)
    return answer.entries


def since(deltas: Sequence[LoggedDelta], seen: int) -> Since:
    answer: Since = across(TellSince([delta.update for delta in deltas[:seen]], deltas[seen:]))
    return answer


def changes(log: Log) -> list[Change]:
    """Of the newest entry."""
    return list(told(log.deltas)[-1].changes)


def test_a_field_is_told_with_its_old_and_its_new_value() -> None:
    log = Log()
    log.write("ana", lambda shape: set_field(shape, "status", "open", log.author("ana")))
    log.write("ben", lambda shape: set_field(shape, "status", "done", log.author("ben")))
    (first, second) = told(log.deltas)
    assert first.changes == (FieldChange("status", "pending", "open"),)
    assert second.changes == (FieldChange("status", "open", "done"),)
    assert (second.first_seq, second.seq, second.deltas, second.version) == (2, 2, 1, 2)
    assert (second.actor_id, second.device_id, second.created_at) == ("ben", "desk", log.at)


def test_a_text_is_told_as_edits_in_code_points() -> None:
    log = Log()
    log.write("ana", lambda shape: shape.title.insert(0, "😀 slow search"))
    log.write("ben", lambda shape: rewrite(shape.title, "😀 slower search!"))
    assert changes(log) == [TextChange("title", (Replacement(6, "", "er"), Replacement(13, "", "!")))]


def test_labels_and_comments_are_told_one_by_one() -> None:
    log = Log()
    log.write("ana", lambda shape: shape.labels.update({"bug": True, "old": True}))
    log.write("ana", lambda shape: shape.labels.update({"old": False, "new": True}))
    assert changes(log) == [LabelsChange(("new",), ("old",))]
    log.write("ana", lambda shape: add_comment(shape, "c1", "It works", log.author("ana")))
    assert changes(log) == [CommentChange("c1", ADDED, (Replacement(0, "", "It works"),))]
    log.write("ana", lambda shape: edit_comment(shape, "c1", "It worked", log.author("ana")))
    assert changes(log) == [CommentChange("c1", EDITED, (Replacement(7, "s", "ed"),))]
    log.write("ben", lambda shape: delete_comment(shape, "c1", log.author("ben")))
    assert changes(log) == [CommentChange("c1", DELETED, ())]
    log.write("ben", lambda shape: shape.comments["c1"].update({"deletedAt": None}))
    assert changes(log) == [CommentChange("c1", RESTORED, ())]
    log.write("ben", lambda shape: shape.comments.pop("c1"))
    assert [(change.id, change.kind) for change in changes(log) if isinstance(change, CommentChange)] == [
        ("c1", REMOVED)
    ]


def test_what_no_row_shows_is_told_by_its_place() -> None:
    log = Log()
    log.write("ana", lambda shape: shape.title.insert(0, "bold"))
    log.write("ana", lambda shape: shape.title.format(0, 4, {"bold": True}))
    assert changes(log) == [OtherChange(("title.*",))]
    log.write("ana", lambda shape: shape.fields.update({"estimate": 3}))
    assert changes(log) == [OtherChange(("fields.estimate",))]
    doc: Doc[Any] = Doc(client_id=99)
    doc.get("sketch", type=Map)["line"] = Text("ink")
    log.take(doc.get_update())
    assert changes(log) == [OtherChange(("sketch.line",))]


def test_an_edit_without_visible_effect_is_an_entry_without_changes() -> None:
    log = Log()
    log.write("ana", lambda shape: set_field(shape, "status", "open", log.author("ana")))
    log.write("ana", lambda shape: shape.stamps.update({"status": {"at": "later"}}))
    assert changes(log) == []


def test_typing_is_one_entry_until_it_rests() -> None:
    log = Log()
    for word in ("slow ", "search ", "again"):
        log.write("ana", lambda shape, word=word: shape.title.insert(len(str(shape.title)), word), seconds=20)  # type: ignore[misc]
    log.write("ana", lambda shape: shape.title.insert(0, "Very "), seconds=61)
    log.write("ben", lambda shape: shape.title.insert(0, "!"), seconds=1)
    log.write("ben", lambda shape: shape.title.insert(0, "!"), seconds=1, device="phone")
    entries = told(log.deltas)
    spans = [(entry.first_seq, entry.seq, entry.deltas) for entry in entries]
    assert spans == [(1, 3, 3), (4, 4, 1), (5, 5, 1), (6, 6, 1)]
    assert entries[0].changes == (TextChange("title", (Replacement(0, "", "slow search again"),)),)
    assert (entries[0].began_at - START, entries[0].created_at - START) == (timedelta(seconds=20), timedelta(minutes=1))


def test_typing_without_rest_is_divided_by_the_clock() -> None:
    log = Log()
    for _ in range(30):
        log.write("ana", lambda shape: shape.title.insert(0, "x"), seconds=50)
    firsts = [entry.first_seq for entry in told(log.deltas)]
    assert firsts == [1, 12, 24]
    assert [entry.first_seq for entry in told(log.deltas, seen=11)] == firsts[1:], "wherever one begins to read"


def test_of_too_much_the_newest_is_told() -> None:
    log = Log()
    for size in (10, 3_000, 3_000):
        log.write("ana", lambda shape, size=size: shape.title.insert(0, "x" * size))  # type: ignore[misc]
    assert [entry.seq for entry in told(log.deltas, max_chars=7_000)] == [1, 2, 3]
    assert [entry.seq for entry in told(log.deltas, max_chars=6_300)] == [2, 3]
    assert [entry.seq for entry in told(log.deltas, max_chars=10)] == [3]


def test_a_halved_character_is_told_as_yjs_shows_it() -> None:
    doc: Doc[Any] = Doc(client_id=5)
    doc.get("title", type=Text).insert(0, "x😀y")
    log = Log()
    log.take(doc.get_update())
    # Client 6 inserts "a" between the two halves of 😀, which are clocks 1 and 2 of client 5.
    log.take(bytes([1, 1, 6, 0, 0xC4, 5, 1, 5, 2, 1, ord("a"), 0]), "ben")
    assert changes(log) == [TextChange("title", (Replacement(1, "😀", "\ufffda\ufffd"),))]


def test_a_log_with_a_hole_is_refused() -> None:
    log = Log()
    for _ in range(3):
        log.write("ana", lambda shape: shape.title.insert(0, "x"))
    with pytest.raises(Refused):
        told([log.deltas[0], log.deltas[2]])


@given(LOGS)
def test_the_changes_lead_from_each_reading_to_the_next(log: list[bytes]) -> None:
    deltas = [LoggedDelta(at + 1, update, "ana", None, START + timedelta(hours=at)) for at, update in enumerate(log)]
    for at, entry in enumerate(told(deltas)):
        before, after = (read(Document.load(merge(log[:end]))) for end in (at, at + 1))
        for name in ("title", "description"):
            (edits,) = [c.edits for c in entry.changes if isinstance(c, TextChange) and c.field == name] or [()]
            assert made(getattr(before, name), edits) == getattr(after, name)


@given(LOGS, st.data())
def test_a_snapshot_within_an_entry_stands_for_what_led_there(log: list[bytes], data: st.DataObject) -> None:
    deltas = [LoggedDelta(at + 1, update, "ana", None, START) for at, update in enumerate(log)]
    seen = data.draw(st.integers(0, len(log)))
    upto = data.draw(st.integers(seen, len(log)))
    snapshot: Compacted = across(Compact(None, None, [(update, "ana") for update in log[:upto]]))
    if seen == len(log):
        return
    entry = entry_of(deltas[seen:])
    answers: list[Told] = [
        across(TellChanges(log[:seen], seen, [replace(entry, updates=updates)], MANY))
        for updates in (log[seen:], [snapshot.state, *log[upto:]])
    ]
    (one,), (other,) = (answer.entries for answer in answers)
    assert [change for change in other.changes if not isinstance(change, OtherChange)] == [
        change for change in one.changes if not isinstance(change, OtherChange)
    ]
    # What was written and deleted in between has no place in a snapshot any more.
    assert paths(other) <= paths(one)


def paths(entry: Entry) -> set[str]:
    return {path for change in entry.changes if isinstance(change, OtherChange) for path in change.paths}


def made(text: str, edits: Sequence[Replacement]) -> str:
    for edit in reversed(edits):
        assert text[edit.at : edit.at + len(edit.deleted)] == edit.deleted
        text = text[: edit.at] + edit.inserted + text[edit.at + len(edit.deleted) :]
    return text


def test_who_touched_what_is_told_since_a_moment() -> None:
    log = Log()
    log.write("ana", lambda shape: set_field(shape, "status", "open", log.author("ana")))
    log.write("ben", lambda shape: set_field(shape, "status", "done", log.author("ben")))
    log.write("ana", lambda shape: shape.labels.update({"bug": True}))
    log.write("ben", lambda shape: add_comment(shape, "c1", "hm", log.author("ben")), device="phone")
    log.write("ben", lambda shape: set_field(shape, "status", "open", log.author("ben")))
    answer = since(log.deltas, 1)
    assert (answer.before.status, answer.before.labels, answer.after.labels) == ("open", (), ("bug",))
    touches = {touch.path: (touch.actor_id, touch.device_id, touch.seq) for touch in answer.touches}
    assert touches[("fields", "status")] == ("ben", "desk", 5), "though it is as it was"
    assert touches[("labels", "bug")] == ("ana", "desk", 3)
    assert touches[("comments", "c1", "body")] == ("ben", "phone", 4)
    assert ("title",) not in touches


@given(LOGS)
def test_nothing_changes_that_is_not_touched(log: list[bytes]) -> None:
    deltas = [LoggedDelta(at + 1, update, "ana", None, START) for at, update in enumerate(log)]
    for seen in range(len(log) + 1):
        answer = since(deltas, seen)
        roots = {touch.path[0] for touch in answer.touches if touch.path}
        for name in ("title", "description"):
            if getattr(answer.before, name) != getattr(answer.after, name):
                assert name in roots
        if answer.before.comments != answer.after.comments:
            assert "comments" in roots
