"""Many issues in one request: committed together, each with a result of its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.server.rest.conftest import Api

ONE, OTHER = UUID(int=5), UUID(int=6)


async def transactions(api: Api) -> int:
    """In how many the log was written."""
    found: int = await api.connection.fetchval("SELECT count(DISTINCT xmin::text) FROM deltas")
    return found


async def test_many_are_created_together(api: Api) -> None:
    wanted = [{"id": str(UUID(int=100 + n)), "title": f"t{n}"} for n in range(200)]
    status, told, _ = await api("POST", "/issues/bulk", {"issues": wanted})
    assert status == 200
    assert [(each["status"], each["id"]) for each in told["results"]] == [(201, item["id"]) for item in wanted]
    assert sorted(each["seq"] for each in told["results"]) == list(range(1, 201))
    assert await transactions(api) == 1
    _, again, _ = await api("POST", "/issues/bulk", {"issues": wanted})
    assert {each["status"] for each in again["results"]} == {200}
    assert await api.head() == 200


async def test_changes_of_one_issue_are_made_in_their_order_and_one_that_fails_fails_alone(api: Api) -> None:
    for issue in (ONE, OTHER):
        await api("POST", "/issues", {"id": str(issue), "title": "t", "status": "open"})
    head = await api.head()
    wanted: list[dict[str, Any]] = [
        {"id": str(ONE), "status": "done"},
        {"id": str(UUID(int=77)), "status": "done"},
        {"id": str(OTHER), "add_labels": ["bug"]},
        {"id": str(ONE), "status": "closed", "title": "u"},
    ]
    status, told, _ = await api("PATCH", "/issues/bulk", {"issues": wanted})
    assert (status, [each["status"] for each in told["results"]]) == (200, [200, 404, 200, 200])
    missing = told["results"][1]
    assert (missing["problem"]["type"], missing["problem"]["status"]) == ("urn:syncline:problem:unknown-issue", 404)
    assert "seq" not in missing
    now = await api.content(ONE)
    assert (now.status, now.title, (await api.content(OTHER)).labels) == ("closed", "u", ("bug",))
    assert await api.head() == head + 2  # one delta an issue


@pytest.mark.parametrize(
    ("method", "items", "field"),
    [
        ("POST", [], "issues"),
        ("POST", [{"title": "t"}] * 1001, "issues"),
        ("POST", [{"title": "t"}, {"title": ""}], "issues.1.title"),
        ("PATCH", [{"status": "done"}], "issues.0.id"),
    ],
)
async def test_nothing_is_written_where_an_item_is_invalid(api: Api, method: str, items: Any, field: str) -> None:
    status, problem, _ = await api(method, "/issues/bulk", {"issues": items})
    assert (status, problem["type"]) == (422, "urn:syncline:problem:invalid")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await api.head() == 0
