"""Comments over `/v1`: written as ordinary edits, read from the rows, by those who may."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.server.rest.conftest import Api

ID = UUID(int=5)
COMMENTS = f"/issues/{ID}/comments"


@pytest.fixture(autouse=True)
async def issue(api: Api) -> None:
    await api("POST", "/issues", {"id": str(ID), "title": "Slow search"})


async def bodies(api: Api, query: str = "") -> list[str]:
    """Of every page, followed to the end."""
    found, cursor = [], ""
    while True:
        status, page, _ = await api.get(f"{COMMENTS}?{query}{cursor}")
        assert status == 200, page
        found += [comment["body"] for comment in page["comments"]]
        if page["cursor"] is None:
            return found
        cursor = f"&cursor={page['cursor']}"


async def test_a_comment_is_added_edited_and_deleted(api: Api) -> None:
    status, told, headers = await api("POST", COMMENTS, {"body": "On Safari"})
    assert (status, told["seq"]) == (201, await api.head())
    address = headers["location"]
    assert (await api("PATCH", address, {"body": "On Safari too"}))[0] == 200
    await api.project()
    [shown] = (await api.get(COMMENTS))[1]["comments"]
    assert (shown["id"], shown["author"], shown["body"]) == (told["id"], "ana", "On Safari too")
    assert shown["edited_at"] is not None
    assert (await api("DELETE", address))[0] == 200
    await api.project()
    assert await bodies(api) == []
    assert len(await bodies(api, "deleted=true")) == 1


async def test_adding_one_again_changes_nothing(api: Api) -> None:
    await api("POST", COMMENTS, {"id": "c/1 ü", "body": "yes"})
    head = await api.head()
    status, _, headers = await api("POST", COMMENTS, {"id": "c/1 ü", "body": "yes"})
    assert (status, await api.head()) == (200, head)
    assert headers["location"].endswith("/comments/c/1%20%C3%BC")
    status, problem, _ = await api("POST", COMMENTS, {"id": "c/1 ü", "body": "no"})
    assert (status, problem["type"]) == (409, "urn:syncline:problem:exists")


async def test_pages_follow_each_other_and_a_read_waits_for_what_was_written(api: Api) -> None:
    for number in range(5):
        _, told, _ = await api("POST", COMMENTS, {"id": f"c{number}", "body": str(number)})
    status, problem, _ = await api.get(f"{COMMENTS}?min_seq={told['seq']}")
    assert (status, problem["type"]) == (503, "urn:syncline:problem:not-projected-yet")
    await api.project()
    assert await bodies(api, f"limit=2&min_seq={told['seq']}") == list("01234")


async def test_comments_without_a_time_come_last_and_are_paged_too(api: Api) -> None:
    await api("POST", COMMENTS, {"body": "0"})
    await api.project()
    for name in "abc":
        await api.connection.execute(
            "INSERT INTO comments (workspace_id, issue_id, id, body) VALUES ($1, $2, $3, $3)", api.workspace, ID, name
        )
    assert await bodies(api, "limit=1") == ["0", "a", "b", "c"]


async def test_a_commenter_changes_their_own_and_no_others(api: Api) -> None:
    _, _, theirs = await api("POST", COMMENTS, {"body": "by ana"})
    status, _, own = await api("POST", COMMENTS, {"body": "by eve"}, token="commenter")
    assert status == 201
    assert (await api("PATCH", own["location"], {"body": "by Eve"}, token="commenter"))[0] == 200
    for method, body in [("PATCH", {"body": "forged"}), ("DELETE", None)]:
        status, problem, _ = await api(method, theirs["location"], body, token="commenter")
        assert (status, problem["type"]) == (403, "urn:syncline:problem:forbidden")
    assert sorted(comment.body for comment in (await api.content(ID)).comments) == ["by Eve", "by ana"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "slug"),
    [
        ("GET", f"/issues/{UUID(int=77)}/comments", None, 404, "unknown-issue"),
        ("POST", f"/issues/{UUID(int=77)}/comments", {"body": "b"}, 404, "unknown-issue"),
        ("PATCH", COMMENTS + "/none", {"body": "b"}, 404, "unknown-comment"),
        ("DELETE", COMMENTS + "/none", None, 404, "unknown-comment"),
        ("DELETE", COMMENTS + "/" + "c" * 201, None, 404, "unknown-comment"),
        ("GET", COMMENTS + "?cursor=x", None, 422, "invalid"),
        ("POST", COMMENTS, {"body": ""}, 422, "invalid"),
        ("POST", COMMENTS, {"body": "b", "author": "ben"}, 422, "invalid"),
    ],
)
async def test_what_cannot_be_done_is_told(api: Api, method: str, path: str, body: Any, status: int, slug: str) -> None:
    got, problem, _ = await api(method, path, body)
    assert (got, problem["type"]) == (status, f"urn:syncline:problem:{slug}")
