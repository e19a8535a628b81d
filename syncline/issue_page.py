"""One issue whole on a terminal. Apart from `screen`: reading Markdown takes modules that only this needs."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from crdt.issue import Comment
from syncline.issue import Issue
from syncline.screen import counted, plain, since


def issue_page(issue: Issue, now: datetime) -> RenderableType:
    """One issue, whole."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(issue, now):
        facts.add_row(Text(name, style="dim"), Text(plain(value)))
    parts: list[RenderableType] = [Text(plain(issue.title) or "(no title)", style="bold"), facts]
    if issue.description:
        parts += [Rule(style="dim"), Markdown(plain(issue.description), hyperlinks=False)]
    for comment in issue.comments:
        if comment.deleted_at is None:
            parts += [Rule(_byline(comment, now), style="dim", align="left"), Markdown(plain(comment.body))]
    return Group(*parts)


def _facts(issue: Issue, now: datetime) -> list[tuple[str, str]]:
    facts = [
        ("id", str(issue.id)),
        ("status", issue.status),
        ("priority", issue.priority),
        ("for", issue.user_id or ""),
        ("labels", " ".join(issue.labels)),
        ("session", issue.session_id or ""),
        ("task", issue.claude_task_id or ""),
        ("created", f"{since(issue.created_at, now)} by {issue.created_by or 'somebody'}" if issue.created_at else ""),
        ("completed", since(issue.completed_at, now)),
        ("deleted", since(issue.deleted_at, now)),
        ("seq", str(issue.seq) if issue.seq else ""),
        ("waiting", f"{counted(issue.pending, 'edit')} to be sent" if issue.pending else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _byline(comment: Comment, now: datetime) -> Text:
    edited = ", edited" if comment.edited_at else ""
    return Text(plain(f"{comment.author or 'somebody'}, {since(comment.created_at, now)}{edited}"))
