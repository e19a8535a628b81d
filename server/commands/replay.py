"""`syncline replay`: rebuild every issue from what is stored and compare, or show issues as they once were."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Any
from uuid import UUID

import typer

from server.commands.reporting import Report
from server.commands.workbench import (
    FAILED,
    DatabaseUrl,
    DataDir,
    IssueId,
    Workbench,
    WorkspaceSlug,
    run,
    scope_of,
    workbench,
)
from server.moments import parse_moment
from storage.errors import StoreError, Trimmed
from storage.history import History
from storage.replay import Replay, Scope, count_issues, issues_in
from storage.store import ProjectedIssue, Workspace


def _checked(text: str | None) -> str | None:
    """Typer's check of --until, before anything is opened."""
    try:
        if text is not None:
            parse_moment(text)
    except ValueError:
        raise typer.BadParameter("give a seq (a number) or a time (ISO 8601)") from None
    return text


def command(
    workspace: WorkspaceSlug = None,
    issue: IssueId = None,
    from_log: Annotated[bool, typer.Option("--from-log", help="from as far back as the log reaches")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="write rows that differ anew")] = False,
    until: Annotated[
        str | None,
        typer.Option(callback=_checked, help="write the state at SEQ or TIME as JSON"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="where to write that JSON; default: stdout")] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Rebuild every issue from snapshot and log, and compare it with what is stored. Exits 1 on any mismatch."""
    scope = scope_of(workspace, issue)
    if until is not None:
        run(_show(scope, parse_moment(until), output, database_url, data_dir))
    run(_replay(scope, database_url, data_dir, is_from_log=from_log, is_repair=repair))


async def _replay(
    scope: Scope, database_url: str | None, data_dir: Path | None, *, is_from_log: bool, is_repair: bool
) -> int:
    async with workbench(database_url, data_dir) as bench:
        replay = Replay(bench.store, bench.engine)
        repaired = 0
        with Report(bench.console, "replay", await count_issues(bench.store, scope)) as report:
            async for issue in replay.run(scope, from_log=is_from_log, repair=is_repair):
                report.advance(issues=1, updates=issue.updates, mismatches=issue.mismatches)
                repaired += issue.is_repaired
        print(
            f"replayed {report.issues:,} issues from {report.updates:,} updates in {report.seconds:.1f} s"
            f" ({report.rates}): {len(report.mismatches):,} mismatches, {repaired:,} rows repaired"
        )
        return FAILED if report.mismatches else 0


async def _show(
    scope: Scope, until: int | datetime, output: Path | None, database_url: str | None, data_dir: Path | None
) -> int:
    async with workbench(database_url, data_dir) as bench:
        if isinstance(until, int) and scope.workspace is None and len(await bench.store.workspaces()) > 1:
            raise StoreError("a seq counts in one workspace: name it with --workspace")
        if output is None:
            return await _write_states(bench, scope, until, sys.stdout)
        with output.open("w", encoding="utf-8") as file:
            return await _write_states(bench, scope, until, file)


async def _write_states(bench: Workbench, scope: Scope, until: int | datetime, file: IO[str]) -> int:
    """A JSON array, an issue a line, written as it is read: a workspace need not fit into memory."""
    history = History(bench.store, bench.engine)
    trimmed = 0
    separator = "[\n"
    async for workspace, issue_id in issues_in(bench.store, scope):
        try:
            state = await history.as_of(workspace.id, issue_id, until)
        except Trimmed as gone:
            bench.console.print(f"{workspace.slug} issue {issue_id}: {gone}", markup=False, style="red")
            trimmed += 1
            continue
        if state is not None:
            file.write(separator + json.dumps(as_json(workspace, state), ensure_ascii=False))
            separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")
    return FAILED if trimmed else 0


def as_json(workspace: Workspace, issue: ProjectedIssue) -> dict[str, Any]:
    """A row as JSON values; times are ISO 8601."""
    content = {name: _plain(value) for name, value in asdict(issue.content).items()}
    return {
        "workspace": workspace.slug,
        "id": str(issue.issue_id),
        "seq": issue.seq,
        "version": issue.version,
        **content,
    }


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case tuple() | list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value
