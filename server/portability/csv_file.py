"""CSV after RFC 4180, a row an issue; labels and comments are JSON in their cell. Which state it is, where that is
wanted, stands in the last columns, because the format knows no comments."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from io import StringIO
from typing import Final

from server.portability.records import dumped, header_record, issue_record
from storage.export import ExportHeader
from storage.store import ProjectedIssue

COLUMNS: Final = (
    "id", "title", "description", "status", "priority", "userId", "sessionId", "claudeTaskId", "labels", "createdBy",
    "createdAt", "completedAt", "deletedAt", "comments",
)  # fmt: skip
STATE_COLUMNS: Final = (
    "updatedAt", "version", "seq", "unreadable", "exportWorkspace", "exportSeq", "exportEpoch",
)  # fmt: skip

# With the apostrophes in front of it, so that whoever takes one away again gets every text back as it was.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")


async def write(
    header: ExportHeader, issues: AsyncIterator[ProjectedIssue], *, with_state: bool = False
) -> AsyncIterator[str]:
    """The file in chunks, a row each."""
    yield _row(COLUMNS + STATE_COLUMNS if with_state else COLUMNS)
    state = list(header_record(header).values()) if with_state else []
    async for issue in issues:
        yield _row(_cell(value) for value in [*issue_record(issue, with_state=with_state).values(), *state])


def is_own_header(names: Sequence[str]) -> bool:
    """Whether a file with these columns was written here."""
    return tuple(names) in (COLUMNS, COLUMNS + STATE_COLUMNS)


def fused(cell: str) -> str:
    """The text that was `defused`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def defused(cell: str) -> str:
    """A spreadsheet takes a cell that begins with = + - @ tab or CR for a formula: an apostrophe in front says text."""
    return "'" + cell if _FORMULA.match(cell) else cell


def _cell(value: object) -> str:
    if value is None:
        return ""
    return defused(dumped(value) if isinstance(value, list) else str(value))


def _row(cells: Iterable[str]) -> str:
    line = StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue()
