"""`syncline issues watch`: a table that follows the workspace on a terminal; in its background and elsewhere, lines."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from rich.console import Console, Group
from rich.live import Live

from syncline import screen
from syncline.client import Client
from syncline.issue import Issue
from syncline.status import State

_REFRESHES: Final = 4  # per second, however much or little happens: "2 min ago" grows old, too
_MARGIN_LINES: Final = 4  # of the terminal, not issues


async def watch(client: Client, is_wanted: Callable[[Issue], bool], *, as_json: bool) -> None:
    """Until cancelled."""
    console = screen.console()
    if as_json or not console.is_terminal or is_in_background():
        await _watch_lines(client, is_wanted, as_json)
    else:
        await _watch_live(client, is_wanted, console)


def is_in_background() -> bool:
    """Whether the terminal is somebody else's now (`… &`): a table would be drawn over what they do."""
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) != os.getpgrp()
    except (AttributeError, OSError):  # no such thing on this system, or no terminal of ours
        return False


async def _watch_lines(client: Client, is_wanted: Callable[[Issue], bool], as_json: bool) -> None:
    telling = asyncio.create_task(_tell_states(client))
    try:
        async for issue in _news(client):
            if is_wanted(issue):
                print(json.dumps(issue.to_json()) if as_json else screen.change_line(issue), flush=True)
    finally:
        telling.cancel()


async def _news(client: Client) -> AsyncIterator[Issue]:
    """Changes that show. Between its ack and its place in the log an edit only gets a number."""
    seen: dict[UUID, int] = {}
    async for issue in client.issues.watch():
        mark = hash(replace(issue, seq=0, revision=0, updated_at=None, pending=min(issue.pending, 1)))
        if seen.get(issue.id) != mark:
            seen[issue.id] = mark
            yield issue


async def _tell_states(client: Client) -> None:
    """On stderr, where it is in nobody's way."""
    told: State | None = None
    async for status in client.status:
        if status.state is not told and status.state is not State.CONNECTING:
            told = status.state
            issues = len(await client.issues.list())
            screen.console(stderr=True).print(screen.status_line(status, issues, datetime.now(UTC)), soft_wrap=True)


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
