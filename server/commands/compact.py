"""`syncline compact`: fold and trim now what the server would fold and trim in time."""

from __future__ import annotations

from datetime import UTC, datetime

from server import bounds
from server.commands.reporting import Report
from server.commands.workbench import FAILED, Workbench, over_issues
from storage.compactor import Compactor
from storage.engine import IssueKey
from storage.replay import Scope, count_issues, issues_in


@over_issues
async def command(bench: Workbench, scope: Scope) -> int:
    """Fold every tail into a snapshot and trim what is older than the kept history. Exits 1 if an issue had to be
    quarantined."""
    limits = bounds.of_compactor(bench.settings)
    compactor = Compactor(bench.store, bench.engine, limits, now=lambda: datetime.now(UTC))
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
