"""CSV: our own export and whatever has a column `title`, Linear's export, and Jira's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final

from crdt.issue import DEFAULT_PRIORITY, DEFAULT_STATUS, Comment, IssueContent
from server.portability.csv_file import fused, is_own_header
from server.portability.dates import moment_of
from server.portability.fields import labels_of
from server.portability.imported import BadRow, ImportedIssue, Item, Skipped, issue_id_of
from server.portability.occurrences import Occurrences
from server.portability.readers.own import comments_of
from server.portability.readers.table import Row, Table

_LABELS: Final = re.compile(r"[,;]")
# Linear puts an apostrophe before what a spreadsheet might take for a formula, as its own importer knows.
_LINEAR_APOSTROPHE: Final = re.compile("'(?=[-+=@∑√∏<>＜＞≤≥＝≠±÷×])")
_JIRA_COMMENT: Final = re.compile(r"(?P<at>[^;]+);(?P<author>[^;]*);(?P<body>.*)", re.DOTALL)


def read_csv(file: IO[bytes], source: str) -> Iterator[Item]:
    """A row an issue. Of our own export every text comes back as it was, without what kept it from being a formula."""
    table = Table(file)
    table.expect("title")
    is_own = is_own_header(table.names)
    seen = Occurrences()

    def make(row: Row) -> ImportedIssue:
        if is_own:
            row.cells = [fused(cell) for cell in row.cells]
        short = row.exact if is_own else row.short
        content = IssueContent(
            title=row.text("title", "summary", "name"),
            description=row.text("description", "body"),
            status=short("status", "state") or DEFAULT_STATUS,
            priority=short("priority") or DEFAULT_PRIORITY,
            user_id=short("userId", "user_id", "assignee"),
            session_id=short("sessionId", "session_id"),
            claude_task_id=short("claudeTaskId", "claude_task_id"),
            labels=_labels(row.text("labels")),
            created_by=short("createdBy", "created_by", "creator", "author"),
            created_at=moment_of(row.text("createdAt", "created_at", "created")),
            completed_at=moment_of(row.text("completedAt", "completed_at", "completed")),
            deleted_at=moment_of(row.text("deletedAt", "deleted_at")),
            comments=_own_comments(row.text("comments")),
        )
        return ImportedIssue(row.place, issue_id_of(source, row.text("id") or _named(row.cells, seen)), content)

    with seen:
        yield from _rows(table, make)


def read_linear(file: IO[bytes], source: str) -> Iterator[Item]:
    """The export of a Linear workspace. Estimates, cycles and projects have no place here."""
    table = Table(file)
    table.expect("ID", "Title", "Status")

    def make(row: Row) -> ImportedIssue:
        row.cells = [_LINEAR_APOSTROPHE.sub("", cell, count=1) if cell[:1] == "'" else cell for cell in row.cells]
        canceled_at, archived_at = row.text("Canceled"), row.text("Archived")
        content = IssueContent(
            title=row.text("Title"),
            description=row.text("Description"),
            status=row.short("Status") or DEFAULT_STATUS,
            priority=row.short("Priority") or DEFAULT_PRIORITY,
            user_id=row.short("Assignee"),
            labels=labels_of(_LABELS.split(row.text("Labels"))),
            created_by=row.short("Creator"),
            created_at=moment_of(row.text("Created")),
            completed_at=moment_of(row.text("Completed") or canceled_at or archived_at),
        )
        return ImportedIssue(row.place, issue_id_of(source, _key(row, "UUID", "ID")), content)

    yield from _rows(table, make)


def read_jira(file: IO[bytes], source: str) -> Iterator[Item]:
    """The export of a Jira search with all fields. Labels, components and comments stand in columns of one name."""
    table = Table(file)
    table.expect("Summary", "Issue key", "Status")

    def make(row: Row) -> ImportedIssue:
        content = IssueContent(
            title=row.text("Summary"),
            description=row.text("Description"),
            status=row.short("Status") or DEFAULT_STATUS,
            priority=row.short("Priority") or DEFAULT_PRIORITY,
            user_id=row.short("Assignee"),
            labels=labels_of(
                [*row.all("Labels"), *row.all("Component/s", "Components"), row.text("Issue Type").lower()]
            ),
            created_by=row.short("Reporter", "Creator"),
            created_at=moment_of(row.text("Created")),
            completed_at=moment_of(row.text("Resolved")),
            comments=_jira_comments(row.all("Comment", "Comments")),
        )
        return ImportedIssue(row.place, issue_id_of(source, _key(row, "Issue key")), content)

    yield from _rows(table, make)


def _rows(table: Table, make: Callable[[Row], ImportedIssue]) -> Iterator[Item]:
    for row in table.rows():
        try:
            row.check()
            yield make(row)
        except BadRow as bad:
            yield Skipped(row.place, str(bad))


def _key(row: Row, *names: str) -> str:
    key = row.short(*names)
    if key is None:
        raise BadRow(f"{names[-1]} is empty")
    return key


def _named(cells: Sequence[str], seen: Occurrences) -> str:
    """A name for a row without an id: its content, and which of its like it is. So the same file has the same names."""
    digest = hashlib.sha256(json.dumps(list(cells)).encode("utf-8", "surrogatepass")).digest()
    return f"row {digest.hex()} {seen.add(digest)}"


def _labels(cell: str) -> tuple[str, ...]:
    if not cell.lstrip().startswith("["):
        return labels_of(_LABELS.split(cell))
    found = _json(cell, "labels")
    if not all(isinstance(label, str) for label in found):
        raise BadRow("labels hold something that is no text")
    return tuple(sorted(set(found) - {""}))


def _own_comments(cell: str) -> tuple[Comment, ...]:
    return comments_of(_json(cell, "comments")) if cell.lstrip().startswith("[") else ()


def _json(cell: str, name: str) -> list[Any]:
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        raise BadRow(f"{name} are no JSON") from None
    if not isinstance(found, list):
        raise BadRow(f"{name} are no list")
    return found


def _jira_comments(cells: Sequence[str]) -> tuple[Comment, ...]:
    """`date;author;text`. They have no ids: when it was written, by whom, and how many at that time, is their name."""
    found: dict[str, Comment] = {}
    for cell in cells:
        written = _JIRA_COMMENT.fullmatch(cell)
        if written is None:
            raise BadRow("a comment that is not date;author;text")
        at, author = moment_of(written["at"]), written["author"].strip() or None
        name = hashlib.sha256(f"{at} {author}".encode()).hexdigest()[:16]
        number = sum(key.startswith(name) for key in found)
        key = f"{name}-{number}"
        found[key] = Comment(key, author, at, None, None, written["body"])
    return tuple(found.values())
