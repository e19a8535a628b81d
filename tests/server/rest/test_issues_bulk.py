"""Many issues in one request: committed together, each with a result of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from crdt.shape import Changes
from server.permissions import Identity, Role
from server.records import Records, RecordServices
from storage.store import NewDelta
from tests.server.house import house
from tests.server.rest.conftest import Api
from tests.simulation.time import VirtualClock

BEN = Identity("ben", "main", Role.MEMBER)
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


async def test_an_item_at_another_version_is_left_out_and_the_others_are_made(api: Api) -> None:
    for issue in (ONE, OTHER):
        await api("POST", "/issues", {"id": str(issue), "title": "t", "status": "open"})
    await api("PATCH", f"/issues/{ONE}", {"title": "u"})
    head = await api.head()
    wanted: list[dict[str, Any]] = [
        {"id": str(ONE), "status": "late", "if_version": 1},
        {"id": str(ONE), "priority": "high", "if_version": 2},
        {"id": str(ONE), "add_labels": ["bug"]},
        {"id": str(OTHER), "status": "late", "if_version": 7},
        {"id": str(UUID(int=77)), "status": "late", "if_version": 0},
    ]
    _, told, _ = await api("PATCH", "/issues/bulk", {"issues": wanted})
    late, made, beside, other = told["results"][:4]
    assert [each["status"] for each in told["results"]] == [412, 200, 200, 412, 404]
    assert (late["problem"]["type"], late["problem"]["detail"]) == (
        "urn:syncline:problem:precondition-failed",
        "the issue is at version 3",
    )
    assert (made["version"], beside["version"]) == (3, 3)
    assert "seq" not in other
    now = await api.content(ONE)
    assert (now.status, now.priority, now.labels, (await api.content(OTHER)).status) == (
        "open",
        "high",
        ("bug",),
        "open",
    )
    assert await api.head() == head + 1
    _, again, _ = await api("PATCH", "/issues/bulk", {"issues": [{"id": str(ONE), "title": "v", "if_version": 3.0}]})
    assert again["results"][0]["version"] == 4


async def test_an_item_that_is_overtaken_in_the_log_is_left_out_of_the_commit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for issue in (ONE, OTHER):
        await api("POST", "/issues", {"id": str(issue), "title": "t", "status": "open"})
    append = api.home.store.append

    async def append_behind(batch: Sequence[NewDelta]) -> list[int]:
        """Somebody is faster, through another node, between the comparison and the commit."""
        monkeypatch.setattr(api.home.store, "append", append)
        async with house(store=api.home.store) as node:
            records = Records(RecordServices(node.hub, node.engine, VirtualClock()))
            await records.change(node.workspace, BEN, ONE, Changes(title="u"))
        return await append(batch)

    monkeypatch.setattr(api.home.store, "append", append_behind)
    wanted = [
        {"id": str(ONE), "status": "late", "if_version": 1},
        {"id": str(ONE), "add_labels": ["bug"]},
        {"id": str(OTHER), "status": "done"},
    ]
    _, told, _ = await api("PATCH", "/issues/bulk", {"issues": wanted})
    assert [each["status"] for each in told["results"]] == [412, 200, 200]
    now = await api.content(ONE)
    assert (now.status, now.title, now.labels, (await api.content(OTHER)).status) == ("open", "u", ("bug",), "done")


async def test_with_a_key_what_was_left_out_is_told_again(api: Api) -> None:
    await api("POST", "/issues", {"id": str(ONE), "title": "t", "status": "open"})
    wanted = [{"id": str(ONE), "status": "late", "if_version": 9}, {"id": str(ONE), "priority": "high"}]
    _, first, _ = await api("PATCH", "/issues/bulk", {"issues": wanted}, idempotency_key="k")
    # As if the server had been killed before it could keep the answer.
    await api.connection.execute("UPDATE keyed_requests SET status = NULL, body = NULL, claimed_until = '2000-01-01'")
    _, again, _ = await api("PATCH", "/issues/bulk", {"issues": wanted}, idempotency_key="k")
    assert [each["status"] for each in first["results"]] == [each["status"] for each in again["results"]] == [412, 200]
    assert await api.head() == 2


@pytest.mark.parametrize(
    ("method", "items", "field"),
    [
        ("POST", [], "issues"),
        ("POST", [{"title": "t"}] * 1001, "issues"),
        ("POST", [{"title": "t"}, {"title": ""}], "issues.1.title"),
        ("PATCH", [{"status": "done"}], "issues.0.id"),
        ("PATCH", [{"id": str(ONE), "if_version": "1"}], "issues.0.if_version"),
        ("PATCH", [{"id": str(ONE), "if_version": -1}], "issues.0.if_version"),
        ("POST", [{"title": "t", "if_version": 1}], "issues.0.if_version"),
    ],
)
async def test_nothing_is_written_where_an_item_is_invalid(api: Api, method: str, items: Any, field: str) -> None:
    status, problem, _ = await api(method, "/issues/bulk", {"issues": items})
    assert (status, problem["type"]) == (422, "urn:syncline:problem:invalid")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await api.head() == 0
