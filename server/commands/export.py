"""`syncline export`: a workspace as a file, every row of it from one seq."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import Progress

from server import bounds
from server.commands.workbench import FAILED, DatabaseUrl, DataDir, Workbench, run, workbench
from server.portability import Format, chunks
from storage.export import Export, ExportLimits, open_export
from storage.projector import Projector


def command(
    written_as: Annotated[Format, typer.Option("--format", help="what to write")],
    workspace: Annotated[str, typer.Option("--workspace", help="slug of the workspace")] = "main",
    output: Annotated[Path | None, typer.Option(help="where to; default: stdout")] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="seconds for what is committed to be projected")
    ] = ExportLimits().wait_seconds,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Write a workspace as SQL, JSON, NDJSON, CSV or Markdown, all of one seq. Exits 1 when quarantined issues may be
    older in it."""
    run(_export(written_as, workspace, output, ExportLimits(wait_seconds=wait), database_url, data_dir))


async def _export(
    written_as: Format,
    slug: str,
    output: Path | None,
    limits: ExportLimits,
    database_url: str | None,
    data_dir: Path | None,
) -> int:
    async with (
        workbench(database_url, data_dir) as bench,
        _projecting(bench),
        open_export(bench.dsn, slug, limits) as export,
    ):
        if output is None:
            await _write(bench, export, written_as, sys.stdout.buffer)
        else:
            await _write_file(bench, export, written_as, output)
        if export.header.quarantined:
            bench.console.print(f"{export.header.quarantined} quarantined issues may be older than the rest")
            return FAILED
    return 0


@asynccontextmanager
async def _projecting(bench: Workbench) -> AsyncIterator[None]:
    """Project meanwhile: no server need be running, and one that is takes turns."""
    projector = Projector(bench.store, bench.engine, bounds.of_projector(bench.settings), now=lambda: datetime.now(UTC))
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _write_file(bench: Workbench, export: Export, written_as: Format, output: Path) -> None:
    """Under its name only when it is whole."""
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            await _write(bench, export, written_as, file)
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)


async def _write(bench: Workbench, export: Export, written_as: Format, file: IO[bytes]) -> None:
    is_shown = bench.console.is_terminal and not file.isatty()
    with Progress(console=bench.console, disable=not is_shown) as progress:
        task = progress.add_task("export", total=export.header.issues)
        async for chunk in chunks(export, written_as):
            file.write(chunk.encode())
            progress.advance(task)
    file.flush()
