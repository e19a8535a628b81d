"""Markdown for people to read: a section an issue. What people wrote stands in block quotes, so that none of their
fences and headings reaches beyond them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from crdt.issue import Comment
from server.portability.records import iso
from storage.export import ExportHeader
from storage.store import ProjectedIssue

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&!])")
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


async def write(header: ExportHeader, issues: AsyncIterator[ProjectedIssue]) -> AsyncIterator[str]:
    """The file in chunks, an issue each."""
    yield f"# {inline(header.workspace)}\n\n{header.issues} issues at seq {header.seq}, epoch {header.epoch}.\n"
    async for issue in issues:
        yield _section(issue)


def _section(issue: ProjectedIssue) -> str:
    c = issue.content
    parts = [f"\n## {inline(c.title) or '(no title)'}\n", _properties(issue)]
    if c.description:
        parts.append(quoted(c.description))
    parts += [_thread(comment) for comment in c.comments]
    return "\n".join(parts)


def _properties(issue: ProjectedIssue) -> str:
    c = issue.content
    properties = (
        ("id", str(issue.issue_id)),
        ("status", c.status),
        ("priority", c.priority),
        ("assignee", c.user_id),
        ("labels", ", ".join(c.labels)),
        ("session", c.session_id),
        ("Claude task", c.claude_task_id),
        ("created", _at(iso(c.created_at), c.created_by)),
        ("updated", iso(c.updated_at)),
        ("completed", iso(c.completed_at)),
        ("deleted", iso(c.deleted_at)),
    )
    return "".join(f"- {name}: {inline(value)}\n" for name, value in properties if value)


def _thread(comment: Comment) -> str:
    edited = f", edited {iso(comment.edited_at)}" if comment.edited_at else ""
    if comment.deleted_at:
        return f"**Deleted comment** {iso(comment.deleted_at)}\n"
    who = inline(comment.author or "somebody")
    return f"**{who}** {iso(comment.created_at) or ''}{edited}\n\n{quoted(comment.body)}"


def _at(moment: str | None, who: str | None) -> str | None:
    return " by ".join(part for part in (moment, who) if part) or None


def inline(text: str) -> str:
    """On one line and without markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def quoted(text: str) -> str:
    """As a block quote."""
    return "".join(f"> {line}".rstrip() + "\n" for line in _LINE_END.split(text))
