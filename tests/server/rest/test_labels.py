"""Labels over `/v1`: counted, put on an issue and taken off."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.server.rest.conftest import NOW, Api

ID = UUID(int=5)


async def test_a_label_is_put_on_and_taken_off_whatever_it_is_called(api: Api) -> None:
    await api("POST", "/issues", {"id": str(ID), "title": "t", "labels": ["bug"]})
    status, told, _ = await api("PUT", f"/issues/{ID}/labels/area/ui")
    assert (status, told) == (200, {"id": str(ID), "seq": await api.head()})
    assert (await api.content(ID)).labels == ("area/ui", "bug")
    head = await api.head()
    assert (await api("PUT", f"/issues/{ID}/labels/area/ui"))[0] == 200
    assert await api.head() == head  # it has it already
    assert (await api("DELETE", f"/issues/{ID}/labels/bug"))[0] == 200
    assert (await api("DELETE", f"/issues/{ID}/labels/never"))[0] == 200
    assert (await api.content(ID)).labels == ("area/ui",)


async def test_labels_are_counted_over_issues_that_are_not_deleted(api: Api) -> None:
    await api.add(1, labels=["bug", "ui"])
    await api.add(2, labels=["bug"])
    await api.add(3, labels=["bug", "gone"], deleted_at=NOW)
    found, cursor = [], ""
    while True:
        status, page, _ = await api.get(f"/labels?limit=1{cursor}")
        assert status == 200, page
        found += [(each["label"], each["issues"]) for each in page["labels"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == [("bug", 2), ("ui", 1)]
    assert (await api.get("/labels", token="other"))[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("PUT", f"/issues/{ID}/labels/bug", 404, "unknown-issue"),
        ("PUT", f"/issues/{ID}/labels/{'l' * 201}", 422, "invalid"),
        ("PUT", f"/issues/{ID}/labels/", 422, "invalid"),
        ("GET", "/labels?cursor=x", 422, "invalid"),
    ],
)
async def test_what_cannot_be_done_is_told(api: Api, method: str, path: str, status: int, slug: str) -> None:
    got, problem, _ = await api(method, path)
    assert (got, problem["type"]) == (status, f"urn:syncline:problem:{slug}")
