"""`syncline import FILE`, `import list`, `import undo BATCH`: issues and users from elsewhere, and back out again."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from server.commands.auditing import audit
from server.commands.projecting import projecting
from server.commands.quiet_node import quiet_node
from server.commands.reception import AsJson, show
from server.commands.workbench import FAILED, DatabaseUrl, DataDir, run, workbench
from server.import_report import CHANGED, CREATED, KEPT, SKIPPED, UNCHANGED, USERS_CREATED, USERS_KEPT, ImportReport
from server.import_undo import DELETED, USERS_DELETED, UndoReport, undo
from server.imports import Importer, ImportPlan
from server.permissions import Identity, Role
from server.portability.imported import Item, NotReadable
from server.portability.readers import Source, detect, has_our_words, read
from server.portability.vocabulary import Vocabulary, rules_of
from server.record_errors import NotThere, Unavailable
from storage.errors import StoreError
from storage.import_ledger import ImportBatch

_SHOWN_NOTES = 20
_COUNTS = (CREATED, CHANGED, UNCHANGED, KEPT, SKIPPED, USERS_CREATED, USERS_KEPT)


class _FileFirst(TyperGroup):
    """`import FILE` is short for `import file FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["file", *args]
        return super().parse_args(ctx, args)


commands = typer.Typer(
    cls=_FileFirst,
    no_args_is_help=True,
    help="Bring issues in: `import FILE` with the options of `import file`. A file called list or undo needs a ./",
)
WorkspaceName = Annotated[str, typer.Option("--workspace", help="slug of the workspace")]


@commands.command("file")
def bring(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="what to import")],
    source: Annotated[Source | None, typer.Option("--format", help="of the file; default: what it looks like")] = None,
    workspace: WorkspaceName = "main",
    rules: Annotated[
        list[str] | None, typer.Option("--map", help='such as status:"In Review"=in_progress or priority:P1=high')
    ] = None,
    name: Annotated[
        str | None, typer.Option("--source", help="tells ids of one place from those of another; default: the format")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="also change issues that were edited here")] = False,
    role: Annotated[
        Role | None, typer.Option("--role", help="of users it adds; default: none, they wait to be invited")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Import a file, beside a running server or without one. Repeating it changes nothing, and one that was cut off
    goes on. Exits 1 when something was skipped or kept."""
    vocabulary = Vocabulary(rules_of(rules or ()))
    run(_bring(file, source, name, workspace, vocabulary, dry_run, overwrite, role, database_url, data_dir))


@commands.command("list")
def list_all(
    workspace: WorkspaceName = "main",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """The last imports, newest first."""
    run(_list(workspace, database_url, data_dir, as_json=as_json))


@commands.command("undo")
def take_back(
    batch: UUID, workspace: WorkspaceName = "main", database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Mark as deleted what an import created and nobody touched since. Exits 1 when something stays."""
    run(_undo(batch, workspace, database_url, data_dir))


async def _bring(
    file: Path,
    source: Source | None,
    name: str | None,
    slug: str,
    vocabulary: Vocabulary,
    is_dry: bool,
    overwrites: bool,
    role: Role | None,
    database_url: str | None,
    data_dir: Path | None,
) -> int:
    async with workbench(database_url, data_dir) as bench, quiet_node(bench) as services:
        workspace = await bench.workspace(slug)
        with file.open("rb") as opened, _progress(bench.console, opened) as moved:
            try:
                found = source or detect(opened)
                vocabulary.is_ours = has_our_words(opened, found)
                plan = ImportPlan(file.name, found.value, vocabulary, is_dry, overwrites, role)
                items: Iterator[Item] = read(opened, found, name)
                report = await Importer(services).bring(workspace, _admin(slug), items, plan, moved)
            except (NotReadable, Unavailable) as error:
                bench.console.print(f"{file}: {error}", markup=False, style="red", soft_wrap=True)
                bench.console.print("What was read before is in; the same command goes on from there.")
                return FAILED
        await audit(bench.audit_log, workspace.id, "importFile", name=file.name, dry_run=is_dry, role=role)
        _show(bench.console, report)
        print(f"{found}: {_counted(report)}" + (f"; batch {report.batch_id}" if report.batch_id else " (dry run)"))
        return FAILED if report.counts[SKIPPED] or report.counts[KEPT] else 0


async def _list(slug: str, database_url: str | None, data_dir: Path | None, *, as_json: bool) -> int:
    async with workbench(database_url, data_dir) as bench:
        workspace = await bench.workspace(slug)
        rows = [_row(batch) for batch in await bench.imports.batches(workspace.id)]
        return show(rows, as_json=as_json, nothing="nothing was imported")


def _row(batch: ImportBatch) -> dict[str, object]:
    return {
        "batch": batch.id,
        "file": batch.name,
        "format": batch.source,
        "by": batch.started_by,
        "started": batch.started_at,
        "state": "undone" if batch.undone_at else "done" if batch.finished_at else "cut off",
        "what": ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in batch.counts.items() if count),
    }


async def _undo(batch: UUID, slug: str, database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench, quiet_node(bench) as services, projecting(bench):
        workspace = await bench.workspace(slug)
        try:
            report: UndoReport = await undo(services, workspace, _admin(slug), batch)
        except NotThere:
            raise StoreError(f"there is no import {batch}") from None
        await audit(bench.audit_log, workspace.id, "undoImport", batch=batch)
        for issue_id, reason in report.kept[:_SHOWN_NOTES]:
            bench.console.print(f"{issue_id} stays: {reason}", markup=False, soft_wrap=True)
        kept = report.counts["kept"]
        deleted, users = report.counts[DELETED], report.counts[USERS_DELETED]
        print(f"{deleted:,} issues and {users:,} users deleted, {kept:,} issues stay")
        return FAILED if kept else 0


def _admin(slug: str) -> Identity:
    """Whoever may open the store may do everything there."""
    return Identity(f"cli:{getpass.getuser()}", slug, Role.OWNER)


@contextmanager
def _progress(console: Console, file: IO[bytes]) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the file, on a terminal; what it gives is told how many items more were taken."""
    size = os.fstat(file.fileno()).st_size
    columns = (
        TextColumn("import"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[items]:,} items"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("import", total=size, items=0)
        items = 0

        def moved(count: int) -> None:
            nonlocal items
            items += count
            progress.update(task, completed=file.tell(), items=items)

        yield moved


def _show(console: Console, report: ImportReport) -> None:
    """What a person should look at."""
    for note in report.notes[:_SHOWN_NOTES]:
        issue = f" (issue {note.issue_id})" if note.issue_id else ""
        console.print(f"{note.place}: {note.reason}{issue}", markup=False, soft_wrap=True)
    more = len(report.notes) - _SHOWN_NOTES + report.omitted
    if more > 0:
        console.print(f"and {more:,} more")
    for (kind, word, ours), count in sorted(report.vocabulary.mapped.items()):
        console.print(f"{kind} {word!r} became {ours} in {count:,} issues", markup=False, soft_wrap=True)
    for (kind, word), count in sorted(report.vocabulary.unknown.items()):
        console.print(
            f"{kind} {word!r} is not known and stays, in {count:,} issues; --map changes it",
            markup=False,
            soft_wrap=True,
        )


def _counted(report: ImportReport) -> str:
    told = [f"{report.counts[each]:,} {each.replace('_', ' ')}" for each in _COUNTS if report.counts[each]]
    return ", ".join(told) or "nothing"
