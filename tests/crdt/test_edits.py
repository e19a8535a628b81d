"""Edits as records: what an engine makes of them, over the wire that leads to it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pycrdt import Doc, Text

from crdt import wire
from crdt.document import Document
from crdt.edits import (
    MADE,
    NO_COMMENT,
    NOT_PLAIN,
    NOT_THERE,
    OTHER_BEGINNING,
    OTHER_COMMENT,
    RESTORE,
    UNCHANGED,
    AddComment,
    Begin,
    Delete,
    DeleteComment,
    Edit,
    EditComment,
)
from crdt.issue import IssueContent, read
from crdt.jobs import Edited, MakeEdits
from crdt.resident import Resident
from crdt.shape import Author, Changes
from crdt.update import EMPTY_UPDATE, merge

ISSUE = UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ask(updates: Sequence[bytes], *edits: Edit, user: str = "ana", client: int = 5) -> Edited:
    """As the edge asks an engine: job and answer cross the wire."""
    for edit in edits:
        edit.check()
    job = MakeEdits(str(ISSUE), updates, client, Author(user, "script", NOW), edits)
    answer: Edited = wire.unpack(wire.pack(wire.unpack(wire.pack(job)).run(Resident(max_issues=1, max_bytes=1))))
    return answer


def content(*updates: bytes) -> IssueContent:
    return read(Document.load(merge(updates)))


def begun() -> bytes:
    return ask([], Begin("Slow search", "It takes ten seconds.", ["bug"], {"status": "open"})).update


def test_an_issue_begins_with_its_author_and_time() -> None:
    issue = content(begun())
    assert (issue.title, issue.status, issue.labels) == ("Slow search", "open", ("bug",))
    assert (issue.created_by, issue.created_at) == ("ana", NOW)


def test_beginning_twice_changes_nothing_and_at_once_doubles_nothing() -> None:
    same = Begin("Slow search", "It takes ten seconds.", ["bug"])
    assert ask([begun()], same) == Edited(EMPTY_UPDATE, (UNCHANGED,))
    elsewhere = ask([], same, user="ben", client=6).update
    assert content(begun(), elsewhere).title == "Slow search"


def test_another_beginning_is_told_apart() -> None:
    assert ask([begun()], Begin("Fast search")) == Edited(EMPTY_UPDATE, (OTHER_BEGINNING,))


def test_a_changed_text_keeps_what_others_type_beside_it() -> None:
    start = begun()
    doc: Doc[Any] = Doc(client_id=9)
    doc.apply_update(start)
    doc.get("description", type=Text).insert(0, "Since Tuesday: ")
    edited = ask([start], Changes(description="It takes 20 seconds."))
    assert edited.outcomes == (MADE,)
    assert content(start, doc.get_update(), edited.update).description == "Since Tuesday: It takes 20 seconds."


def test_edits_of_one_request_see_each_other_and_make_one_update() -> None:
    edited = ask([], Begin("One"), Changes(title="One more", add_labels=("x",)), Delete(), RESTORE, Delete())
    assert edited.outcomes == (MADE,) * 5
    issue = content(edited.update)
    assert (issue.title, issue.labels, issue.deleted_at) == ("One more", ("x",), NOW)


def test_what_is_so_already_makes_no_update() -> None:
    edited = ask([begun()], Changes(title="Slow search", fields={"status": "open"}, labels=("bug",)))
    assert edited == Edited(EMPTY_UPDATE, (UNCHANGED,))


def test_comments_are_added_once_changed_and_deleted() -> None:
    start = begun()
    edited = ask([start], AddComment("c", "first"), AddComment("c", "first"), EditComment("c", "first!"))
    assert edited.outcomes == (MADE, UNCHANGED, MADE)
    deleted = ask([start, edited.update], DeleteComment("c"), AddComment("c", "other"))
    assert deleted.outcomes == (MADE, OTHER_COMMENT)
    (comment,) = content(start, edited.update, deleted.update).comments
    assert (comment.body, comment.author, comment.deleted_at) == ("first!", "ana", NOW)


@pytest.mark.parametrize("edit", [EditComment("c", "x"), DeleteComment("c")])
def test_a_comment_that_is_not_there_is_said_so(edit: Edit) -> None:
    assert ask([begun()], edit) == Edited(EMPTY_UPDATE, (NO_COMMENT,))


def test_only_a_beginning_makes_an_issue() -> None:
    assert ask([], Changes(title="x"), Delete(), Begin("y"), Delete()).outcomes == (NOT_THERE, NOT_THERE, MADE, MADE)


def test_an_edit_that_does_not_fit_writes_nothing_of_itself() -> None:
    doc: Doc[Any] = Doc(client_id=9)
    doc.get("description", type=Text).insert_embed(0, {"image": "x"})
    edited = ask([doc.get_update()], Changes(title="new", description="text"))
    assert edited == Edited(EMPTY_UPDATE, (NOT_PLAIN,))


@pytest.mark.parametrize(
    "edit",
    [
        Begin(""),
        Changes(title="\ud800"),
        Changes(fields={"completed_at": datetime(2026, 1, 1)}),  # noqa: DTZ001 -- no time zone is the point
        AddComment("", "x"),
        AddComment("c" * 201, "x"),
        EditComment("c", "\udc00"),
    ],
)
def test_what_cannot_be_written_is_found_before_any_document_is_touched(edit: Edit) -> None:
    with pytest.raises(ValueError, match=r"."):
        edit.check()
