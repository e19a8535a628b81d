"""Reading issues over `/v1`, on a real Postgres."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from tests.server.rest.conftest import ISSUES, NOW, Api


@pytest.mark.parametrize(
    "sort", ["id", "-updated_at", "updated_at", "-priority,-updated_at", "status,-completed_at", "-completed_at,id"]
)
async def test_pages_hold_every_issue_once_whatever_their_times_are(api: Api, sort: str) -> None:
    for number, (status, completed_at, minutes) in enumerate(product("ab", (None, NOW), (None, 0, 1)), start=1):
        await api.add(number, minutes, status=status, completed_at=completed_at, priority=("low", "high")[number % 2])
    whole = await api.titles(f"sort={sort}&limit=200")
    assert sorted(whole) == sorted(f"t{number}" for number in range(1, 13))
    for limit in (1, 2, 5):
        assert await api.titles(f"sort={sort}&limit={limit}") == whole


async def test_priorities_sort_by_what_they_mean(api: Api) -> None:
    for number, priority in enumerate(["medium", "urgent", "whenever", "low", "high"]):
        await api.add(number, number, priority=priority)
    assert await api.titles("sort=-priority,-updated_at") == ["t1", "t4", "t0", "t3", "t2"]


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
        ("label=bug&status=done", {"labels": ["bug"], "status": "done"}),
        ("label=bug&sort=priority&deleted=true", {"labels": ["bug"], "deleted_at": NOW}),
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
        ("sort=id,-id", "sort"),
        ("limit=1&limit=2", "limit"),
        ("q=%00", "q"),
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


async def test_a_cursor_of_another_list_or_a_changed_one_is_refused(api: Api) -> None:
    await api.add(1)
    await api.add(2)
    _, page, _ = await api.get(f"{ISSUES}?sort=id&limit=1")
    cursor = page["cursor"]
    changed = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    for query in (f"cursor={cursor}", f"sort=id&status=open&cursor={cursor}", f"sort=id&cursor={changed}"):
        status, problem, _ = await api.get(f"{ISSUES}?{query}")
        assert (status, [error["field"] for error in problem["errors"]]) == (422, ["cursor"])
    assert (await api.get(f"{ISSUES}?sort=id&limit=2&fields=id&cursor={cursor}"))[0] == 200


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
