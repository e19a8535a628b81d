"""Every role with every operation of `/v1`, as the registry lists them: a new one without an expectation fails here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

import pytest
from starlette.applications import Starlette

from server.audit import Note
from server.auth import Credentials
from server.bases import Bases
from server.decisions import Decisions
from server.doors.http import http_app
from server.doors.rest.accounts import Accounts
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.conflicts import ConflictServices
from server.doors.rest.frame import Frame
from server.doors.rest.headers import IDEMPOTENCY_KEY
from server.doors.rest.once import Repeats
from server.doors.rest.operations import Served
from server.doors.rest.past import Past
from server.doors.rest.routes import routes_of
from server.doors.rest.transfer import TransferServices
from server.feed import FeedLimits
from server.feeds import Feeds
from server.imports import ImportServices
from server.metrics import Metrics
from server.outbox import Outbox
from server.outbox_batch import OutboxLimits, OutboxServices
from server.permissions import Identity, Role, at_least
from server.records import Records, RecordServices
from server.sign_ins import SignIns
from storage.activity import Activity
from storage.audit_log import AuditLog
from storage.history import History
from storage.import_ledger import ImportLedger
from storage.issue_reader import IssueReader
from storage.keyed_requests import KeyedRequests
from storage.log_reader import LogReader
from storage.logins import Logins
from storage.people import People
from storage.postgres import PostgresStore
from storage.sync_queue import SyncQueue
from storage.timeline import Timeline
from storage.visitors import Visitors
from tests.server.bearers import identity_of
from tests.server.rest.asking import IMPATIENT, ask_raw
from tests.server.rest.conftest import Api, ready
from tests.simulation.time import VirtualClock

# Operation → the least role; None: anybody, without a token.
LEAST: Final[dict[str, Role | None]] = {
    "listIssues": Role.VIEWER,
    "readIssue": Role.VIEWER,
    "createIssue": Role.AGENT,
    "patchIssue": Role.AGENT,
    "createIssues": Role.AGENT,
    "patchIssues": Role.AGENT,
    "deleteIssue": Role.AGENT,
    "restoreIssue": Role.AGENT,
    "listComments": Role.VIEWER,
    "addComment": Role.COMMENTER,
    "editComment": Role.COMMENTER,
    "deleteComment": Role.COMMENTER,
    "listLabels": Role.VIEWER,
    "putLabel": Role.AGENT,
    "removeLabel": Role.AGENT,
    "readHistory": Role.VIEWER,
    "diffIssue": Role.VIEWER,
    "blameText": Role.VIEWER,
    "revertIssue": Role.AGENT,
    "readActivity": Role.VIEWER,
    "sync": Role.COMMENTER,
    "readChanges": Role.VIEWER,
    "exportWorkspace": Role.ADMIN,
    "importFile": Role.ADMIN,
    "listImports": Role.ADMIN,
    "undoImport": Role.ADMIN,
    "listConflicts": Role.VIEWER,
    "readConflict": Role.VIEWER,
    "resolveConflict": Role.AGENT,
    "readConflictPolicy": Role.VIEWER,
    "changeConflictPolicy": Role.ADMIN,
    "listMembers": Role.VIEWER,
    "readWorkspace": Role.VIEWER,
    "readMe": Role.VIEWER,
    "whoAmI": Role.VIEWER,  # and so does who is one of another workspace
    "listWorkspaces": Role.VIEWER,
    "listUsers": Role.VIEWER,
    "putMember": Role.ADMIN,
    "removeMember": Role.ADMIN,
    "signOutMember": Role.ADMIN,  # others; everybody may sign themselves out
    # Lists show the asker's own to all below an admin, and whose is not theirs is not there for them.
    "listDevices": Role.VIEWER,
    "listSessions": Role.VIEWER,
    "listTokens": Role.VIEWER,
    "revokeDevice": Role.VIEWER,
    "endSession": Role.VIEWER,
    "revokeToken": Role.VIEWER,
    "readAudit": Role.ADMIN,
    "refreshToken": None,
    "exchangeToken": None,
    "signOut": None,
    "openapi": None,
    "docs": None,
}
# Operation → what of its query and body goes into the audit log, when it was done, beside what its path names; None: it
# is not audited, because it changes nothing, or because the log of edits has it. Whoever may not do one always is.
AUDITED: Final[dict[str, tuple[str, ...] | None]] = {
    "listIssues": None,
    "readIssue": None,
    "createIssue": None,
    "patchIssue": None,
    "createIssues": None,
    "patchIssues": None,
    "deleteIssue": (),
    "restoreIssue": (),
    "listComments": None,
    "addComment": None,
    "editComment": None,
    "deleteComment": None,
    "listLabels": None,
    "putLabel": None,
    "removeLabel": None,
    "readHistory": None,
    "diffIssue": None,
    "blameText": None,
    "revertIssue": (),
    "readActivity": None,
    "sync": None,
    "readChanges": None,
    "exportWorkspace": ("format",),
    "importFile": ("name", "dry_run", "role"),
    "listImports": None,
    "undoImport": (),
    "listConflicts": None,
    "readConflict": None,
    "resolveConflict": None,
    "readConflictPolicy": None,
    "changeConflictPolicy": (),
    "listMembers": None,
    "readWorkspace": None,
    "readMe": None,
    "whoAmI": None,
    "listWorkspaces": None,
    "listUsers": None,
    "putMember": ("role",),
    "removeMember": (),
    "signOutMember": (),
    "listDevices": None,
    "listSessions": None,
    "listTokens": None,
    "revokeDevice": (),
    "endSession": (),
    "revokeToken": (),
    "readAudit": None,
    # For everybody, so nobody is known who could be noted here: `server.sign_ins` notes them itself.
    "refreshToken": None,
    "exchangeToken": None,
    "signOut": None,
    "openapi": None,
    "docs": None,
}
ISSUE: Final = UUID(int=1)
# Answered to who may: done, or what is wrong with what this test asks for.
HEARD: Final = (200, 201, 404, 422)
BODIES: Final = {
    "createIssue": b'{"title": "new"}',
    "patchIssue": b'{"title": "changed"}',
    "createIssues": b'{"issues": [{"title": "new"}]}',
    "addComment": b'{"body": "yes"}',
}


@dataclass(frozen=True, slots=True)
class Node:
    """An API whose tokens are `user:role:workspace`, with one issue."""

    app: Starlette
    api: Api
    served: list[Served]
    notes: list[Note]

    async def status(self, served: Served, token: str | None) -> int:
        """What an operation answers to somebody, where it makes sense."""
        operation = served.operation
        if operation.id == "exportWorkspace":
            await self.api.project()  # it waits for that
        places = dict.fromkeys(operation.place.model_fields, UUID(int=9))
        path = operation.path.format_map(places | {"workspace": "main", "issue": ISSUE, "issue_id": ISSUE})
        body = BODIES.get(operation.id, b"")
        status, _, _ = await ask_raw(self.app, operation.method, path, token=token, body=body)
        return status


async def verify(credentials: Credentials, workspace: str | None) -> Identity:
    return identity_of(credentials.token, workspace)


async def everywhere(credentials: Credentials) -> list[Identity]:
    return [identity_of(credentials.token, None)]


@pytest.fixture
async def node(api: Api, dsn: str) -> AsyncIterator[Node]:
    home, clock, database = api.home, VirtualClock(), api.database
    store = cast(PostgresStore, home.store)
    records, reader = Records(RecordServices(home.hub, home.engine, clock)), IssueReader(database)
    timeline = Timeline(LogReader(database), home.engine)
    past = Past(History(store, home.engine), timeline, Activity(LogReader(database), timeline))
    transfer = TransferServices(ImportServices(records, ImportLedger(database), reader, store, clock), dsn)
    conflicts = ConflictServices(store.ledger, Decisions(store.ledger, records, clock))
    feeds = Feeds(store, FeedLimits(), home.metrics)
    people, logins = People(database), Logins(database)
    accounts = Accounts(people, logins, Visitors(database), AuditLog(database), cast(SignIns, None), clock)
    outbox = Outbox(
        OutboxServices(records, SyncQueue(database), store, reader, clock, Bases(LogReader(database), timeline)),
        OutboxLimits(rows_seconds=0.1),
    )
    services = ApiServices(
        reader,
        records,
        past,
        transfer,
        conflicts,
        accounts,
        outbox,
        everywhere,
        feeds,
        limits=IMPATIENT,
    )
    served, notes = operations_of(services), list[Note]()
    frame = Frame(store, verify, notes.append, repeats=Repeats(KeyedRequests(database), clock))
    app = http_app(Metrics(), ready, routes_of(frame, served))
    await api("POST", "/issues", {"id": str(ISSUE), "title": "there"})
    await api.project()
    yield Node(app, api, served, notes)
    await feeds.close()


async def test_no_operation_is_without_an_expectation(node: Node) -> None:
    assert {served.operation.id for served in node.served} == LEAST.keys()


async def test_no_operation_that_writes_is_silent_about_keys(node: Node) -> None:
    writing = [served.operation for served in node.served if served.operation.method != "GET"]
    silent = {one.id for one in writing if IDEMPOTENCY_KEY.name not in {header.name for header in one.headers}}
    assert silent == {"refreshToken", "exchangeToken", "signOut"}  # they refuse them
    assert {one.id for one in writing if not one.takes_key} - silent == {"sync"}


@pytest.mark.parametrize("role", Role)
async def test_each_role_is_answered_what_it_may_and_changes_nothing_else(node: Node, role: Role) -> None:
    for served in node.served:
        least, head = LEAST[served.operation.id], await node.api.head()
        status = await node.status(served, f"sam:{role}")
        if least is None or at_least(role, least):
            assert status in HEARD, served.operation.id
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
        is_of_none = served.operation.reads_token and refusal == 403
        if LEAST[served.operation.id] is None or is_of_none:
            assert status in HEARD, served.operation.id
        else:
            assert status == refusal, served.operation.id
    assert await node.api.head() == head


async def test_every_operation_says_whether_it_is_audited_and_is_so(node: Node) -> None:
    assert {served.operation.id: served.operation.audited for served in node.served} == AUDITED
    for served in node.served:
        node.notes.clear()
        status = await node.status(served, "sam:owner")
        done = [] if AUDITED[served.operation.id] is None or status >= 400 else [(served.operation.id, False, "sam")]
        assert [(note.action, note.is_refused, note.user_id) for note in node.notes] == done


async def test_every_operation_that_somebody_may_not_is_audited_for_them(node: Node) -> None:
    for served in node.served:
        node.notes.clear()
        if await node.status(served, "eve:viewer") == 403:
            (note,) = node.notes
            assert (note.action, note.is_refused, note.user_id) == (served.operation.id, True, "eve")
            assert dict(note.detail)["reason"]
