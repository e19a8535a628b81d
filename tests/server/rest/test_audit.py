"""`GET …/audit`: read by admins, asked for in the right way."""

from __future__ import annotations

from tests.server.rest.asking import ask
from tests.server.rest.conftest import Api


async def test_what_an_admin_did_and_who_may_not_is_read_by_admins(api: Api) -> None:
    assert (await api("PUT", "/members/ben", {"role": "viewer"}, token="admin"))[0] == 200
    assert (await api("PUT", "/members/ben", {"role": "owner"}, token="admin"))[0] == 403
    assert (await api("GET", "/audit", token="viewer"))[0] == 403
    await api.audit.write()
    status, body, _ = await api("GET", "/audit?limit=2", token="admin")
    assert status == 200
    refused = [(entry["action"], entry["user_id"], entry["is_refused"]) for entry in body["entries"]]
    assert refused == [("readAudit", "eve", True), ("putMember", "root", True)]
    status, body, _ = await api("GET", f"/audit?before={body['next']}", token="admin")
    (entry,) = body["entries"]
    assert (entry["action"], entry["detail"]) == ("putMember", {"role": "viewer", "user": "ben"})
    assert body["next"] is None


async def test_nothing_is_read_that_is_asked_for_in_a_wrong_way(api: Api) -> None:
    for query in ("before=0", f"before={2**63}", "since=yesterday", "refused=maybe", "user=%00", "limit=1001"):
        assert (await ask(api.app, "GET", f"/v1/workspaces/main/audit?{query}", token="admin"))[0] == 422, query
