"""Conflicts over `/v1`: listed, read, resolved, and who decides, on a real Postgres."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import pytest
from starlette.applications import Starlette

from server.decisions import Decisions
from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.conflicts import ConflictServices
from server.doors.rest.frame import Frame
from server.doors.rest.once import Repeats
from server.doors.rest.routes import routes_of
from server.metrics import Metrics
from server.records import Records, RecordServices
from storage.keyed_requests import KeyedRequests
from storage.postgres import PostgresStore
from tests.server.conflicting import on, setting
from tests.server.house import ISSUE, House, Peer, house, settle
from tests.server.rest.asking import NO_ACCOUNTS, NO_FEEDS, NO_OUTBOX, NO_TRANSFER, ask, everywhere, verify
from tests.simulation.time import VirtualClock
from tests.storage.compacting import project

WORKSPACE = "/v1/workspaces/main"


async def ready() -> None: ...


@dataclass(frozen=True)
class Api:
    app: Starlette
    home: House
    ana: Peer
    bob: Peer

    async def __call__(self, method: str, path: str, body: object = None, **more: Any) -> tuple[int, Any]:
        sent = b"" if body is None else json.dumps(body).encode()
        status, answer, _ = await ask(self.app, method, WORKSPACE + path, body=sent, **more)
        return status, answer

    async def clash(self, key: str = "status") -> None:
        """Ana and Bob set a field at once."""
        for peer, value in ((self.ana, "blocked"), (self.bob, "done")):
            peer.send(setting(peer, value, key))
        while len(self.ana.outcomes) + len(self.bob.outcomes) < 2:
            await settle()
        self.ana.outcomes.clear()
        self.bob.outcomes.clear()

    async def only(self) -> Any:
        """The one conflict there is."""
        _, told = await self("GET", "/conflicts")
        [conflict] = told["conflicts"]
        return conflict


@pytest.fixture
async def api(store: PostgresStore) -> AsyncIterator[Api]:
    async with house(store=store) as home:
        clock, nothing = VirtualClock(), cast(Any, None)
        records = Records(RecordServices(home.hub, home.engine, clock))
        conflicts = ConflictServices(store.ledger, Decisions(store.ledger, records, clock))
        served = operations_of(
            ApiServices(nothing, records, nothing, NO_TRANSFER, conflicts, NO_ACCOUNTS, NO_OUTBOX, everywhere, NO_FEEDS)
        )
        repeats = Repeats(KeyedRequests(store._database), clock)
        ana, bob = on("laptop", "ana", 5), on("phone", "bob", 9)
        for peer in (ana, bob):
            await home.join(peer)
        yield Api(http_app(Metrics(), ready, routes_of(Frame(store, verify, repeats=repeats), served)), home, ana, bob)


async def test_a_conflict_is_listed_and_read_with_both_values(api: Api) -> None:
    await api.clash()
    conflict = await api.only()
    assert (conflict["kind"], conflict["field"], conflict["issue_id"]) == ("update_update", "status", str(ISSUE))
    standing, losing = conflict["standing"], conflict["losing"]
    assert (standing["value"], standing["actor_id"], standing["device_id"]) == ("done", "bob", "phone")
    assert (losing["value"], losing["actor_id"], losing["device_id"]) == ("blocked", "ana", "laptop")
    assert await api("GET", f"/conflicts/{conflict['id']}", token="viewer") == (200, conflict)


async def test_with_a_key_it_is_resolved_once_and_a_purge_forgets_what_was_answered(api: Api) -> None:
    await api.clash()
    path = f"/conflicts/{(await api.only())['id']}/resolve"
    first = await api("POST", path, {"keep": "losing"}, idempotency_key="k")
    assert first[0] == 200
    assert await api("POST", path, {"keep": "losing"}, idempotency_key="k") == first
    late = await api("POST", path, {"keep": "losing"}, idempotency_key="l")
    assert late[0] == 409
    store = cast(PostgresStore, api.home.store)

    async def kept() -> list[Any]:
        async with store._database.session("look", api.home.workspace.id) as connection:
            return [row["issue_id"] for row in await connection.fetch("SELECT issue_id FROM keyed_requests")]

    assert await kept() == [ISSUE, ISSUE]
    await api("DELETE", f"/issues/{ISSUE}")
    await project(store)
    await store.purge(api.home.workspace.id, ISSUE, by="system", at=VirtualClock().now())
    assert await kept() == []


async def test_with_a_key_a_policy_is_set_once(api: Api) -> None:
    asked = ("PUT", "/conflict-policy", {"fields": {"priority": "user_decision"}})
    first = await api(*asked, token="admin", idempotency_key="k")
    await api("PUT", "/conflict-policy", {"fields": {}}, token="admin")
    now = await api("GET", "/conflict-policy")
    assert await api(*asked, token="admin", idempotency_key="k") == first
    assert await api("GET", "/conflict-policy") == now != first


async def test_a_list_is_filtered_and_paged(api: Api) -> None:
    await api("PUT", "/conflict-policy", {"fields": {"priority": "user_decision"}}, token="admin")
    await api.clash()
    await api.clash("priority")

    async def fields(query: str) -> list[str]:
        status, told = await api("GET", f"/conflicts{query}")
        assert status == 200
        return [conflict["field"] for conflict in told["conflicts"]]

    assert await fields("") == ["status", "priority"]
    assert await fields("?state=open") == ["priority"]
    assert await fields(f"?issue={UUID(int=99)}") == []
    assert await fields("?kind=update_delete") == []
    _, first = await api("GET", "/conflicts?limit=1")
    _, second = await api("GET", f"/conflicts?limit=1&cursor={first['cursor']}")
    assert [page["conflicts"][0]["field"] for page in (first, second)] == ["status", "priority"]
    assert second["cursor"] is None


@pytest.mark.parametrize(
    ("body", "shown"),
    [({"keep": "losing"}, "blocked"), ({"keep": "standing"}, "done"), ({"keep": "value", "value": "ready"}, "ready")],
)
async def test_it_is_resolved_by_an_ordinary_edit(api: Api, body: dict[str, str], shown: str) -> None:
    await api.clash()
    conflict = await api.only()
    status, resolved = await api("POST", f"/conflicts/{conflict['id']}/resolve", body)
    assert (status, resolved["state"], resolved["resolution"]) == (200, "resolved", body["keep"])
    assert (resolved["resolved_by"], resolved["resolved_value"]) == ("ana", body.get("value"))
    assert await api.only() == resolved
    assert [peer.hear().fields["status"] for peer in (api.ana, api.bob)] == [shown, shown]


async def test_of_two_people_the_second_is_told_who_was_first(api: Api) -> None:
    await api.clash()
    where = f"/conflicts/{(await api.only())['id']}/resolve"
    _, first = await api("POST", where, {"keep": "losing"})
    status, problem = await api("POST", where, {"keep": "standing"})
    assert (status, problem["type"]) == (409, "urn:syncline:problem:resolved")
    assert problem["conflict"] == first


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", f"/conflicts/{UUID(int=3)}", None, 404, "unknown-conflict"),
        ("GET", "/conflicts/nonsense", None, 404, "unknown-conflict"),
        ("POST", f"/conflicts/{UUID(int=3)}/resolve", {"keep": "losing"}, 404, "unknown-conflict"),
        ("POST", f"/conflicts/{UUID(int=3)}/resolve", {"keep": "superseded"}, 422, "invalid"),
        ("GET", "/conflicts?cursor=AAAA", None, 422, "invalid"),
        ("GET", "/conflicts?cursor=é", None, 422, "invalid"),
        ("PUT", "/conflict-policy", {"fields": {"*": "user_decision"}}, 403, "forbidden"),
    ],
)
async def test_what_cannot_be_is_said(api: Api, method: str, path: str, body: object, status: int, kind: str) -> None:
    answered, problem = await api(method, path, body)
    assert (answered, problem["type"]) == (status, f"urn:syncline:problem:{kind}")


async def test_a_viewer_resolves_nothing(api: Api) -> None:
    await api.clash()
    where = f"/conflicts/{(await api.only())['id']}/resolve"
    assert (await api("POST", where, {"keep": "losing"}, token="viewer"))[0] == 403


async def test_an_admin_says_who_decides(api: Api) -> None:
    _, policy = await api("GET", "/conflict-policy")
    assert policy["fields"] == {}
    assert policy["defaults"]["update_update"] == "last_write_wins"
    fields = {"status": "user_decision", "*": "merge_fields"}
    status, changed = await api("PUT", "/conflict-policy", {"fields": fields}, token="admin")
    assert (status, changed["fields"]) == (200, fields)
    assert await api("GET", "/conflict-policy") == (200, changed)
    await api.clash()
    assert ((await api.only())["strategy"], (await api.only())["state"]) == ("user_decision", "open")
    for wrong in ({"colour": "user_decision"}, {"status": "coin"}):
        assert (await api("PUT", "/conflict-policy", {"fields": wrong}, token="admin"))[0] == 422
