"""Issues on a terminal: tables, one issue whole, a status line. Nothing of an issue is believed to be printable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from crdt.issue import Comment
from syncline.issue import Issue
from syncline.status import State, Status

# Others write titles, and a terminal obeys these. Newlines and tabs stay.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_STATE_STYLES: Final = {
    State.LIVE: "green",
    State.CATCHING_UP: "cyan",
    State.CONNECTING: "cyan",
    State.OFFLINE: "yellow",
    State.NEEDS_AUTH: "red",
    State.ERROR: "red",
    State.CLOSED: "dim",
}
_PRIORITY_STYLES: Final = {"urgent": "bold red", "critical": "bold red", "high": "red", "low": "dim"}
_ID_CHARS: Final = 8


def plain(text: str) -> str:
    """The text without what would steer the terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def issue_table(issues: Sequence[Issue], now: datetime) -> Table:
    """One row an issue, in the order given."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("id", no_wrap=True, width=_ID_CHARS)
    table.add_column("status", no_wrap=True, max_width=14)
    table.add_column("priority", no_wrap=True, max_width=10)
    table.add_column("title", no_wrap=True, ratio=1)
    table.add_column("labels", no_wrap=True, max_width=20)
    table.add_column("for", no_wrap=True, max_width=14)
    table.add_column("said", justify="right")
    table.add_column("changed", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=1)
    for issue in issues:
        table.add_row(*_cells(issue, now), style="dim strike" if issue.is_deleted else "")
    return table


def _cells(issue: Issue, now: datetime) -> tuple[Text, ...]:
    said = sum(comment.deleted_at is None for comment in issue.comments)
    return (
        Text(short_id(issue), style="cyan"),
        Text(plain(issue.status)),
        Text(plain(issue.priority), style=_PRIORITY_STYLES.get(issue.priority, "")),
        Text(plain(issue.title).replace("\n", " ") or "(no title)"),
        Text(plain(" ".join(issue.labels)), style="magenta"),
        Text(plain(issue.user_id or "")),
        Text(str(said) if said else ""),
        Text(since(issue.updated_at, now), style="dim"),
        pending_mark(issue),
    )


def pending_mark(issue: Issue) -> Text:
    """Whether something of it waits to be sent."""
    return Text("↑", style="yellow") if issue.pending else Text("")


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
        ("waiting", f"{issue.pending} edits to be sent" if issue.pending else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _byline(comment: Comment, now: datetime) -> Text:
    edited = ", edited" if comment.edited_at else ""
    return Text(plain(f"{comment.author or 'somebody'}, {since(comment.created_at, now)}{edited}  {comment.id}"))


def status_line(status: Status, issues: int, now: datetime) -> Text:
    """Where the client stands, in one line."""
    line = Text.assemble(("● ", _STATE_STYLES[status.state]), (status.state.value, "bold"))
    if status.reason and status.state is not State.LIVE:
        line.append(f"  {plain(status.reason)}", style="dim")
    line.append(f"  {issues:,} issues")
    if status.pending:
        line.append(f"  {status.pending:,} edits to be sent", style="yellow")
    if status.last_synced is not None and status.state is not State.LIVE:
        line.append(f"  as of {since(status.last_synced, now)}", style="dim")
    return line


def change_line(issue: Issue) -> str:
    """One change, for a log."""
    where = f"seq {issue.seq}" if not issue.pending else "to be sent"
    return plain(f"{short_id(issue)}  {issue.status}  {issue.priority}  {issue.title}  ({where})").replace("\n", " ")


def short_id(issue: Issue) -> str:
    """Enough of the id to tell it from others by."""
    return str(issue.id)[:_ID_CHARS]


def since(moment: datetime | None, now: datetime) -> str:
    """How long ago, roughly; empty for never."""
    if moment is None:
        return ""
    passed = now - moment
    for size, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if passed >= size:
            return f"{passed // size} {unit} ago"
    return "now"


def console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given as it is."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
