"""What the commands about people need: the open store with a workspace of it, and a table or JSON for the answer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from server.commands.auditing import audit
from server.commands.workbench import FAILED, DatabaseUrl, DataDir, settings_of, workspace_of
from server.config import Settings
from server.opening import Opened, open_store
from storage.people import LastOwner
from storage.store import Workspace

__all__ = [
    "AsJson",
    "DataDir",
    "DatabaseUrl",
    "OfUser",
    "Reception",
    "WorkspaceName",
    "reception",
    "run",
    "settings_of",
    "show",
]

_IDS: Final = frozenset({"session", "token", "device", "key", "batch"})  # what commands are told
_ANY_WIDTH: Final = 10_000

WorkspaceName = Annotated[str, typer.Option("--workspace", help="slug of the workspace")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line instead of a table")]
OfUser = Annotated[str | None, typer.Option("--user", help="only of this user")]

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reception:
    """An open store, and the moment the command began."""

    settings: Settings
    opened: Opened
    now: datetime

    async def workspace(self, slug: str) -> Workspace:
        """Raises `UnknownWorkspace`."""
        return await workspace_of(self.opened.store, slug)

    async def audit(self, workspace: Workspace, action: str, **detail: object) -> None:
        """Write down that it was done."""
        await audit(self.opened.audit_log, workspace.id, action, **detail)


def run(
    work: Callable[[Reception], Coroutine[Any, Any, int]], database_url: str | None, data_dir: Path | None
) -> NoReturn:
    """Run a command to its exit code over the store that the options and the environment name."""
    raise typer.Exit(asyncio.run(_at_reception(work, database_url, data_dir)))


@asynccontextmanager
async def reception(settings: Settings) -> AsyncIterator[Reception]:
    """Open the store."""
    async with open_store(settings) as opened:
        yield Reception(settings, opened, datetime.now(UTC))


async def _at_reception(
    work: Callable[[Reception], Coroutine[Any, Any, int]], database_url: str | None, data_dir: Path | None
) -> int:
    async with reception(settings_of(database_url, data_dir)) as desk:
        try:
            return await work(desk)
        except LastOwner as refused:
            return failed(str(refused))


def failed(why: str) -> int:
    """Say it on stderr; the exit code."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(why, markup=False, style="red")
    return FAILED


def show(rows: Sequence[Row], *, as_json: bool, nothing: str) -> int:
    """Every row, or that there is none; the exit code. A table leaves out what no row has. Where nobody looks, a row is
    a line, however long. Times are of the clock on the wall here."""
    if as_json:
        for row in rows:
            print(json.dumps(row, default=_plain, ensure_ascii=False))
    elif rows:
        told = {name: [_text(row[name]) for row in rows] for name in rows[0]}
        table = Table(*(_column(name, texts) for name, texts in told.items() if any(texts)), box=SIMPLE)
        for texts in zip(*(texts for texts in told.values() if any(texts)), strict=True):
            table.add_row(*texts)
        width = None if sys.stdout.isatty() else _ANY_WIDTH
        Console(highlight=False, width=width).print(table, markup=False, crop=False)
    else:
        print(nothing)
    return 0


def _column(name: str, texts: Sequence[str]) -> Column:
    # An id that is cut is of no use to the command that wants it.
    whole = max(map(len, texts)) if name in _IDS else None
    return Column(name.replace("_", " "), overflow="fold", min_width=whole)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)
