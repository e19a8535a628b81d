"""`syncline purge`: delete for good what was marked as deleted, when it is due, or one issue at once."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from server import bounds
from server.commands.auditing import audit
from server.commands.workbench import FAILED, DatabaseUrl, DataDir, IssueId, Workbench, run, workbench
from storage.errors import NotPurgeable, Purged
from storage.purger import Purger


def command(
    workspace: Annotated[str, typer.Option("--workspace", help="the issue's workspace")] = "main",
    issue: IssueId = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be deleted")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Delete for good what has been marked as deleted for `purge-after-days`, in all workspaces; or, with --issue, one
    deleted issue now. Exits 1 if that issue must stay."""
    run(_purge(workspace, issue, dry_run, database_url, data_dir))


async def _purge(slug: str, issue: UUID | None, dry_run: bool, database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench:
        if issue is not None:
            return await _one(bench, slug, issue, is_dry=dry_run)
        purger = Purger(bench.store, bounds.of_purger(bench.settings), now=lambda: datetime.now(UTC))
        if dry_run:
            for key in await purger.due():
                print(key.issue_id)
            return 0
        count = 0
        while purged := await purger.purge_due():
            count += len(purged)
            for key in purged:
                await audit(bench.audit_log, key.workspace_id, "purge", issue=key.issue_id)
        print(f"{count:,} issues purged")
        return 0


async def _one(bench: Workbench, slug: str, issue_id: UUID, *, is_dry: bool) -> int:
    workspace = await bench.workspace(slug)
    if is_dry:
        row = (await bench.store.projected(workspace.id, [issue_id])).get(issue_id)
        is_deleted = row is not None and row.content.deleted_at is not None
        print(f"issue {issue_id} {'would be purged' if is_deleted else 'is not deleted'}")
        return 0 if is_deleted else FAILED
    try:
        seq = await bench.store.purge(workspace.id, issue_id, by=f"cli:{getpass.getuser()}", at=datetime.now(UTC))
    except (NotPurgeable, Purged) as error:
        bench.console.print(f"issue {issue_id} stays: {error}", markup=False, style="red", soft_wrap=True)
        return FAILED
    await audit(bench.audit_log, workspace.id, "purge", issue=issue_id)
    print(f"issue {issue_id} is purged, tombstone at seq {seq}")
    return 0
