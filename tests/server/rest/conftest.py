"""`/v1` of one node over a real Postgres, without sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from starlette.applications import Starlette

from crdt.document import Document
from crdt.issue import IssueContent, read
from crdt.update import merge
from server.audit import Audit, AuditLimits
from server.bases import Bases
from server.doors.http import http_app
from server.doors.rest.accounts import Accounts
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.frame import Frame
from server.doors.rest.once import Repeats
from server.doors.rest.past import Past
from server.doors.rest.routes import routes_of
from server.feed import FeedLimits
from server.feeds import Feeds
from server.limits import HubLimits
from server.metrics import Metrics
from server.outbox import Outbox
from server.outbox_batch import OutboxLimits, OutboxServices
from server.rates import Rates
from server.records import Records, RecordServices
from storage.activity import Activity
from storage.audit_log import AuditLog
from storage.database import Database, DatabaseLimits, open_database
from storage.history import History
from storage.issue_reader import IssueReader
from storage.keyed_requests import KeyedRequests
from storage.log_reader import LogReader
from storage.logins import Logins
from storage.people import People
from storage.postgres import PostgresStore
from storage.projector import Projector, ProjectorLimits
from storage.sync_queue import SyncQueue
from storage.tables import issue_labels, issue_words
from storage.timeline import Timeline
from storage.visitors import Visitors
from storage.words import Words, WordsLimits
from tests.server.house import House, house
from tests.server.rest.asking import IMPATIENT, NO_CONFLICTS, NO_TRANSFER, ask, everywhere, verify
from tests.simulation.time import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKSPACE = "/v1/workspaces/main"
ISSUES = f"{WORKSPACE}/issues"


async def ready() -> None: ...


@dataclass
class Api:
    """Call it with a method and an address below `/v1/workspaces/main`, or a whole one."""

    app: Starlette
    home: House
    database: Database
    connection: asyncpg.Connection[asyncpg.Record]
    audit: Audit

    @property
    def workspace(self) -> int:
        return self.home.workspace.id

    async def __call__(
        self, method: str, path: str, body: object = None, **more: Any
    ) -> tuple[int, Any, dict[str, str]]:
        sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        address = path if path.startswith("/v1/") else WORKSPACE + path
        return await ask(self.app, method, address, body=sent, **more)

    async def get(self, path: str, token: str | None = "main", **headers: Any) -> tuple[int, Any, dict[str, str]]:
        return await self("GET", path, token=token, **headers)

    async def content(self, issue: UUID) -> IssueContent:
        """What the log says of an issue."""
        stored = await self.home.store.load(self.workspace, issue)
        return read(Document.load(merge(stored.updates)))

    async def head(self) -> int:
        return (await self.home.store.workspaces())[0].head

    async def add(self, number: int, minutes: int | None = 0, **columns: object) -> UUID:
        """A row of `issues` as the projection writes it."""
        moment = None if minutes is None else NOW + timedelta(minutes=minutes)
        given: dict[str, object] = {"title": f"t{number}", "description": "", "updated_at": moment, **columns}
        places = ", ".join(f"${n}" for n in range(3, 3 + len(given)))
        issue = UUID(int=number)
        await self.connection.execute(
            f"INSERT INTO issues (workspace_id, id, seq, version, {', '.join(given)}) VALUES ($1, $2, 1, 7, {places})",
            self.workspace,
            issue,
            *given.values(),
        )
        await self.connection.execute(issue_labels.UPSERT, self.workspace, [issue])
        await self.connection.execute(issue_words.NOTE_DUE, self.workspace, [1], [issue])
        return issue

    async def project(self) -> None:
        """Bring the tables to where the log is."""
        projector = Projector(self.home.store, self.home.engine, ProjectorLimits(), now=VirtualClock().now)
        while await projector.project_once():
            pass
        await self.read_words()

    async def read_words(self) -> None:
        while await Words(self.database, WordsLimits()).read_once():
            pass

    async def titles(self, query: str = "") -> list[str]:
        """Every page of issues, followed to the end."""
        found, cursor = [], ""
        while True:
            status, page, _ = await self.get(f"{ISSUES}?{query}{cursor}")
            assert status == 200, page
            found += [issue["title"] for issue in page["issues"]]
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"


class Later(VirtualClock):
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def now(self) -> datetime:
        return super().now() + self.passed


@pytest.fixture
def requests_clock() -> Later:
    """By which keys of requests grow old."""
    return Later()


@pytest.fixture
def outbox_limits() -> OutboxLimits:
    return OutboxLimits(rows_seconds=0.1)


@pytest.fixture
def hub_limits() -> HubLimits:
    """For a file of tests to put others in their place."""
    return HubLimits()


@pytest.fixture
def rates() -> Rates | None:
    """None: nobody is limited."""
    return None


@pytest.fixture
async def api(
    store: PostgresStore,
    dsn: str,
    outbox_limits: OutboxLimits,
    hub_limits: HubLimits,
    requests_clock: Later,
    rates: Rates | None,
) -> AsyncIterator[Api]:
    await store.create_workspace("main", "Main")
    await store.create_workspace("other", "Other")
    database = await open_database(dsn, DatabaseLimits(connections_max=2))
    connection = await asyncpg.connect(dsn)
    async with house(hub_limits, store=store) as home:
        records = Records(RecordServices(home.hub, home.engine, VirtualClock()))
        log = LogReader(database)
        timeline = Timeline(log, home.engine)
        past = Past(History(store, home.engine), timeline, Activity(log, timeline))
        nothing: Any = None
        accounts = Accounts(
            People(database), Logins(database), Visitors(database), AuditLog(database), nothing, VirtualClock()
        )
        reader, clock, feeds = IssueReader(database), VirtualClock(), Feeds(store, FeedLimits(), home.metrics)
        outbox = Outbox(
            OutboxServices(records, SyncQueue(database), store, reader, clock, Bases(log, timeline)),
            outbox_limits,
        )
        services = ApiServices(
            reader,
            records,
            past,
            NO_TRANSFER,
            NO_CONFLICTS,
            accounts,
            outbox,
            everywhere,
            feeds,
            limits=IMPATIENT,
        )
        served = operations_of(services)
        audit = Audit(AuditLog(database), store, VirtualClock(), AuditLimits(), lambda: None)
        repeats = Repeats(KeyedRequests(database), requests_clock)
        app = http_app(Metrics(), ready, routes_of(Frame(store, verify, audit.note, rates, repeats), served))
        yield Api(app, home, database, connection, audit)
        await feeds.close()
    await connection.close()
    await database.close()
