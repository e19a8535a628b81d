"""Where a token leads, and whom it names, over `/v1`."""

from __future__ import annotations

from tests.server.rest.conftest import WORKSPACE, Api


async def test_the_workspace_says_how_far_it_is(api: Api) -> None:
    await api("POST", "/issues", {"title": "t"})
    status, told, _ = await api.get(WORKSPACE)
    assert (status, told["slug"], told["name"], told["head"], told["floor"]) == (200, "main", "Main", 1, 0)
    assert told["epoch"] == str(api.home.workspace.epoch)
    assert (await api.get(WORKSPACE, token="other"))[0] == 403


async def test_everybody_hears_who_they_are_and_what_they_may(api: Api) -> None:
    nothing = {"acting_for": None, "device_id": None, "expires_at": None}
    assert (await api.get("/me"))[1] == {"user_id": "ana", "role": "member", **nothing}
    assert (await api.get("/me", token="viewer"))[1] == {"user_id": "eve", "role": "viewer", **nothing}
