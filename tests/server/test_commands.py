"""The operator's commands, run as a person runs them: output on stdout, a verdict in the exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import structlog
import typer
from typer.testing import CliRunner, Result

from server.commands import register
from server.moments import parse_moment
from storage.database import DatabaseLimits, open_database
from storage.engine import IssueKey
from storage.errors import StoreError
from storage.postgres import PostgresStore
from storage.projector import Projector, ProjectorLimits
from tests.inline_engine import InlineEngine
from tests.storage.authors import START, Author, typed

ISSUE = UUID(int=1)


class Desk:
    """A terminal beside a store. `do` works on the store, calling the object runs a command."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._app = typer.Typer()
        register(self._app)

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(self._app, [*arguments, "--database-url", self.dsn])

    def do(self, work: Callable[[PostgresStore], Awaitable[object]]) -> None:
        async def with_store() -> None:
            store = PostgresStore(await open_database(self.dsn, DatabaseLimits()))
            try:
                await work(store)
            finally:
                await store.close()

        asyncio.run(with_store())

    def execute(self, statement: str) -> None:
        async def alone() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(alone())


@pytest.fixture
def desk(dsn: str) -> Iterator[Desk]:
    """A store with one issue of five deltas, projected."""
    desk = Desk(dsn)

    async def fill(store: PostgresStore) -> None:
        workspace = await store.create_workspace("main", "Main")
        await typed(store, Author(workspace.id, ISSUE), "Crash")
        projector = Projector(store, InlineEngine(), ProjectorLimits(), now=lambda: START)
        while await projector.project_once():
            pass

    desk.do(fill)
    yield desk
    structlog.reset_defaults()


def test_replay_of_a_sound_store_succeeds(desk: Desk) -> None:
    for arguments in (["replay"], ["replay", "--from-log"], ["replay", "--workspace", "main", "--issue", str(ISSUE)]):
        result = desk(*arguments)
        assert result.exit_code == 0, result.output
        assert "replayed 1 issues from 5 updates" in result.stdout
        assert "0 mismatches" in result.stdout


def test_replay_names_what_differs_repairs_it_and_is_content_then(desk: Desk) -> None:
    desk.execute("UPDATE issues SET title = 'secret'")
    result = desk("replay", "--repair")
    assert result.exit_code == 1
    assert f"main issue {ISSUE} seq 5: row: title" in result.stderr
    assert "1 mismatches, 1 rows repaired" in result.stdout
    assert "secret" not in result.output
    assert desk("replay").exit_code == 0


@pytest.mark.parametrize(("until", "title"), [("3", "Cra"), ("2026-01-01T00:00:02Z", "Cr")])
def test_replay_until_writes_the_state_as_it_was(desk: Desk, tmp_path: Path, until: str, title: str) -> None:
    file = tmp_path / "state.json"
    assert desk("replay", "--until", until, "--output", str(file)).exit_code == 0
    (state,) = json.loads(file.read_text())
    assert (state["id"], state["workspace"], state["title"], state["status"]) == (str(ISSUE), "main", title, "pending")
    printed = desk("replay", "--until", until)
    assert json.loads(printed.stdout) == [state]


def test_replay_until_before_everything_is_an_empty_array(desk: Desk) -> None:
    assert json.loads(desk("replay", "--until", "2020-01-01").stdout) == []


def test_a_seq_needs_its_workspace_when_there_are_several(desk: Desk) -> None:
    desk.do(lambda store: store.create_workspace("other", "Other"))
    result = desk("replay", "--until", "3")
    assert isinstance(result.exception, StoreError)
    assert desk("replay", "--until", "3", "--workspace", "main").exit_code == 0


def test_until_is_checked_before_anything_is_opened(desk: Desk) -> None:
    assert desk("replay", "--until", "yesterday").exit_code == 2
    with pytest.raises(ValueError, match="Invalid"):
        parse_moment("٣")


@pytest.mark.parametrize("command", ["replay", "verify", "compact"])
def test_an_unknown_workspace_is_an_error(desk: Desk, command: str) -> None:
    result = desk(command, "--workspace", "nowhere")
    assert isinstance(result.exception, StoreError)


def test_verify_of_a_sound_store_succeeds(desk: Desk) -> None:
    result = desk("verify")
    assert result.exit_code == 0, result.output
    assert "verified 5 deltas, 0 snapshots and 1 issues" in result.stdout


def test_verify_names_the_damage(desk: Desk) -> None:
    desk.execute("DELETE FROM deltas WHERE seq = 3")
    result = desk("verify")
    assert result.exit_code == 1
    assert "main seq 3: log: deltas are missing" in result.stderr
    assert f"main issue {ISSUE}" in result.stderr


def test_compact_folds_everything_and_changes_nothing(desk: Desk) -> None:
    result = desk("compact")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 compacted:")
    assert "verified 5 deltas, 1 snapshots" in desk("verify").stdout
    assert desk("compact").stdout.startswith("1 skipped:")


def test_info_shows_heads_sizes_and_lag(desk: Desk) -> None:
    result = desk("info")
    assert result.exit_code == 0, result.output
    for word in ("main", "pycrdt", "Postgres", "gate", "deltas", "issues"):
        assert word in result.stdout


def test_a_quarantined_issue_is_listed_shown_and_released_when_it_is_well(desk: Desk) -> None:
    assert "no issue is quarantined" in desk("quarantine", "list").stdout
    desk.do(lambda store: store.quarantine(1, ISSUE, "deadline of 5 s"))
    desk.execute("DELETE FROM issues")
    assert "deadline of 5 s" in desk("quarantine", "show", str(ISSUE)).stdout
    assert "main" in desk("quarantine", "list").stdout
    result = desk("quarantine", "release", str(ISSUE))
    assert result.exit_code == 0, result.output
    assert "is released" in result.stdout
    assert desk("replay").exit_code == 0
    assert "is not quarantined" in desk("quarantine", "release", str(ISSUE)).stdout


def test_an_issue_that_is_still_sick_stays_in_quarantine(desk: Desk) -> None:
    async def sicken(store: PostgresStore) -> None:
        await store.append([Author(1, ISSUE).delta(b"\x01\x01")])
        await store.quarantine(1, ISSUE, "first reason")

    desk.do(sicken)
    result = desk("quarantine", "release", str(ISSUE))
    assert result.exit_code == 1
    assert "still not digestible" in result.stderr
    assert str(ISSUE) in desk("quarantine", "list").stdout


def test_an_issue_nobody_knows_cannot_be_shown(desk: Desk) -> None:
    assert isinstance(desk("quarantine", "show", str(UUID(int=9))).exception, StoreError)
    assert isinstance(desk("quarantine", "show", str(ISSUE), "--workspace", "nowhere").exception, StoreError)


def test_keys_name_their_issue() -> None:
    assert str(IssueKey(1, ISSUE)) == f"1/{ISSUE}"
