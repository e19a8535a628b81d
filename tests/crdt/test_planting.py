"""Whole issues from elsewhere: read back as they were given, and the same bytes however often they are brought."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt import wire
from crdt.document import Document
from crdt.edits import AddComment, Edit
from crdt.issue import MAX_TITLE_CHARS, Comment, IssueContent, read
from crdt.jobs import MakeEdits
from crdt.jobs_import import CHANGED, CREATED, KEPT, UNCHANGED, Planted, PlantIssue, Uproot
from crdt.planting import check_content, digest_of, planted
from crdt.resident import Resident
from crdt.shape import Author, Changes
from crdt.update import EMPTY_UPDATE, merge

ISSUE = UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1, microseconds=123456)
FULL = IssueContent(
    title="Slow search 😀",
    description="It takes ten seconds.\nAlways.",
    status="In Review",
    priority="P1",
    user_id="ben",
    session_id="s",
    claude_task_id="t",
    labels=("bug", "ui"),
    created_by="eve",
    created_at=NOW,
    completed_at=LATER,
    deleted_at=LATER,
    comments=(Comment("c1", "ben", NOW, None, None, "Me too"), Comment("c2", None, None, LATER, LATER, "")),
)
AUTHOR = Author("importer", "", LATER)

short = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
contents = st.builds(
    IssueContent,
    title=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50),
    description=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200),
    status=short,
    priority=short,
    user_id=st.none() | short,
    labels=st.sets(short, max_size=4).map(lambda labels: tuple(sorted(labels))),
    created_by=st.none() | short,
    created_at=st.none() | moments,
    completed_at=st.none() | moments,
    deleted_at=st.none() | moments,
)


def plant(content: IssueContent, updates: Sequence[bytes] = (), *, may_change: bool = False) -> Planted:
    """As the edge asks an engine: job and answer cross the wire."""
    job = PlantIssue(str(ISSUE), updates, 5, AUTHOR, content, may_change)
    answer: Planted = wire.unpack(wire.pack(wire.unpack(wire.pack(job)).run(Resident(max_issues=1, max_bytes=1))))
    return answer


def shown(*updates: bytes) -> IssueContent:
    return read(Document.load(merge(updates)))


def edited(update: bytes, edit: Edit) -> bytes:
    made = MakeEdits(str(ISSUE), [update], 6, Author("ana", "", LATER), [edit]).run(Resident(max_issues=1, max_bytes=1))
    return made.update


def test_everything_is_read_back_as_it_was_given() -> None:
    made = plant(FULL)
    assert (made.outcome, shown(made.update)) == (CREATED, FULL)


@given(contents)
@settings(max_examples=50)
def test_any_content_is_read_back_and_recognised(content: IssueContent) -> None:
    check_content(content)
    made = plant(content)
    assert shown(made.update) == content
    assert plant(content, [made.update]) == Planted(EMPTY_UPDATE, UNCHANGED, is_untouched=True)


def test_the_bytes_are_the_same_in_another_process() -> None:
    script = (
        "from tests.crdt.test_planting import FULL, ISSUE; from crdt.planting import planted;"
        "print(planted(ISSUE, FULL).hex())"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert bytes.fromhex(told) == planted(ISSUE, FULL)


def test_another_content_has_other_bytes_and_another_digest() -> None:
    other = replace(FULL, title="Other")
    assert digest_of(other) != digest_of(FULL)
    assert digest_of(replace(FULL, updated_at=NOW, unreadable=("x",))) == digest_of(FULL)
    assert planted(ISSUE, other) != planted(ISSUE, FULL)


def test_what_changed_at_the_source_is_changed_here_by_small_edits_where_it_may() -> None:
    begun = plant(FULL).update
    new = replace(
        FULL,
        title="Slow search 😁",
        status="done",
        labels=("ui",),
        deleted_at=None,
        comments=(replace(FULL.comments[0], body="Me, too", edited_at=LATER), Comment("c3", "x", NOW, None, None, "y")),
    )
    assert plant(new, [begun]).outcome == KEPT
    changed = plant(new, [begun], may_change=True)
    assert changed.outcome == CHANGED
    assert shown(begun, changed.update) == replace(new, comments=(*new.comments, FULL.comments[1]))
    assert plant(new, [begun, changed.update], may_change=True).outcome == UNCHANGED


def test_an_issue_that_was_edited_is_told_from_one_that_was_not() -> None:
    begun = plant(FULL).update
    comment = edited(begun, AddComment("mine", "Hello"))
    assert plant(FULL, [begun, comment]) == Planted(EMPTY_UPDATE, UNCHANGED, is_untouched=False)
    label = edited(begun, Changes(remove_labels=("ui",)))
    assert plant(FULL, [begun, label]).outcome == KEPT


def test_what_nobody_touched_is_marked_as_deleted() -> None:
    begun = plant(replace(FULL, deleted_at=None)).update
    gone = Uproot([begun], 5, AUTHOR, if_untouched=True).run(Resident(max_issues=1, max_bytes=1))
    assert gone.outcome == CHANGED
    assert shown(begun, gone.update).deleted_at is not None
    kept = Uproot([begun], 5, AUTHOR, if_untouched=False).run(Resident(max_issues=1, max_bytes=1))
    assert (kept.outcome, kept.update) == (KEPT, EMPTY_UPDATE)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FULL, title="x" * (MAX_TITLE_CHARS + 1)),
        replace(FULL, description="a\0b"),
        replace(FULL, status="x" * 201),
        replace(FULL, user_id="\ud800"),
        replace(FULL, labels=("x" * 201,)),
        replace(FULL, labels=tuple(map(str, range(1_001)))),
        replace(FULL, comments=(replace(FULL.comments[0], id=""),)),
        replace(FULL, comments=(replace(FULL.comments[0], body="x" * 100_001),)),
    ],
)
def test_what_cannot_be_written_or_read_back_is_refused(wrong: IssueContent) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its message is for people
        check_content(wrong)
