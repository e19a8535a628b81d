"""`syncline import`, run as a person runs it: what an export holds comes back byte for byte, and goes out again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from crdt.issue import Comment, IssueContent
from crdt.planting import planted
from storage.postgres import PostgresStore
from storage.store import NewDelta
from tests.server.portability.test_formats import NASTY
from tests.server.test_commands import Desk
from tests.storage.rows import NOON

FILE = json.dumps([{"id": "1", "title": "One", "status": "QA"}, {"id": "2", "title": "Two"}, {"title": "no id"}])


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def desk(dsn: str) -> Desk:
    """An empty workspace."""
    desk = Desk(dsn)
    desk.do(lambda store: store.create_workspace("main", "Main"))
    return desk


async def lived_in(store: PostgresStore) -> None:
    """Issues with everything an issue may have, one of them without a word about when it was created."""
    comments = (Comment("c1", NASTY[:50], NOON, NOON, None, NASTY), Comment("c2", None, None, None, NOON, ""))
    moment = NOON + timedelta(microseconds=1)
    full = IssueContent(
        title=NASTY, description=" =1+1", status=" odd ", priority="P1", user_id="ben", session_id="s",
        claude_task_id="'+", labels=("=x", "b "), created_by="eve", created_at=moment, completed_at=NOON,
        deleted_at=moment, comments=comments,
    )  # fmt: skip
    contents = [full, IssueContent(), IssueContent(title="'=", status="done", created_at=NOON)]
    await store.append(
        [
            NewDelta(
                1, UUID(int=number), planted(UUID(int=number), content), "ana", None, NOON + timedelta(hours=number)
            )
            for number, content in enumerate(contents, start=1)
        ]
    )
    async with store._database.session("add a user", 1) as connection:
        await connection.execute(
            "INSERT INTO users (workspace_id, id, name, created_at, updated_at) VALUES (1, 'ben', $1, $2, $2)",
            NASTY,
            NOON,
        )


@pytest.mark.parametrize("written_as", ["json", "ndjson", "csv"])
def test_an_export_into_an_empty_workspace_exports_the_same_bytes(desk: Desk, tmp_path: Path, written_as: str) -> None:
    desk.do(lived_in)
    file, again = tmp_path / "export", tmp_path / "again"
    assert desk("export", "--format", written_as, "--output", str(file)).exit_code == 0
    desk.execute("TRUNCATE workspaces, deltas, documents, issues, comments, users, cursors RESTART IDENTITY CASCADE")
    desk.do(lambda store: store.create_workspace("main", "Main"))
    result = desk("import", str(file))
    assert result.exit_code == 0, result.output
    assert desk("export", "--format", written_as, "--output", str(again)).exit_code == 0
    assert again.read_bytes() == file.read_bytes()
    assert f"{written_as}: 3 unchanged" in desk("import", str(again)).stdout


def test_a_file_is_looked_at_first_then_brought_in_and_taken_out_again(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "issues.json"
    file.write_text(FILE)
    dry = desk("import", str(file), "--dry-run", "--map", "status:QA=in_progress")
    assert dry.exit_code == 1
    assert dry.stdout == "json: 2 created, 1 skipped (dry run)\n"
    assert "issues[2]: it has no id" in dry.stderr
    assert "status 'QA' became in_progress in 1 issues" in dry.stderr
    assert desk("import", "list").stdout == "nothing was imported\n"
    done = desk("import", str(file))
    batch = re.search(r"batch (\S+)", done.stdout)
    assert batch is not None, done.output
    assert "2 created, 1 skipped" in done.stdout
    assert batch[1] in desk("import", "list").stdout
    assert json.loads(desk("import", "list", "--json").stdout)["what"] == "2 created, 1 skipped"
    undone = desk("import", "undo", batch[1])
    assert (undone.exit_code, undone.stdout) == (0, "2 issues and 0 users deleted, 0 issues stay\n")


def test_a_csv_of_somebody_else_has_their_words_and_users_may_be_given_a_role(desk: Desk, tmp_path: Path) -> None:
    file, users = tmp_path / "issues.csv", tmp_path / "users.ndjson"
    file.write_text("title;status\nOne;In Review\nTwo;Limbo\n")
    done = desk("import", str(file))
    assert "status 'In Review' became in_progress in 1 issues" in done.stderr
    assert "status 'Limbo' is not known and stays" in done.stderr
    users.write_text('{"user": {"id": "ben", "name": "Ben"}}\n')
    assert desk("import", str(users), "--role", "viewer").exit_code == 0
    assert '"role": "viewer"' in desk("member", "list", "--json").stdout


def test_a_file_that_cannot_be_read_says_why(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "issues.csv"
    file.write_bytes("title\n\xe9\n".encode("latin-1"))
    result = desk("import", str(file))
    assert result.exit_code == 1
    assert "line 2 is not UTF-8" in result.stderr
