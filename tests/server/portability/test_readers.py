"""Files of other programs as issues; hostile ones end in a clear word, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import IO, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.issue import IssueContent
from server.portability import json_stream, lines
from server.portability.dates import moment_of
from server.portability.imported import BadRow, ImportedIssue, ImportedUser, Item, NotReadable, Skipped, issue_id_of
from server.portability.json_stream import elements_of
from server.portability.readers import Source, detect, read
from server.portability.vocabulary import MAX_WORDS, Vocabulary, rules_of

NOON = datetime(2024, 3, 5, 12, 30, tzinfo=UTC)

LOCAL_STORAGE = {
    "issues": [
        {"id": "issue-1", "title": "Slow", "status": "in_progress", "userId": "ben", "claudeTaskId": "t",
         "createdAt": "2024-03-05T12:30:00.000Z", "completedAt": None, "labels": ["bug"]},
        {"id": "6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11", "title": "Other", "createdAt": 1709641800000},
    ],
    "users": [{"id": "ben", "name": "Ben", "email": None, "createdAt": "2024-03-05T12:30:00Z", "deviceId": "d"}],
}  # fmt: skip
GITHUB = [
    {"html_url": "https://github.com/o/r/issues/1", "title": "A", "body": None, "state": "closed",
     "state_reason": "not_planned", "user": {"login": "eve"}, "assignee": None, "assignees": [{"login": "ben"}],
     "labels": [{"name": "bug"}, {"name": "ui"}], "created_at": "2024-03-05T12:30:00Z",
     "closed_at": "2024-03-05T12:30:00Z", "comments": 3},
    {"html_url": "https://github.com/o/r/pull/2", "title": "B", "state": "open", "pull_request": {"url": "x"}},
    {"url": "https://github.com/o/r/issues/3", "title": "C", "state": "OPEN", "author": {"login": "eve"},
     "createdAt": "2024-03-05T12:30:00Z", "labels": [],
     "comments": [{"id": "IC_1", "author": {"login": "ben"}, "body": "Hi", "createdAt": "2024-03-05T12:30:00Z"}]},
]  # fmt: skip
BEADS = (
    '{"id":"bd-1","title":"Fix","description":"It fails","notes":"soon","status":"in_progress","priority":0,'
    '"issue_type":"bug","assignee":"ben","created_at":"2024-03-05T12:30:00.123456789Z","labels":["auth"],'
    '"dependencies":[{"issue_id":"bd-1","depends_on_id":"bd-2","type":"blocks"}],'
    '"comments":[{"id":1,"issue_id":"bd-1","author":"eve","text":"ok","created_at":"2024-03-05T12:30:00Z"}]}\n'
    "\n"
    '{"id":"bd-2","title":"Gone","status":"tombstone","priority":2,"issue_type":"task",'
    '"created_at":"2024-03-05T12:30:00Z","deleted_at":"2024-03-05T12:30:00Z"}\n'
    "{not json}\n"
)
LINEAR = (
    '"ID","Team","Title","Description","Status","Estimate","Priority","Creator","Assignee","Labels","Created",'
    '"Completed","Canceled","Archived"\n'
    '"ENG-1","Eng","A, b","two\nlines","In Review","","Urgent","eve@x.org","ben@x.org","bug, ui",'
    '"2024-03-05T12:30:00.000Z","","",""\n'
    '"ENG-2","Eng","C","","Canceled","","No priority","","","","Tue Mar 05 2024 12:30:00 GMT+0000 (GMT)","",'
    '"2024-03-05T12:30:00.000Z",""\n'
)
JIRA = (
    "Summary,Issue key,Issue Type,Status,Priority,Assignee,Reporter,Created,Resolved,Labels,Labels,Comment,Comment\n"
    "Login fails,PRJ-1,Bug,To Do,Highest,ben,eve,05/Mar/24 12:30 PM,,web,ui,"
    '"05/Mar/24 12:30 PM;eve;first; really",05/Mar/24 12:30 PM;eve;second\n'
    "Broken,PRJ-2,Bug,Done,High,,,yesterday,,,,,\n"
)


def items(source: Source, content: str | bytes | object) -> list[Item]:
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    file = BytesIO(content.encode() if isinstance(content, str) else content)
    assert detect(file) is source
    return list(read(file, source))


def issues(found: Sequence[Item]) -> list[ImportedIssue]:
    return [item for item in found if isinstance(item, ImportedIssue)]


def test_the_browser_app_s_local_storage() -> None:
    found = items(Source.JSON, LOCAL_STORAGE)
    first, second = issues(found)
    c = first.content
    assert (c.title, c.status, c.user_id, c.claude_task_id, c.labels) == ("Slow", "in_progress", "ben", "t", ("bug",))
    assert (c.created_at, c.completed_at, second.content.created_at) == (NOON, None, NOON)
    assert first.issue_id == issue_id_of("json", "issue-1")
    assert second.issue_id == UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")
    (user,) = (item for item in found if isinstance(item, ImportedUser))
    assert (user.user.id, user.user.name, user.user.device_id, user.user.updated_at) == ("ben", "Ben", "d", NOON)


def test_local_storage_as_the_browser_dumps_it_is_strings_in_an_object() -> None:
    packed = {name: json.dumps(value) for name, value in LOCAL_STORAGE.items()} | {"theme": "dark"}
    found = items(Source.LOCAL_STORAGE, packed)
    assert [issue.content.title for issue in issues(found)] == ["Slow", "Other"]
    with pytest.raises(NotReadable, match="issues is no JSON"):
        list(read(BytesIO(b'{"issues": "[{"}'), Source.LOCAL_STORAGE))


def test_github_issues_and_not_its_pull_requests() -> None:
    found = items(Source.GITHUB, GITHUB)
    assert found[1] == Skipped("issues[1]", "a pull request")
    first, third = issues(found)
    c = first.content
    assert (c.status, c.user_id, c.created_by, c.labels, c.completed_at) == (
        "cancelled",
        "ben",
        "eve",
        ("bug", "ui"),
        NOON,
    )
    assert (third.content.status, third.content.comments[0].author) == ("open", "ben")
    assert first.issue_id == issue_id_of("github", "https://github.com/o/r/issues/1")


def test_pages_of_github_one_after_the_other() -> None:
    pages = json.dumps(GITHUB[:1]) + "\n" + json.dumps(GITHUB[2:])
    assert [issue.place for issue in issues(items(Source.GITHUB, pages))] == ["issues[0]", "issues[1]"]


def test_beads() -> None:
    found = items(Source.BEADS, BEADS)
    first, second = issues(found)
    c = Vocabulary().translated(first.content)
    assert (c.status, c.priority, c.labels, c.user_id) == ("in_progress", "urgent", ("auth", "bug"), "ben")
    assert c.description == "It fails\n\n## Notes\n\nsoon\n\n## Dependencies\n\n- blocks: bd-2"
    assert (c.comments[0].id, c.comments[0].body) == ("1", "ok")
    assert (second.content.status, second.content.deleted_at) == ("closed", NOON)
    assert found[-1] == Skipped("line 4", "not a JSON object")


def test_a_file_of_many_words_tells_the_first_of_them() -> None:
    vocabulary = Vocabulary()
    for number in (*range(MAX_WORDS + 1), 0):
        vocabulary.translated(IssueContent(status=f"{number}"))
    assert len(vocabulary.unknown) == MAX_WORDS
    assert vocabulary.unknown["status", "0"] == 2


def test_linear() -> None:
    first, second = (Vocabulary().translated(issue.content) for issue in issues(items(Source.LINEAR, LINEAR)))
    assert (first.title, first.description, first.labels) == ("A, b", "two\nlines", ("bug", "ui"))
    assert (first.status, first.priority, first.created_by) == ("in_progress", "urgent", "eve@x.org")
    assert (second.status, second.priority, second.completed_at, second.created_at) == (
        "cancelled",
        "medium",
        NOON,
        NOON,
    )


def test_jira() -> None:
    found = items(Source.JIRA, JIRA)
    (first,) = issues(found)
    c = Vocabulary().translated(first.content)
    assert (c.status, c.priority, c.labels, c.created_at) == ("pending", "urgent", ("bug", "ui", "web"), NOON)
    assert [(comment.author, comment.body) for comment in c.comments] == [("eve", "first; really"), ("eve", "second")]
    assert len({comment.id for comment in c.comments}) == 2
    assert found[1] == Skipped("line 3", "a date in a form that is not known")


LINEAR_TODAY = (
    "ID,Team,Title,Description,Status,Estimate,Priority,Project ID,Project,Creator,Assignee,Labels,Cycle Number,"
    "Cycle Name,Cycle Start,Cycle End,Created,Updated,Started,Triaged,Completed,Canceled,Archived,Due Date,"
    "Parent issue,Initiatives,Project Milestone ID,Project Milestone,SLA Status,UUID,Time in status (minutes),"
    "Related to,Blocked by,Duplicate of\r\n"
    "ENG-1,Engineering,'=SUM breaks,\"'- one\r\n- two\",In Progress,3,Urgent,,Roadmap,eve@x.org,ben@x.org,"
    '"Bug, Customer",,,,,2024-03-05T12:30:00.000Z,2024-03-05T12:30:00.000Z,2024-03-05T12:30:00.000Z,,,,,'
    "2024-04-15,,,,,,6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11,12,,,\r\n"
    "ENG-2,Engineering,'quoted',,Done,,Low,,,eve@x.org,,,,,,,2024-03-05T12:30:00.000Z,2024-03-05T12:30:00.000Z,,,"
    "2024-03-05T12:30:00.000Z,,,,ENG-1,,,,,,,,,\r\n"
)
JIRA_TODAY = (
    "Summary,Issue key,Issue id,Issue Type,Status,Project key,Project name,Priority,Resolution,Assignee,Assignee Id,"
    "Reporter,Reporter Id,Created,Updated,Last Viewed,Resolved,Due date,Labels,Labels,Labels,Description,"
    "Custom field (Story Points),Comment,Comment,Parent id,Status Category\r\n"
    '"Checkout revamp",PAY-1,10001,Epic,In Progress,PAY,Payments,High,,Dana Ortiz,557058:1,Sam Lee,557058:2,'
    "05/Mar/24 12:30 PM,05/Mar/24 12:30 PM,05/Mar/24 12:30 PM,,31/Mar/24 12:00 AM,frontend,,,"
    '"Rework the flow.\r\n\r\nThen ""ship"" it.",5,"05/Mar/24 12:30 PM;557058:2;Seen; twice.",,,In Progress\r\n'
    ",PAY-2,10002,Task,Done,PAY,Payments,Low,Done,,,,,05/Mar/24 12:30 PM,05/Mar/24 12:30 PM,,05/Mar/24 12:30 PM,,,,,,"
    ",,,10001,Done\r\n"
)


def test_linear_with_the_columns_of_today_and_its_apostrophes() -> None:
    first, second = issues(items(Source.LINEAR, LINEAR_TODAY))
    assert (first.content.title, first.content.description) == ("=SUM breaks", "- one\r\n- two")
    assert first.content.labels == ("Bug", "Customer")
    assert str(first.issue_id) == "6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11"
    assert (second.content.title, second.content.completed_at) == ("'quoted'", NOON)


def test_jira_cloud_with_all_fields() -> None:
    first, second = issues(items(Source.JIRA, b"\xef\xbb\xbf" + JIRA_TODAY.encode()))
    assert (first.content.title, first.content.labels) == ("Checkout revamp", ("epic", "frontend"))
    assert first.content.description == 'Rework the flow.\r\n\r\nThen "ship" it.'
    assert [(each.author, each.body) for each in first.content.comments] == [("557058:2", "Seen; twice.")]
    assert (second.content.title, second.content.completed_at) == ("", NOON)


@pytest.mark.parametrize("start", ["sep=;\r\n", '"sep=;"\n', "\ufeffsep=;\r\n", "\ufeff", ""])
def test_a_csv_of_excel(start: str) -> None:
    content = start + 'Title;Status;Labels\r\n"Ä; 1,5 €";open;x\r\n'
    (only,) = issues(items(Source.CSV, content))
    assert (only.content.title, only.content.status, only.content.labels) == ("Ä; 1,5 €", "open", ("x",))


def test_any_csv_with_a_title_and_rows_without_ids_are_the_same_every_time() -> None:
    content = "Title;Status;Labels\nA;open;x, y\nA;open;x, y\n;;\nB;;\n"
    once, again = (issues(items(Source.CSV, content)) for _ in range(2))
    assert [issue.issue_id for issue in once] == [issue.issue_id for issue in again]
    assert len({issue.issue_id for issue in once}) == 3
    assert (once[0].content.labels, once[2].content.status) == (("x", "y"), "pending")


def test_ids_are_told_apart_by_where_they_come_from() -> None:
    assert issue_id_of("one", "1") != issue_id_of("other", "1")
    assert issue_id_of("one", "1") == issue_id_of("one", "1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("title\n\xe9\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xe9)"),
        ("title\nx".encode("utf-16"), "the file is UTF-16"),
        ("title\nx".encode("utf-32"), "the file is UTF-32"),
        ('[{"title": "é"}]'.encode("latin-1"), "not UTF-8"),
        ('[{"title": "x"}]'.encode("utf-16"), "the file is UTF-16"),
        (b'title,b\n"x', "is a quote missing"),
        (b"", "the file is empty"),
        (b"no,such\n1,2\n", "name its format"),
        (b'[{"id": "1", "title": "x"}, {"id"', "cut off"),
        (b'[{"id": "1"} {"id": "2"}]', "',' is missing"),
        (b'[{"id": NaN}]', "NaN is no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"issues": [' + b'{"a":' * 100_000, "nested too deeply"),
        (b'[{"id": ' + b"9" * 5_000 + b"}]", "Exceeds the limit"),
        (b"%PDF-1.4\n\xff\xfe", "name its format"),
    ],
)
def test_a_file_that_is_none_is_told_with_place_and_remedy(content: bytes, told: str) -> None:
    file = BytesIO(content)
    with pytest.raises(NotReadable) as refused:
        list(read(file, detect(file)))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "it is not an object"),
        (b"{" * 100_000, "not a JSON object"),
        (b'{"title": "x"}', "it has no id"),
        (b'{"id": "1", "title": ["x"]}', "title is not a text"),
        (b'{"id": "1", "labels": [1]}', "labels holds something that is no text"),
        (b'{"id": "1", "createdAt": "soon"}', "createdAt: a date in a form that is not known"),
        (b'{"id": "1", "createdAt": 1e300}', "createdAt: a date in a form that is not known"),
        (b'{"id": "1", "comments": [{"body": "x"}]}', "a comment without an id of its own"),
        (b'{"user": {"name": "x"}}', "a user without an id"),
    ],
)
def test_a_line_that_is_wrong_is_skipped_and_the_others_read(line: bytes, reason: str) -> None:
    found = list(read(BytesIO(line + b'\n{"id": "2", "title": "fine"}\n'), Source.NDJSON))
    assert found[0] == Skipped("line 1", reason)
    assert [issue.content.title for issue in issues(found)] == ["fine"]


def test_a_row_with_nul_or_too_many_cells_is_skipped() -> None:
    found = list(read(BytesIO(b"id,title\n1,a\0b\n2,b,c\n3,fine\n"), Source.CSV))
    assert [item.place for item in found if isinstance(item, Skipped)] == ["line 2", "line 3"]
    assert [issue.content.title for issue in issues(found)] == ["fine"]


class Endless(BytesIO):
    """A file that is made as it is read, and counts what was asked for at once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._held = b""
        self.largest = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size > 0, "nobody reads it all at once"
        while len(self._held) < size and (piece := next(self._pieces, b"")):
            self._held += piece
        self.largest = max(self.largest, len(self._held))
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def readline(self, size: int | None = -1) -> bytes:
        assert size is not None
        while b"\n" not in self._held and len(self._held) < size and (piece := next(self._pieces, b"")):
            self._held += piece
        self.largest = max(self.largest, len(self._held))
        end = self._held.find(b"\n")
        end = size if end < 0 else min(end + 1, size)
        taken, self._held = self._held[:end], self._held[end:]
        return taken


