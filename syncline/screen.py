"""Issues on a terminal: tables, a status line, a line a change. Nothing of an issue is believed to be printable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
ID_CHARS: Final = 8
_COLUMNS: Final[Mapping[str, Mapping[str, Any]]] = {
    "id": {"width": ID_CHARS},
    "status": {"max_width": 14},
    "priority": {"max_width": 10},
    "title": {"ratio": 1},
    "labels": {"max_width": 20},
    "for": {"max_width": 14},
    "said": {"justify": "right"},
    "changed": {"justify": "right"},
}
_ALWAYS: Final = frozenset({"id", "status", "priority", "title", "changed"})


def plain(text: str) -> str:
    """The text without what would steer the terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def issue_table(issues: Sequence[Issue], now: datetime) -> Table:
    """One row an issue, in the order given; what none of them has takes no room."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    cells = [_cells(issue, now) for issue in issues]
    shown = [name for at, name in enumerate(_COLUMNS) if name in _ALWAYS or any(row[at].plain for row in cells)]
    for name in shown:
        table.add_column(name, no_wrap=True, **_COLUMNS[name])
    for issue, row in zip(issues, cells, strict=True):
        style = "dim strike" if issue.is_deleted else ""
        table.add_row(*(cell for name, cell in zip(_COLUMNS, row, strict=True) if name in shown), style=style)
    return table


def _cells(issue: Issue, now: datetime) -> tuple[Text, ...]:
    return (
        Text(short_id(issue), style="cyan"),
        Text(plain(issue.status)),
        Text(plain(issue.priority), style=_PRIORITY_STYLES.get(issue.priority, "")),
        Text(plain(issue.title).replace("\n", " ") or "(no title)"),
        Text(plain(" ".join(issue.labels)), style="magenta"),
        Text(plain(issue.user_id or "")),
        Text(str(said(issue) or "")),
        Text.assemble((since(issue.updated_at, now), "dim"), (" ↑" if issue.pending else "", "yellow")),
    )


def said(issue: Issue) -> int:
    """Comments that are not deleted."""
    return sum(comment.deleted_at is None for comment in issue.comments)


def status_line(status: Status, issues: int, now: datetime) -> Text:
    """Where the client stands, in one line."""
    line = Text.assemble(("● ", _STATE_STYLES[status.state]), (status.state.value, "bold"))
    if status.reason and status.state is not State.LIVE:
        line.append(f"  {plain(status.reason)}", style="dim")
    line.append(f"  {counted(issues, 'issue')}")
    if status.pending:
        line.append(f"  {counted(status.pending, 'edit')} to be sent", style="yellow")
    if status.last_synced is not None and status.state is not State.LIVE:
        line.append(f"  as of {since(status.last_synced, now)}", style="dim")
    return line


def change_line(issue: Issue) -> str:
    """One change, for a log: everything that is short, and how far it got."""
    return f"{outline(issue)}  ({progress(issue)})"


def outline(issue: Issue) -> str:
    """One issue in a line, without how far it got."""
    parts = [short_id(issue), issue.status, issue.priority, issue.title or "(no title)", *issue.labels]
    if issue.user_id:
        parts.append(f"for {issue.user_id}")
    if said(issue):
        parts.append(counted(said(issue), "comment"))
    if issue.is_deleted:
        parts.append("deleted")
    return plain("  ".join(parts)).replace("\n", " ")


def progress(issue: Issue) -> str:
    """Whether it is known to the server; its seq is known a moment later."""
    if issue.pending:
        return "to be sent"
    return f"seq {issue.seq}" if issue.seq else "committed"


def counted(number: int, name: str) -> str:
    """`1 issue`, `2 issues`."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def short_id(issue: Issue) -> str:
    """Enough of the id to tell it from others by."""
    return str(issue.id)[:ID_CHARS]


def since(moment: datetime | None, now: datetime) -> str:
    """How long ago, roughly; empty for never."""
    if moment is None:
        return ""
    passed = now - moment
    for size, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if passed >= size:
            return f"{passed // size} {unit} ago"
    return "just now"


def console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given as it is."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
