"""`syncline export`, run as a person runs it, with no server beside it to project what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from typer.testing import Result

from storage.errors import UnknownWorkspace
from storage.postgres import PostgresStore
from tests.server.test_commands import Desk
from tests.storage.authors import Author, typed

ISSUE = UUID(int=1)


@pytest.fixture
def desk(dsn: str) -> Desk:
    """A store with one issue, not projected yet."""
    desk = Desk(dsn)

    async def fill(store: PostgresStore) -> None:
        workspace = await store.create_workspace("main", "Main")
        await typed(store, Author(workspace.id, ISSUE), "Crash")

    desk.do(fill)
    return desk


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("written_as", ["sql", "json", "ndjson", "csv", "markdown"])
def test_an_export_is_the_same_bytes_when_nothing_changed(desk: Desk, tmp_path: Path, written_as: str) -> None:
    file = tmp_path / "export"
    first = desk("export", "--format", written_as)
    second = desk("export", "--format", written_as, "--workspace", "main", "--output", str(file))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert "Crash" in first.stdout
    assert first.stdout_bytes == file.read_bytes()
    assert first.stderr == second.stdout == ""
    assert list(tmp_path.iterdir()) == [file]


def test_what_was_written_before_is_in_it(desk: Desk) -> None:
    whole = json.loads(desk("export", "--format", "json", "--with-state").stdout)
    assert (whole["seq"], whole["issues"][0]["id"], whole["issues"][0]["version"]) == (5, str(ISSUE), 5)


def test_quarantined_issues_are_told(desk: Desk) -> None:
    desk.do(lambda store: store.quarantine(1, ISSUE, "deadline"))
    result: Result = desk("export", "--format", "json")
    assert result.exit_code == 1
    assert "1 quarantined issues" in result.stderr


def test_an_export_that_fails_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "export"
    result = desk("export", "--format", "sql", "--workspace", "nowhere", "--output", str(file))
    assert isinstance(result.exception, UnknownWorkspace)
    assert list(tmp_path.iterdir()) == []