def _records(count: int, before: bytes, between: bytes, after: bytes) -> Iterator[bytes]:
    if before:
        yield before
    for number in range(count):
        yield (between if number else b"") + b'{"id": "%d", "title": "%s"}' % (number, b"x" * 1_000)
    yield after


@pytest.mark.parametrize(
    ("source", "file"),
    [
        (Source.JSON, Endless(_records(20_000, b'{"issues": [', b",\n", b"]}"))),
        (Source.NDJSON, Endless(_records(20_000, b"", b"\n", b"\n"))),
    ],
)
def test_twenty_megabytes_are_read_with_a_small_window(source: Source, file: Endless) -> None:
    assert sum(1 for _ in read(file, source)) == 20_000
    assert file.largest < 200_000


def test_what_is_too_long_is_refused_and_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10_000)
    monkeypatch.setattr(json_stream, "MAX_ELEMENT_CHARS", 100_000)
    for content, source in ((b"x" * 20_000, Source.NDJSON), (b'["' + b"x" * 1_000_000, Source.JSON)):
        file: IO[bytes] = BytesIO(content)
        with pytest.raises(NotReadable, match=r"more than|above"):
            list(read(file, source))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(values, max_size=5), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_json_is_read_as_the_json_module_reads_it_wherever_it_is_cut(elements: list[Any], size: int) -> None:
    class Drops(BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(size)

    whole = json.dumps({"a": elements, "b": 1, "c": {"d": []}}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        whole.decode()
    except UnicodeDecodeError:
        return
    found = list(elements_of(Drops(whole)))
    assert [value for key, _, value in found if key == "a"] == elements
    assert [(key, value) for key, number, value in found if number < 0] == [("b", 1), ("c", {"d": []})]


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05T12:30:00Z", "2024-03-05T13:30:00+01:00", "2024-03-05 12:30", "05/Mar/24 12:30 PM",
        "2024/03/05 12:30",
        "Tue Mar 05 2024 13:30:00 GMT+0100 (Central European Standard Time)", "Tue, 05 Mar 2024 12:30:00 +0000",
        "2024-03-05T12:30:00.000+0000",
    ],
)  # fmt: skip
def test_dates_as_programs_write_them(text: str) -> None:
    assert moment_of(text) == NOON


@pytest.mark.parametrize("value", ["soon", True, [], 1e20, "9" * 100])
def test_other_dates_are_told(value: object) -> None:
    with pytest.raises(BadRow):
        moment_of(value)


def test_rules_for_words() -> None:
    assert rules_of(['status:"In Review"=in_progress'])["status"]["in review"] == "in_progress"
    for wrong in ("status", "color:red=blue", "status:x="):
        with pytest.raises(ValueError, match="is no rule"):
            rules_of([wrong])
