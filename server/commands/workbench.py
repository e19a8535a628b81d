"""What every command here needs: the options that name a store, the open store, engines, a console, an exit code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer
from rich.console import Console

from server import bounds, config, logs
from server.config import Settings
from server.engine import EnginePool
from server.opening import open_store
from storage.audit_log import AuditLog
from storage.engine import EngineError
from storage.errors import UnknownWorkspace
from storage.import_ledger import ImportLedger
from storage.issue_reader import IssueReader
from storage.postgres import PostgresStore
from storage.replay import Scope
from storage.store import Store, Workspace

FAILED = 1  # it found mismatches, or could not do all it was asked to

DatabaseUrl = Annotated[str | None, typer.Option(help="a Postgres to use instead of the embedded one")]
DataDir = Annotated[Path | None, typer.Option(help="where the embedded Postgres lives")]
WorkspaceSlug = Annotated[str | None, typer.Option("--workspace", help="only this workspace")]
IssueId = Annotated[UUID | None, typer.Option("--issue", help="only this issue")]


@dataclass(frozen=True, slots=True)
class Workbench:
    """An open store and engines to work on it. `console` is for people, on stderr; results go to stdout."""

    settings: Settings
    store: PostgresStore
    issues: IssueReader
    imports: ImportLedger
    audit_log: AuditLog
    dsn: str
    engine: EnginePool
    console: Console

    async def workspace(self, slug: str) -> Workspace:
        """Raises `UnknownWorkspace`."""
        return await workspace_of(self.store, slug)


def settings_of(database_url: str | None, data_dir: Path | None, **flags: str | None) -> Settings:
    """Of what the options and the environment name. Raises `BadSettings`."""
    named = {"database_url": database_url, "data_dir": None if data_dir is None else str(data_dir)}
    settings = config.load(named | flags, os.environ)
    logs.configure(settings.log_level, settings.log_format)  # to stderr: stdout is for results
    return settings


async def workspace_of(store: Store, slug: str) -> Workspace:
    """The workspace of that name. Raises `UnknownWorkspace`."""
    found = await store.workspace(slug)
    if found is None:
        raise UnknownWorkspace(f"there is no workspace {slug}; `syncline workspace list` shows those there are")
    return found


@asynccontextmanager
async def workbench(database_url: str | None, data_dir: Path | None) -> AsyncIterator[Workbench]:
    """Open what the options and the environment name. Raises `BadSettings` and `StoreError`."""
    settings = settings_of(database_url, data_dir)
    async with open_store(settings) as opened:
        engine = EnginePool(bounds.of_engine(settings))
        try:
            yield Workbench(
                settings,
                opened.store,
                opened.issues,
                opened.imports,
                opened.audit_log,
                opened.dsn,
                engine,
                Console(stderr=True),
            )
        finally:
            await engine.close()


def run(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command to its exit code. `BadSettings` and `StoreError` are the program's to tell."""
    try:
        code = asyncio.run(work)
    except EngineError as error:
        Console(stderr=True).print(str(error), markup=False, style="red")
        code = FAILED
    raise typer.Exit(code)


def over_issues(work: Callable[[Workbench, Scope], Coroutine[Any, Any, int]]) -> Callable[..., None]:
    """Make a command of what goes through the issues of a store; `work` returns the exit code."""

    def command(
        workspace: WorkspaceSlug = None,
        issue: IssueId = None,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
    ) -> None:
        async def done() -> int:
            async with workbench(database_url, data_dir) as bench:
                return await work(bench, scope_of(workspace, issue))

        run(done())

    command.__doc__ = work.__doc__
    return command


def scope_of(workspace: str | None, issue: UUID | None) -> Scope:
    """The options as a scope."""
    return Scope(workspace, issue)
