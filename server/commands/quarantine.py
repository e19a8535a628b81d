"""`syncline quarantine`: the issues an engine could not digest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Column, Table

from crdt.errors import Refused
from server.commands.auditing import audit
from server.commands.workbench import FAILED, DatabaseUrl, DataDir, Workbench, run, workbench
from storage.engine import EngineFailed
from storage.replay import Replay, UnknownScope
from storage.store import DocumentStatus, Workspace

commands = typer.Typer(no_args_is_help=True, help="Issues an engine could not digest: synced, but not projected.")

WorkspaceName = Annotated[str, typer.Option("--workspace", help="the issue's workspace")]


@commands.command("list")
def list_all(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Every quarantined issue."""
    run(_list(database_url, data_dir))


@commands.command("show")
def show(
    issue: UUID, workspace: WorkspaceName = "main", database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """What is known of one."""
    run(_show(workspace, issue, database_url, data_dir))


@commands.command("release")
def release(
    issue: UUID, workspace: WorkspaceName = "main", database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Try again: project the issue, and lift its quarantine if that works. Exits 1 if it does not."""
    run(_release(workspace, issue, database_url, data_dir))


async def _list(database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench:
        slugs = {workspace.id: workspace.slug for workspace in await bench.store.workspaces()}
        table = Table("workspace", Column("issue", min_width=36), "since", "reason")  # an id that is cut is of no use
        for status in await bench.store.quarantined():
            since = status.quarantined_at.isoformat(timespec="seconds") if status.quarantined_at else ""
            table.add_row(slugs[status.workspace_id], str(status.issue_id), since, status.quarantine_reason)
        Console().print(table if table.row_count else "no issue is quarantined")
        return 0


async def _show(slug: str, issue_id: UUID, database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench:
        workspace = await bench.workspace(slug)
        status = await _status(bench, workspace, issue_id)
        table = Table("field", "value", show_header=False)
        for name in DocumentStatus.__slots__:
            table.add_row(name, str(getattr(status, name)))
        Console().print(table)
        return 0


async def _release(slug: str, issue_id: UUID, database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench:
        workspace = await bench.workspace(slug)
        status = await _status(bench, workspace, issue_id)
        if status.quarantined_at is None:
            print(f"issue {issue_id} is not quarantined")
            return 0
        # Released first: whatever is written from now on is projected, so nothing falls between the two.
        await bench.store.release(workspace.id, issue_id)
        try:
            is_written = await Replay(bench.store, bench.engine).reproject(workspace, issue_id)
        except (EngineFailed, Refused) as failure:
            await bench.store.quarantine(workspace.id, issue_id, failure.reason)
            bench.console.print(f"still not digestible: {failure.reason}", markup=False, style="red")
            return FAILED
        await audit(bench.audit_log, workspace.id, "releaseQuarantine", issue=issue_id)
        print(f"issue {issue_id} is released" + ("" if is_written else "; its row follows with its next edit"))
        return 0


async def _status(bench: Workbench, workspace: Workspace, issue_id: UUID) -> DocumentStatus:
    status = await bench.store.document(workspace.id, issue_id)
    if status is None:
        raise UnknownScope(f"there is no issue {issue_id} in workspace {workspace.slug}")
    return status
