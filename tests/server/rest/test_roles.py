"""Every role with every operation of `/v1`, as the registry lists them: a new one without an expectation fails here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import pytest
from starlette.applications import Starlette

from server.auth import Credentials
from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.frame import Frame
from server.doors.rest.operations import Served
from server.doors.rest.routes import routes_of
from server.metrics import Metrics
from server.permissions import Identity, Role, at_least
from server.records import Records, RecordServices
from storage.issue_reader import IssueReader
from tests.server.bearers import identity_of
from tests.server.rest.asking import ask_raw
from tests.server.rest.conftest import Api, ready
from tests.simulation.time import VirtualClock

# Operation → the least role; None: anybody, without a token.
LEAST: Final[dict[str, Role | None]] = {
    "listIssues": Role.VIEWER,
    "readIssue": Role.VIEWER,
    "createIssue": Role.AGENT,
    "patchIssue": Role.AGENT,
    "deleteIssue": Role.AGENT,
    "restoreIssue": Role.AGENT,
    "openapi": None,
    "docs": None,
}
ISSUE: Final = UUID(int=1)
BODIES: Final = {"createIssue": b'{"title": "new"}', "patchIssue": b'{"title": "changed"}'}


@dataclass(frozen=True, slots=True)
class Node:
    """An API whose tokens are `user:role:workspace`, with one issue."""

    app: Starlette
    api: Api
    served: list[Served]

    async def status(self, served: Served, token: str | None) -> int:
        """What an operation answers to somebody, where it makes sense."""
        operation = served.operation
        places = dict.fromkeys(operation.place.model_fields, "x")
        path = operation.path.format_map(places | {"workspace": "main", "issue": ISSUE, "issue_id": ISSUE})
        body = BODIES.get(operation.id, b"")
        status, _, _ = await ask_raw(self.app, operation.method, path, token=token, body=body)
        return status


async def verify(credentials: Credentials, workspace: str | None) -> Identity:
    return identity_of(credentials.token, workspace)


@pytest.fixture
async def node(api: Api) -> Node:
    home = api.home
    records = Records(RecordServices(home.hub, home.engine, VirtualClock()))
    served = operations_of(ApiServices(IssueReader(api.database), records, min_seq_seconds=0.1))
    app = http_app(Metrics(), ready, routes_of(Frame(home.store, verify), served))
    await api("POST", "/issues", {"id": str(ISSUE), "title": "there"})
    await api.project()
    return Node(app, api, served)


async def test_no_operation_is_without_an_expectation(node: Node) -> None:
    assert {served.operation.id for served in node.served} == LEAST.keys()


@pytest.mark.parametrize("role", Role)
async def test_each_role_is_answered_what_it_may_and_changes_nothing_else(node: Node, role: Role) -> None:
    for served in node.served:
        least, head = LEAST[served.operation.id], await node.api.head()
        status = await node.status(served, f"sam:{role}")
        if least is None or at_least(role, least):
            assert 200 <= status < 300, served.operation.id
        else:
            assert status == 403, served.operation.id
            assert await node.api.head() == head, served.operation.id


@pytest.mark.parametrize(
    ("token", "refusal"), [(None, 401), ("nobody", 401), *((f"sam:{role}:other", 403) for role in Role)]
)
async def test_nobody_else_is_answered_anything(node: Node, token: str | None, refusal: int) -> None:
    head = await node.api.head()
    for served in node.served:
        status = await node.status(served, token)
        assert status == (refusal if LEAST[served.operation.id] is not None else 200), served.operation.id
    assert await node.api.head() == head
