"""Writing issues over `/v1`: ordinary edits of their documents, on a real Postgres."""

from __future__ import annotations

from uuid import UUID

import pytest

from server.doors.rest.operations import MAX_BODY_BYTES
from tests.server.house import Peer
from tests.server.rest.conftest import ISSUES, Api
from tests.simulation.time import VirtualClock
from tests.storage.compacting import project

ID = UUID(int=5)


async def created(api: Api, **fields: object) -> None:
    assert (await api("POST", "/issues", {"id": str(ID), "title": "Slow search", **fields}))[0] == 201


async def test_an_issue_is_created_with_an_address_and_a_seq(api: Api) -> None:
    status, told, headers = await api(
        "POST", "/issues", {"title": "Slow search", "priority": "high", "labels": ["bug"]}
    )
    assert (status, told["seq"]) == (201, await api.head())
    assert headers["location"] == f"{ISSUES}/{told['id']}"


async def test_creating_it_again_changes_nothing(api: Api) -> None:
    await created(api)
    head = await api.head()
    status, _, _ = await api("POST", "/issues", {"id": str(ID), "title": "Slow search"})
    assert (status, await api.head()) == (200, head)
    status, problem, _ = await api("POST", "/issues", {"id": str(ID), "title": "Another one"})
    assert (status, problem["type"]) == (409, "urn:syncline:problem:exists")


async def test_a_patch_changes_what_it_names_and_nothing_else(api: Api) -> None:
    await created(api, status="open", user_id="ben", labels=["bug", "slow"])
    status, told, _ = await api(
        "PATCH", f"/issues/{ID}", {"status": "done", "user_id": None, "add_labels": ["ui"], "remove_labels": ["slow"]}
    )
    now = await api.content(ID)
    assert (status, told["id"]) == (200, str(ID))
    assert (now.title, now.status, now.user_id, now.labels) == ("Slow search", "done", None, ("bug", "ui"))


async def test_who_has_it_open_sees_the_patch(api: Api) -> None:
    await created(api)
    peer = Peer("ben")
    await api.home.join(peer, ID)
    await api("PATCH", f"/issues/{ID}", {"title": "Slow search, always"})
    assert peer.shows() == "Slow search, always"


async def test_a_deletion_is_kept_and_can_be_taken_back(api: Api) -> None:
    await created(api)
    assert (await api("DELETE", f"/issues/{ID}"))[0] == 200
    assert (await api.content(ID)).deleted_at is not None
    assert (await api("POST", f"/issues/{ID}/restore"))[0] == 200
    assert (await api.content(ID)).deleted_at is None


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "slug"),
    [
        ("PATCH", f"/{UUID(int=77)}", {"status": "done"}, 404, "unknown-issue"),
        ("PATCH", "/x", {"status": "done"}, 404, "unknown-issue"),
        ("POST", "", {"title": ""}, 422, "invalid"),
        ("POST", "", {"title": "t", "owner": "eve"}, 422, "invalid"),
        ("POST", "", b"{", 422, "invalid"),
        ("POST", "", {"title": "\ud800"}, 422, "invalid"),
        ("POST", "", b" " * (MAX_BODY_BYTES + 1), 413, "too-large"),
    ],
)
async def test_what_cannot_be_written_is_told(
    api: Api, method: str, path: str, body: object, status: int, slug: str
) -> None:
    got, problem, headers = await api(method, "/issues" + path, body)
    assert (got, problem["type"]) == (status, f"urn:syncline:problem:{slug}")
    assert headers["content-type"] == "application/problem+json"
    assert await api.head() == 0


async def test_a_viewer_writes_nothing(api: Api) -> None:
    status, problem, _ = await api("POST", "/issues", {"title": "t"}, token="viewer")
    assert (status, problem["type"]) == (403, "urn:syncline:problem:forbidden")


async def test_the_device_that_wrote_is_in_the_log(api: Api) -> None:
    await api("POST", "/issues", {"id": str(ID), "title": "t"}, x_device_id="script")
    [delta] = (await api.home.store.load(api.home.workspace.id, ID)).tail
    assert (delta.actor_id, delta.device_id) == ("ana", "script")
    assert (await api("POST", "/issues", {"title": "t"}, x_device_id="d" * 201))[0] == 422


async def test_an_issue_that_was_purged_is_gone_for_readers_and_writers(api: Api) -> None:
    await api("POST", "/issues", {"id": str(ID), "title": "secret"})
    await api("DELETE", f"/issues/{ID}")
    await project(api.home.store)
    workspace = api.home.workspace.id
    await api.home.store.purge(workspace, ID, by="system", at=VirtualClock().now())
    await api.home.relay.catch_up(workspace)
    for method, body in [("GET", None), ("PATCH", {"status": "done"}), ("DELETE", None)]:
        status, problem, _ = await api(method, f"/issues/{ID}", body)
        assert (status, problem["type"]) == (410, "urn:syncline:problem:purged")
    assert (await api("POST", "/issues", {"id": str(ID), "title": "again"}))[0] == 410
