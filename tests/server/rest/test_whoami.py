"""Who somebody is before a workspace is named, and whom issues may be assigned to."""

from __future__ import annotations

from tests.server.rest.conftest import Api


async def test_a_token_tells_whom_it_names_and_where_it_counts(api: Api) -> None:
    status, you, _ = await api.get("/v1/me", token="other")
    assert (status, you["user_id"], you["workspaces"]) == (200, "ana", [{"workspace": "other", "role": "member"}])
    assert (await api.get("/v1/workspaces", token="other"))[1] == {"workspaces": you["workspaces"]}
    status, problem, headers = await api.get("/v1/me", token="nobody")
    assert (status, problem["type"]) == (401, "urn:syncline:problem:unauthorized")
    assert headers["www-authenticate"] == "Bearer"


async def test_users_are_who_belongs_here_without_what_is_theirs_alone(api: Api) -> None:
    for user, role in ("ana", "member"), ("ben", "viewer"), ("cid", "member"):
        put = await api("PUT", f"/members/{user}", {"role": role, "email": f"{user}@x.example"}, token="admin")
        assert put[0] == 200
    assert (await api("DELETE", "/members/cid", token="admin"))[0] == 204
    _, page, _ = await api.get("/users?limit=2", token="viewer")
    assert page == {
        "users": [{"id": "ana", "name": None, "role": "member"}, {"id": "ben", "name": None, "role": "viewer"}],
        "next": "ben",
    }
    assert (await api.get("/users?after=ben", token="viewer"))[1] == {"users": [], "next": None}
