"""`syncline issues watch`: a table that follows the workspace on a terminal, lines anywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live

from syncline import screen
from syncline.client import Client
from syncline.issue import Issue

_REFRESHES: Final = 4  # per second, however much or little happens: "2 min ago" grows old, too
_MARGIN_LINES: Final = 4  # of the terminal, not issues


async def watch(client: Client, is_wanted: Callable[[Issue], bool], *, as_json: bool) -> None:
    """Until cancelled."""
    console = screen.console()
    if as_json or not console.is_terminal:
        await _watch_lines(client, is_wanted, as_json)
    else:
        await _watch_live(client, is_wanted, console)


async def _watch_lines(client: Client, is_wanted: Callable[[Issue], bool], as_json: bool) -> None:
    async for issue in client.issues.watch():
        if is_wanted(issue):
            print(json.dumps(issue.to_json()) if as_json else screen.change_line(issue), flush=True)


async def _watch_live(client: Client, is_wanted: Callable[[Issue], bool], console: Console) -> None:
    board = Board(client, is_wanted, console)
    with Live(console=console, get_renderable=board.render, refresh_per_second=_REFRESHES, screen=True):
        await board.follow()


class Board:
    """What is on the screen: the issues that changed last, and the status."""

    def __init__(self, client: Client, is_wanted: Callable[[Issue], bool], console: Console) -> None:
        self._client = client
        self._is_wanted = is_wanted
        self._console = console
        self._issues: dict[str, Issue] = {}

    async def follow(self) -> None:
        """Take in every change."""
        async for issue in self._client.issues.watch():
            # The newest is the last of the dict.
            self._issues.pop(str(issue.id), None)
            if self._is_wanted(issue) and not issue.is_deleted:
                self._issues[str(issue.id)] = issue

    def render(self) -> Group:
        """Everything that fits."""
        now = datetime.now(UTC)
        newest = list(self._issues.values())[::-1][: max(1, self._console.height - _MARGIN_LINES)]
        status = screen.status_line(self._client.status.now, len(self._issues), now)
        return Group(status, "", screen.issue_table(newest, now))
