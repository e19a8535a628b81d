"""`syncline export`: a workspace as a file, every row of it from one seq."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import Progress

from server.commands.auditing import audit
from server.commands.projecting import projecting
from server.commands.workbench import FAILED, DatabaseUrl, DataDir, Workbench, run, workbench
from server.portability import Format, chunks
from storage.export import Export, ExportLimits, open_export


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the file should be."""

    written_as: Format
    with_state: bool


def command(
    written_as: Annotated[Format, typer.Option("--format", help="what to write")],
    workspace: Annotated[str, typer.Option("--workspace", help="slug of the workspace")] = "main",
    output: Annotated[Path | None, typer.Option(help="where to; default: stdout")] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="seconds for what is committed to be projected")
    ] = ExportLimits().wait_seconds,
    with_state: Annotated[
        bool,
        typer.Option("--with-state", help="also seqs, versions and times of the last change, which no import restores"),
    ] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Write a workspace as SQL, JSON, NDJSON, CSV or Markdown, all of one seq. Exits 1 when quarantined issues may be
    older in it."""
    limits = ExportLimits(wait_seconds=wait)
    run(_export(_Wanted(written_as, with_state), workspace, output, limits, database_url, data_dir))


async def _export(
    wanted: _Wanted,
    slug: str,
    output: Path | None,
    limits: ExportLimits,
    database_url: str | None,
    data_dir: Path | None,
) -> int:
    async with (
        workbench(database_url, data_dir) as bench,
        projecting(bench),
        open_export(bench.dsn, slug, limits) as export,
    ):
        workspace = await bench.store.workspace(slug)
        assert workspace is not None
        await audit(bench.audit_log, workspace.id, "exportWorkspace", format=wanted.written_as)
        if output is None:
            await _write(bench, export, wanted, sys.stdout.buffer)
        else:
            await _write_file(bench, export, wanted, output)
        if export.header.quarantined:
            bench.console.print(f"{export.header.quarantined} quarantined issues may be older than the rest")
            return FAILED
    return 0


async def _write_file(bench: Workbench, export: Export, wanted: _Wanted, output: Path) -> None:
    """Under its name only when it is whole."""
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            await _write(bench, export, wanted, file)
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)


async def _write(bench: Workbench, export: Export, wanted: _Wanted, file: IO[bytes]) -> None:
    is_shown = bench.console.is_terminal and not file.isatty()
    with Progress(console=bench.console, disable=not is_shown) as progress:
        task = progress.add_task("export", total=export.header.issues)
        async for chunk in chunks(export, wanted.written_as, with_state=wanted.with_state):
            file.write(chunk.encode())
            progress.advance(task)
    file.flush()
