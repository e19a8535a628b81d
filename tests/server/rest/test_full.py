"""Full issues and workspaces, for those who write records."""

from __future__ import annotations

from uuid import UUID

import pytest

from crdt.records import Capacity, Limits
from server.limits import HubLimits, RoomLimits
from tests.server.rest.conftest import Api
from tests.server.rest.test_sync import insert, operation, sync

FIRST, SECOND, THIRD = (UUID(int=number) for number in (1, 2, 3))


@pytest.fixture
def hub_limits() -> HubLimits:
    """Two issues, each with two comments and a few hundred bytes."""
    capacity = Capacity(max_bytes=3_000, max_comments=2)
    return HubLimits(max_workspace_issues=2, room=RoomLimits(update=Limits(capacity=capacity)))


async def test_a_full_issue_is_a_problem_of_its_own_and_can_be_deleted(api: Api) -> None:
    status, _, _ = await api("POST", "/issues", {"id": str(FIRST), "title": "one"})
    assert status == 201
    address = f"/issues/{FIRST}"
    status, problem, _ = await api("PATCH", address, {"description": "x" * 4_000})
    assert (status, problem["type"].rsplit("/", 1)[-1].rsplit("#", 1)[-1].endswith("full")) == (409, True)
    assert "3000" in problem["detail"]
    assert (await api("PATCH", address, {"status": "done"}))[0] == 200
    assert (await api("DELETE", address))[0] == 200


async def test_comments_beyond_the_bound_are_refused(api: Api) -> None:
    await api("POST", "/issues", {"id": str(FIRST), "title": "one"})
    wrote = [(await api("POST", f"/issues/{FIRST}/comments", {"body": "hello"}))[0] for _ in range(3)]
    assert wrote == [201, 201, 409]


async def test_issues_beyond_the_bound_are_refused_in_bulk_and_from_a_queue_too(api: Api) -> None:
    for issue in (FIRST, SECOND):
        assert (await api("POST", "/issues", {"id": str(issue), "title": "one"}))[0] == 201
    status, problem, _ = await api("POST", "/issues", {"id": str(THIRD), "title": "one too many"})
    assert (status, "as many issues" in problem["detail"]) == (409, True)
    results = await sync(
        api,
        insert(1, THIRD),
        operation(2, "update", {"status": "done"}, issue=FIRST),
    )
    assert [result["status"] for result in results] == ["rejected", "applied"]
    assert "as many issues" in results[0]["reason"]
