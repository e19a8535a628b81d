"""`syncline compact`: fold and trim now what the server would fold and trim in time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from server import bounds
from server.commands.reporting import Report
from server.commands.workbench import (
    FAILED,
    DatabaseUrl,
    DataDir,
    IssueId,
    WorkspaceSlug,
    run,
    scope_of,
    workbench,
)
from storage.compactor import Compactor
from storage.engine import IssueKey
from storage.replay import Scope, count_issues, issues_in


def command(
    workspace: WorkspaceSlug = None,
    issue: IssueId = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Fold every tail into a snapshot and trim what is older than the kept history. Exits 1 if an issue had to be
    quarantined."""
    run(_compact(scope_of(workspace, issue), database_url, data_dir))


async def _compact(scope: Scope, database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench:
        compactor = Compactor(
            bench.store, bench.engine, bounds.of_compactor(bench.settings), now=lambda: datetime.now(UTC)
        )
        outcomes: dict[str, int] = {}
        before = after = trimmed = 0
        with Report(bench.console, "compact", await count_issues(bench.store, scope)) as report:
            async for workspace, issue_id in issues_in(bench.store, scope):
                stats = await compactor.compact(IssueKey(workspace.id, issue_id))
                outcomes[stats.outcome] = outcomes.get(stats.outcome, 0) + 1
                before, after = before + stats.bytes_before, after + stats.bytes_after
                trimmed += stats.trimmed_deltas
                report.advance(issues=1, updates=0, mismatches=())
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items())) or "no issues"
        print(f"{counts}: {before:,} bytes became {after:,}, {trimmed:,} deltas trimmed, in {report.seconds:.1f} s")
        return FAILED if outcomes.get("quarantined") else 0
