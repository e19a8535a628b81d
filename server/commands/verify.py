"""`syncline verify`: is everything stored consistent with itself?"""

from __future__ import annotations

from server.commands.reporting import Report
from server.commands.workbench import FAILED, Workbench, over_issues
from storage.integrity import Integrity, LogVerified
from storage.replay import Scope, count_issues


@over_issues
async def command(bench: Workbench, scope: Scope) -> int:
    """Check that the log is dense and sound, that snapshots equal its fold and that rows equal their documents. Exits 1
    on any mismatch."""
    snapshots = 0
    with Report(bench.console, "verify", await count_issues(bench.store, scope)) as report:
        async for verified in Integrity(bench.store, bench.engine).run(scope):
            if isinstance(verified, LogVerified):
                report.advance(issues=0, updates=verified.deltas, mismatches=verified.mismatches)
            else:
                snapshots += verified.snapshots
                report.advance(issues=1, updates=0, mismatches=verified.mismatches)
    print(
        f"verified {report.updates:,} deltas, {snapshots:,} snapshots and {report.issues:,} issues"
        f" in {report.seconds:.1f} s: {len(report.mismatches):,} mismatches"
    )
    return FAILED if report.mismatches else 0
