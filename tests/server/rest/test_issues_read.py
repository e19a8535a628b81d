"""Reading issues over `/v1`, on a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import pytest
from starlette.applications import Starlette

from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.frame import Frame
from server.doors.rest.routes import routes_of
from server.metrics import Metrics
from server.records import Records, RecordServices
from storage.database import DatabaseLimits, open_database
from storage.issue_reader import IssueReader
from storage.postgres import PostgresStore
from storage.tables.issue_queries import IssueQuery, Keyset, statement
from tests.server.house import house
from tests.server.rest.asking import NO_TRANSFER, ask, verify
from tests.simulation.time import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ISSUES = "/v1/workspaces/main/issues"


async def ready() -> None: ...


@dataclass(frozen=True)
class Api:
    app: Starlette
    connection: asyncpg.Connection[asyncpg.Record]
    workspace: int

    async def get(self, address: str, token: str | None = "main", **headers: Any) -> tuple[int, Any, dict[str, str]]:
        return await ask(self.app, "GET", address, token=token, **headers)

    async def add(self, number: int, minutes: int | None = 0, **columns: object) -> None:
        moment = None if minutes is None else NOW + timedelta(minutes=minutes)
        given: dict[str, object] = {"title": f"t{number}", "description": "", "updated_at": moment, **columns}
        places = ", ".join(f"${n}" for n in range(3, 3 + len(given)))
        await self.connection.execute(
            f"INSERT INTO issues (workspace_id, id, seq, version, {', '.join(given)}) VALUES ($1, $2, 1, 7, {places})",
            self.workspace,
            UUID(int=number),
            *given.values(),
        )

    async def titles(self, query: str = "") -> list[str]:
        """Every page, followed to the end."""
        found, cursor = [], ""
        while True:
            status, page, _ = await self.get(f"{ISSUES}?{query}{cursor}")
            assert status == 200, page
            found += [issue["title"] for issue in page["issues"]]
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"


@pytest.fixture
async def api(store: PostgresStore, dsn: str) -> AsyncIterator[Api]:
    workspace = await store.create_workspace("main", "Main")
    await store.create_workspace("other", "Other")
    database = await open_database(dsn, DatabaseLimits(connections_max=2))
    connection = await asyncpg.connect(dsn)
    async with house(store=store) as home:
        records = Records(RecordServices(home.hub, home.engine, VirtualClock()))
        served = operations_of(ApiServices(IssueReader(database), records, NO_TRANSFER, min_seq_seconds=0.1))
        yield Api(http_app(Metrics(), ready, routes_of(Frame(store, verify), served)), connection, workspace.id)
    await connection.close()
    await database.close()


@pytest.mark.parametrize("sort", ["id", "-updated_at"])
async def test_pages_hold_every_issue_once_whatever_their_times_are(api: Api, sort: str) -> None:
    for number in range(1, 12):
        await api.add(number, None if number % 4 == 0 else number // 3)
    for limit in (1, 3, 200):
        found = await api.titles(f"sort={sort}&limit={limit}")
        assert sorted(found) == sorted(f"t{number}" for number in range(1, 12))
    assert found == await api.titles(f"sort={sort}&limit=2")


async def test_an_issue_written_between_two_pages_is_not_skipped_and_moves_nobody(api: Api) -> None:
    for number in range(1, 5):
        await api.add(number, number)
    _, first, _ = await api.get(f"{ISSUES}?limit=2")
    await api.add(9, 99)
    _, second, _ = await api.get(f"{ISSUES}?limit=2&cursor={first['cursor']}")
    assert [issue["title"] for page in (first, second) for issue in page["issues"]] == ["t4", "t3", "t2", "t1"]


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("status=done", {"status": "done"}),
        ("priority=high", {"priority": "high"}),
        ("user_id=ana", {"user_id": "ana"}),
        ("session_id=s", {"session_id": "s"}),
        ("claude_task_id=c", {"claude_task_id": "c"}),
        ("label=bug", {"labels": ["a", "bug"]}),
        (f"updated_since={quote((NOW + timedelta(minutes=1)).isoformat())}", {"updated_at": NOW + timedelta(hours=1)}),
        ("deleted=true", {"deleted_at": NOW}),
    ],
)
async def test_a_filter_finds_what_fits_and_nothing_else(api: Api, query: str, columns: dict[str, Any]) -> None:
    await api.add(1)
    await api.add(2, **columns)
    assert await api.titles(query) == ["t2"]


async def test_deleted_issues_are_listed_only_when_asked_for(api: Api) -> None:
    await api.add(1)
    await api.add(2, deleted_at=NOW)
    assert await api.titles() == ["t1"]


async def test_one_issue_is_served_with_its_version_and_not_again_to_who_has_it(api: Api) -> None:
    await api.add(1)
    status, issue, headers = await api.get(f"{ISSUES}/{UUID(int=1)}")
    assert (status, issue["title"], issue["version"], headers["etag"]) == (200, "t1", 7, '"7"')
    assert headers["x-request-id"]
    for tag, expected in [('"7"', 304), ('"6", W/"7"', 304), ("*", 304), ('"6"', 200)]:
        assert (await api.get(f"{ISSUES}/{UUID(int=1)}", if_none_match=tag))[0] == expected


async def test_only_the_fields_asked_for_are_sent(api: Api) -> None:
    await api.add(1)
    assert (await api.get(f"{ISSUES}?fields=title,version"))[1]["issues"] == [{"title": "t1", "version": 7}]


async def test_a_read_waits_for_the_projection_and_says_when_it_is_not_there(api: Api) -> None:
    await api.connection.execute("UPDATE cursors SET seq = 5 WHERE workspace_id = $1", api.workspace)
    assert (await api.get(f"{ISSUES}?min_seq=5"))[0] == 200
    status, problem, headers = await api.get(f"{ISSUES}?min_seq=6")
    assert (status, problem["type"], headers["retry-after"]) == (503, "urn:syncline:problem:not-projected-yet", "1")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("sort=title", "sort"),
        ("status=%00", "status"),
        ("fields=title,secret", "fields"),
        ("cursor=nonsense", "cursor"),
        ("cursor=%F0%9F%98%80", "cursor"),
        ("updated_since=0001-01-01T00:00:00%2B14:00", "updated_since"),
        ("colour=red", "colour"),
    ],
)
async def test_what_is_wrong_with_a_query_is_told_by_field(api: Api, query: str, field: str) -> None:
    status, problem, headers = await api.get(f"{ISSUES}?{query}")
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    await api.add(1)
    await api.add(2)
    _, page, _ = await api.get(f"{ISSUES}?sort=id&limit=1")
    assert (await api.get(f"{ISSUES}?cursor={page['cursor']}"))[0] == 422


@pytest.mark.parametrize(
    ("address", "token", "status", "slug"),
    [
        (ISSUES, None, 401, "unauthorized"),
        (ISSUES, "away", 503, "unavailable"),
        (ISSUES, "other", 403, "forbidden"),
        ("/v1/workspaces/ghosts/issues", "ghosts", 404, "unknown-workspace"),
        (f"{ISSUES}/{UUID(int=1)}", "main", 404, "unknown-issue"),
        (f"{ISSUES}/nonsense", "main", 404, "unknown-issue"),
    ],
)
async def test_refusals_have_stable_types(api: Api, address: str, token: str | None, status: int, slug: str) -> None:
    got, problem, _ = await api.get(address, token)
    assert (got, problem["type"]) == (status, f"urn:syncline:problem:{slug}")


async def test_issues_of_another_workspace_are_not_seen(api: Api) -> None:
    await api.add(1)
    assert (await api.get("/v1/workspaces/other/issues", "other"))[1]["issues"] == []
    assert (await api.get(f"/v1/workspaces/other/issues/{UUID(int=1)}", "other"))[0] == 404


async def test_a_token_may_come_in_the_query(api: Api) -> None:
    assert (await api.get(f"{ISSUES}?token=main", None))[0] == 200


async def test_a_page_stays_on_an_index(api: Api) -> None:
    await api.connection.execute(
        """INSERT INTO issues (workspace_id, id, seq, version, title, description, status, user_id, updated_at)
        SELECT $1, gen_random_uuid(), n, 1, 't', '', 'status ' || n % 5, 'user ' || n % 500,
            now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n""",
        api.workspace,
    )
    await api.connection.execute("ANALYZE issues; SET plan_cache_mode = force_generic_plan")
    queries = [
        IssueQuery(),
        IssueQuery(after=Keyset(UUID(int=5), NOW)),
        IssueQuery(status="status 1"),
        IssueQuery(user_id="user 1"),
        IssueQuery(sort="id", after=Keyset(UUID(int=5))),
    ]
    for query in queries:
        sql, arguments = statement(api.workspace, query)
        plan = "\n".join(row[0] for row in await api.connection.fetch(f"EXPLAIN {sql}", *arguments))
        assert "Seq Scan" not in plan, plan
