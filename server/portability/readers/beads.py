"""`.beads/issues.jsonl` of beads (github.com/steveyegge/beads): a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any, Final

from crdt.issue import Comment, IssueContent
from server.portability.fields import Fields, labels_of
from server.portability.imported import BadRow, ImportedIssue, Item, Skipped, issue_id_of
from server.portability.lines import lines_of

_TOMBSTONE: Final = "tombstone"
# What beads keeps beside the description becomes sections of it.
_SECTIONS: Final = (
    ("design", "Design"),
    ("acceptance_criteria", "Acceptance criteria"),
    ("notes", "Notes"),
    ("close_reason", "Close reason"),
)


def read(file: IO[bytes], source: str) -> Iterator[Item]:
    """Issues. The type becomes a label, dependencies become a section of the description."""
    for number, line in lines_of(file):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            yield _issue(place, Fields.of(json.loads(line)), source)
        except (ValueError, RecursionError):
            yield Skipped(place, "not a JSON object")
        except BadRow as bad:
            yield Skipped(place, str(bad))


def _issue(place: str, fields: Fields, source: str) -> ImportedIssue:
    key = fields.text("id")
    if not key:
        raise BadRow("it has no id")
    content = IssueContent(
        title=fields.text("title"),
        description=_description(fields),
        status=fields.short("status") or "open",
        priority=f"p{fields.text('priority') or '2'}",
        user_id=fields.short("assignee"),
        labels=labels_of([*fields.texts("labels"), fields.text("issue_type")]),
        created_by=fields.short("created_by"),
        created_at=fields.moment("created_at"),
        completed_at=fields.moment("closed_at"),
        comments=tuple(_comment(Fields.of(item)) for item in fields.items("comments")),
    )
    if content.status == _TOMBSTONE:
        deleted_at = fields.moment("deleted_at", "updated_at", "created_at")
        content = replace(content, status="closed", deleted_at=deleted_at)
    return ImportedIssue(place, issue_id_of(source, key), content)


def _description(fields: Fields) -> str:
    parts = [fields.text("description")]
    parts += [f"## {title}\n\n{text}" for name, title in _SECTIONS if (text := fields.text(name).strip())]
    if links := [_link(Fields.of(item)) for item in fields.items("dependencies")]:
        parts.append("## Dependencies\n\n" + "\n".join(links))
    return "\n\n".join(part for part in parts if part)


def _link(fields: Fields) -> str:
    return f"- {fields.text('type', 'dep_type') or 'blocks'}: {fields.text('depends_on_id', 'id')}"


def _comment(fields: Fields) -> Comment:
    key: Any = fields.text("id")
    if not key:
        raise BadRow("a comment without an id")
    return Comment(key, fields.short("author"), fields.moment("created_at"), None, None, fields.text("text"))
