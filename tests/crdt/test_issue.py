"""Whatever a client writes, an issue can be read: the right thing where it is right, a default and a note where not."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment

from crdt import issue
from crdt.document import Document
from crdt.issue import Comment, IssueContent, printable, read
from tests.crdt.logs import LOGS


def content(**roots: Any) -> IssueContent:
    """The issue of a document with these roots."""
    doc: Doc[Any] = Doc()
    for name, value in roots.items():
        doc[name] = value
    return read(Document.load(doc.get_update()))


def fields(**values: Any) -> IssueContent:
    return content(fields=Map(values))


def test_an_empty_document_is_an_issue_of_defaults() -> None:
    assert read(Document()) == IssueContent()
    assert (IssueContent().status, IssueContent().priority) == ("pending", "medium")


def test_a_whole_issue_is_read() -> None:
    comment = Map({"author": "ben", "createdAt": "2026-01-02T00:00:00.000Z", "body": Text("Me too")})
    found = content(
        title=Text("Crash"),
        description=Text("It *crashes*"),
        fields=Map(
            {
                "status": "open",
                "priority": "high",
                "userId": "ana",
                "sessionId": "s-1",
                "claudeTaskId": "t-1",
                "createdBy": "ben",
                "createdAt": "2026-01-01T10:00:00.000Z",
                "completedAt": "2026-01-03T10:00:00+02:00",
                "deletedAt": None,
            }
        ),
        labels=Map({"bug": True, "ui": True, "gone": False}),
        comments=Map({"c-1": comment}),
    )
    assert found == IssueContent(
        title="Crash",
        description="It *crashes*",
        status="open",
        priority="high",
        user_id="ana",
        session_id="s-1",
        claude_task_id="t-1",
        labels=("bug", "ui"),
        created_by="ben",
        created_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
        completed_at=datetime(2026, 1, 3, 8, tzinfo=UTC),
        comments=(Comment("c-1", "ben", datetime(2026, 1, 2, tzinfo=UTC), None, None, "Me too"),),
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("open", "open"),
        (5.0, "5"),
        (5, "5"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (2**53, "9007199254740992"),
    ],
)
def test_a_number_is_shown_as_a_person_would_write_it(value: object, shown: str) -> None:
    found = fields(sessionId=value)
    assert found.session_id == shown
    assert found.unreadable == ()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "boolean"),
        (float("nan"), "number"),
        (float("inf"), "number"),
        (1e300, "number"),
        (b"bytes", "bytes"),
        ([1], "array"),
        ({"a": 1}, "object"),
        (Text("text"), "text"),
        (Map({"a": 1}), "map"),
        (Array([1]), "array"),
        (Doc(), "other type"),
        ("x" * 201, "too long"),
    ],
)
def test_what_a_short_field_cannot_hold_falls_back_and_is_noted(value: object, kind: str) -> None:
    found = fields(status=value, userId="ana")
    assert found.status == "pending"
    assert found.unreadable == (f"fields.status: {kind}",)
    assert found.user_id == "ana"


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_written_is_no_error(value: object) -> None:
    found = fields(status=value, userId=value, createdAt=value)
    assert (found.status, found.user_id, found.created_at, found.unreadable) == ("pending", None, None, ())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00.123Z", datetime(2026, 3, 1, 12, 0, 0, 123000, UTC)),
        ("2026-03-01T12:00:00-05:00", datetime(2026, 3, 1, 17, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_dates_become_utc(text: str, moment: datetime) -> None:
    found = fields(createdAt=text)
    assert found.created_at == moment
    assert found.created_at is not None
    assert found.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "+012026-03-01T12:00:00.000Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2" * 10_000,
    ],
)
def test_dates_out_of_range_or_of_nothing_are_noted(text: str) -> None:
    found = fields(completedAt=text)
    assert found.completed_at is None
    assert found.unreadable == ("fields.completedAt: not a date",)


def test_what_postgres_cannot_hold_is_made_visible() -> None:
    assert content(title=Text("a\0b"), fields=Map({"status": "\0"})).title == "a␀b"
    assert fields(status="a\0").status == "a␀"
    assert printable("a\ud83db") == "a�b"
    assert printable("\ud83d\ude00") == "😀"


def test_long_texts_are_cut_and_noted() -> None:
    found = content(title=Text("x" * (issue.MAX_TITLE_CHARS + 1)))
    assert found.title == "x" * issue.MAX_TITLE_CHARS
    assert found.unreadable == ("title: too long",)


def test_roots_of_another_type_read_as_empty() -> None:
    found = content(title=Array(["ab😀"]), description=XmlFragment([XmlElement("p")]), fields=Text("text"))
    assert found == IssueContent()


def test_a_label_is_set_by_true_alone() -> None:
    found = content(labels=Map({"yes": True, "no": False, "null": None, "odd": "true", "": True, "l" * 201: True}))
    assert found.labels == ("yes",)
    assert found.unreadable == ("labels.*: key empty or too long", "labels.*: string")


def test_comments_are_read_one_by_one() -> None:
    found = content(
        comments=Map(
            {
                "plain": Map({"body": "a plain string"}),
                "not a map": "text",
                "odd": Map({"author": [1], "createdAt": 5, "body": Map({})}),
                "removed": None,
            }
        )
    )
    assert [(comment.id, comment.body) for comment in found.comments] == [("odd", ""), ("plain", "a plain string")]
    assert found.unreadable == (
        "comments.*.author: array",
        "comments.*.body: map",
        "comments.*.createdAt: number",
        "comments.*: string",
    )


def test_comments_are_in_the_order_they_were_written() -> None:
    def at(day: int) -> Any:
        return Map({"createdAt": f"2026-01-{day:02}T00:00:00Z"})

    found = content(comments=Map({"b": at(1), "a": at(2), "z": at(1), "undated": Map({"author": "x"})}))
    assert [comment.id for comment in found.comments] == ["b", "z", "a", "undated"]


def test_comment_ids_that_cannot_be_told_apart_in_sql_do_not_collide() -> None:
    found = content(comments=Map({"a\0": Map({"body": "1"}), "a␀": Map({"body": "2"})}))
    assert [comment.id for comment in found.comments] == ["a␀"]
    assert found.unreadable == ("comments: ids that differ only in what cannot be stored",)


def test_counts_are_bounded() -> None:
    found = content(labels=Map({f"label {number:05}": True for number in range(issue.MAX_LABELS + 1)}))
    assert len(found.labels) == issue.MAX_LABELS
    assert found.unreadable == ("labels: too many",)


def test_all_comments_together_are_bounded() -> None:
    size, count = issue.MAX_COMMENT_CHARS, issue.MAX_COMMENTS_CHARS // issue.MAX_COMMENT_CHARS + 2
    found = content(comments=Map({f"{number:04}": Map({"body": "x" * size}) for number in range(count)}))
    assert sum(len(comment.body) for comment in found.comments) <= issue.MAX_COMMENTS_CHARS
    assert found.unreadable == ("comments: too long",)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.datetimes(timezones=st.just(timezone(timedelta(hours=14)))).map(lambda at: at.isoformat())
    | st.binary(max_size=5)
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3, alphabet="ab"), inner, max_size=3),
    max_leaves=6,
)
SHARED: st.SearchStrategy[Any] = st.deferred(lambda: PLAIN | TEXTS | MAPS | LISTS)
TEXTS: st.SearchStrategy[Any] = st.text(st.characters(codec="utf-8"), max_size=20).map(Text)
KEYS = st.sampled_from(["status", "createdAt", "author", "body", "deletedAt"]) | st.text(
    st.characters(codec="utf-8"), max_size=5
)
MAPS: st.SearchStrategy[Any] = st.dictionaries(KEYS, SHARED, max_size=5).map(Map)
LISTS: st.SearchStrategy[Any] = st.lists(PLAIN, max_size=3).map(Array)
ROOTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("title", "description", "fields", "labels", "comments"), TEXTS | MAPS | LISTS)
)


@given(ROOTS)
def test_reading_is_total_and_fits_sql_and_json(roots: dict[str, Any]) -> None:
    found = content(**roots)
    shown = repr(found)
    assert "\\x00" not in shown
    shown.encode()
    json.dumps([found.title, found.labels, found.unreadable])
    for moment in (found.created_at, found.completed_at, found.deleted_at):
        assert moment is None or moment.tzinfo is UTC
    for short in (found.status, found.priority, found.user_id or "", found.session_id or "", *found.labels):
        assert len(short) <= issue.MAX_SHORT_CHARS
    assert len({comment.id for comment in found.comments}) == len(found.comments)


@given(LOGS)
def test_reading_is_the_same_from_deltas_and_from_a_snapshot(updates: list[bytes]) -> None:
    live = Document()
    for update in updates:
        live.apply(update)
        read(live)
    assert read(live) == read(Document.load(live.snapshot()))
