"""Every problem that an operation declares is answered by it: provoked here, in a real node over a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import pytest

from crdt.errors import FULL as REASON_FULL
from crdt.errors import Refused
from server.auth import Credentials, refresh
from server.buckets import Allowance
from server.doors.http import http_app
from server.doors.rest import problems as p
from server.doors.rest.frame import Frame
from server.doors.rest.operations import MAX_BODY_BYTES, Nothing, Served
from server.doors.rest.problems import CATALOGUE, TYPE_PREFIX, ProblemType
from server.doors.rest.routes import routes_of
from server.doors.rest.sign_ins import SignInOperations
from server.doors.rest.transfer import Transfer
from server.doors.rest.whoami import WhoAmI
from server.metrics import Metrics
from server.pen import Pen
from server.permissions import Identity
from server.rates import RateLimits, Rates
from server.session import Outcome, Rejected
from server.sign_ins import SignIns, SignInServices
from storage.compactor import Compactor
from storage.engine import EngineFailed, IssueKey
from storage.errors import StoreUnavailable
from storage.logins import Login, Logins
from tests.inline_engine import InlineEngine
from tests.server.rest.asking import ask_raw
from tests.server.rest.conftest import Api, ready
from tests.server.rest.test_roles import ISSUE, Node, node, verify
from tests.simulation.time import VirtualClock
from tests.storage.compacting import SMALL, Calendar

__all__ = ["node"]  # the fixture

OWNER: Final = "olga:owner"
NAMED: Final[Mapping[str, object]] = {
    "workspace": "main",
    "issue": ISSUE,
    "comment": "c1",
    "label": "bug",
    "user": "olga",
    "batch": UUID(int=99),
    "session": UUID(int=99),
}
ABSENT: Final[Mapping[str, object]] = {"issue": UUID(int=99), "batch": UUID(int=99), "session": UUID(int=99)}
NO_NAME: Final = "\0"
# What each takes; an empty object where nothing is named.
BODIES: Final[Mapping[str, object]] = {
    "createIssue": {"id": str(ISSUE), "title": "another"},
    "createIssues": {"issues": [{"title": "new"}]},
    "patchIssue": {"title": "changed"},
    "patchIssues": {"issues": [{"id": str(ISSUE), "status": "done"}]},
    "addComment": {"id": "c1", "body": "another"},
    "editComment": {"body": "another"},
    "revertIssue": {"to": "1"},
    "resolveConflict": {"keep": "losing"},
    "putMember": {"role": "viewer"},
    "changeConflictPolicy": {"fields": {}},
}
NEW: Final[Mapping[str, object]] = {"createIssue": {"title": "new"}, "addComment": {"id": "c2", "body": "new"}}
QUERIES: Final[Mapping[str, str]] = {"diffIssue": "from=1&to=3", "readIssue": "at=1"}

OF_NO_OPERATION: Final = (p.UNKNOWN_ROUTE, p.METHOD_NOT_ALLOWED)  # `test_reference.py` has them
# What an operation declares and is not asked for here, with why.
NOT_OF: Final[Mapping[str, tuple[ProblemType, ...]]] = {
    "exchangeToken": (p.UNAUTHORIZED, p.FORBIDDEN),  # `test_identity_node.py` has a provider of tokens
}


@dataclass(frozen=True, slots=True)
class Desk:
    """A node with an issue, a comment and a conflict, and the names that its paths may hold."""

    node: Node
    names: Mapping[str, object]

    @property
    def api(self) -> Api:
        return self.node.api

    @property
    def key(self) -> IssueKey:
        return IssueKey(self.api.workspace, ISSUE)

    async def ask(self, served: Served, *, token: str = OWNER, app: Any = None, **more: Any) -> str | None:
        """The slug of the problem that an operation answers; None for none. `more`: `query`, `body`, `headers`,
        and names."""
        operation = served.operation
        query = more.pop("query", QUERIES.get(operation.id, ""))
        body = more.pop("body", json.dumps(BODIES.get(operation.id, {})).encode())
        headers = more.pop("headers", {})
        absent: dict[str, object] = dict.fromkeys(operation.place.model_fields, "absent")
        path = operation.path.format_map(absent | dict(self.names) | more)
        asked = app or self.node.app
        address = f"{path}?{query}"
        status, content, _ = await ask_raw(asked, operation.method, address, token=token, body=body, **headers)
        if status < 400:
            return None
        problem = json.loads(content)
        assert problem["status"] == status
        return str(problem["type"].removeprefix(TYPE_PREFIX))

    def app(self, served: Iterable[Served], rates: Rates | None = None) -> Any:
        """The same node with other operations or limits."""
        return http_app(Metrics(), ready, routes_of(Frame(self.api.home.store, verify, rates=rates), served))


Provocation: TypeAlias = Callable[[Desk, Served], Awaitable[str | None]]


@pytest.fixture
async def desk(node: Node) -> Desk:
    made = Desk(node, NAMED)
    by_id = {served.operation.id: served for served in node.served}
    assert await made.ask(by_id["addComment"], body=b'{"id": "c1", "body": "yes"}') is None
    assert await made.ask(by_id["putMember"], body=b'{"role": "owner"}') is None
    for device, status in ("phone", "open"), ("laptop", "done"):
        edit: dict[str, Any] = {"id": device, "table_name": "issues", "record_id": str(ISSUE), "operation": "update"}
        edit |= {"data": {"status": status}, "base_version": 1, "created_at": "2026-01-01T00:00:00Z"}
        sent = json.dumps({"device_id": device, "operations": [edit]}).encode()
        assert await made.ask(by_id["sync"], body=sent) is None
    await made.api.project()
    return Desk(node, {**NAMED, "conflict": await made.api.connection.fetchval("SELECT id FROM conflicts")})


def asking(**more: Any) -> Provocation:
    """Just so."""

    async def asked(desk: Desk, served: Served) -> str | None:
        return await desk.ask(served, **more)

    return asked


def unknown(kind: ProblemType) -> Provocation:
    """A name that nobody took; where any may be taken, one that is none."""

    async def asked(desk: Desk, served: Served) -> str | None:
        slug = None
        for name in served.operation.place.model_fields:
            if name != "workspace" and slug != kind.slug:
                slug = await desk.ask(served, **cast(Any, {name: ABSENT.get(name, "absent")}))
                if slug != kind.slug and served.operation.place.UNKNOWN[name] is kind:
                    slug = await desk.ask(served, **cast(Any, {name: NO_NAME}))
        return slug

    return asked


def failing_with(error: Exception) -> Provocation:
    """What answers fails as a database or a defect would."""

    async def fail(_call: Any) -> Any:
        raise error

    async def asked(desk: Desk, served: Served) -> str | None:
        operation = replace(served.operation, query=Nothing, body=Nothing, uploads=(), max_page=None)
        return await desk.ask(served, app=desk.app([Served(operation, fail)]), query="")

    return asked


async def not_let_in(desk: Desk, served: Served) -> str | None:
    """With a token that is none."""
    if served.operation.needs is None and not served.operation.reads_token:
        return await signing_in(desk, served, "nonsense")
    return await desk.ask(served, token="nobody")


async def of_another_workspace(desk: Desk, served: Served) -> str | None:
    """With the token of another workspace, or of one that is gone."""
    if served.operation.reads_token:
        return await desk.ask(served, app=desk.app(WhoAmI(nowhere).operations()))
    if served.operation.needs is None:
        gone = Login(1, UUID(int=1), "ana", None, None, None, VirtualClock().now(), "secret")
        return await signing_in(desk, served, refresh.written("ghosts", gone))
    return await desk.ask(served, token="sam:owner:other")


async def nowhere(_credentials: Credentials) -> list[Identity]:
    return []


async def signing_in(desk: Desk, served: Served, token: str) -> str | None:
    """Ask with a refresh token."""
    nothing: Any = None
    services = SignInServices(nothing, nothing, desk.api.home.store, Logins(desk.api.database), VirtualClock())
    operations = SignInOperations(SignIns(services, nothing), VirtualClock()).operations()
    return await desk.ask(served, app=desk.app(operations), body=json.dumps({"refresh_token": token}).encode())


async def too_often(desk: Desk, served: Served) -> str | None:
    """The second request of an allowance of one."""
    one = Allowance(rate=0.001, burst=1)
    app = desk.app([served], Rates(RateLimits(user=one, address=one), VirtualClock()))
    await desk.ask(served, app=app, query="nonsense=1")
    return await desk.ask(served, app=app)


async def too_large(desk: Desk, served: Served) -> str | None:
    """A byte more than is taken."""
    if served.operation.uploads:
        return await desk.ask(served, app=desk.app(transfer(served, max_import_bytes=10)), body=b"title,status")
    return await desk.ask(served, body=b" " * ((served.operation.max_body_bytes or MAX_BODY_BYTES) + 1))


async def in_a_crowd(desk: Desk, served: Served) -> str | None:
    """As many as may run at a time are running."""
    return await desk.ask(served, app=desk.app(transfer(served, at_once=0)))


def transfer(served: Served, **changed: Any) -> list[Served]:
    """Exports and imports with other limits."""
    of: Any = served.work
    return Transfer(replace(of.__self__._services, **changed)).operations()


async def purged(desk: Desk, served: Served) -> str | None:
    """The issue went for good a moment ago; who read its conflict before may still name it."""
    api = desk.api
    if await api.connection.fetchval("SELECT count(*) FROM conflicts WHERE field = 'status'") == 1:
        await api.connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM conflicts")
        await api("DELETE", f"/issues/{ISSUE}")
        await api.project()
        await api.home.store.purge(api.workspace, ISSUE, by="system", at=VirtualClock().now())
        await api.home.relay.catch_up(api.workspace)
        await api.connection.execute("UPDATE kept SET field = 'priority'; INSERT INTO conflicts SELECT * FROM kept")
    return await desk.ask(served)


async def undigested(desk: Desk, served: Served) -> str | None:
    """No engine survives the document."""
    desk.api.home.engine.failing[desk.key] = EngineFailed(desk.key, "crashed")
    return await desk.ask(served)


async def full(desk: Desk, served: Served) -> str | None:
    """The gate finds no room in the issue; `test_full.py` fills one."""

    async def refused(*_edit: object) -> Outcome:
        return Rejected(Refused(REASON_FULL, "as many bytes as it may"))

    await desk.api("DELETE" if served.operation.method == "PUT" else "PUT", f"/issues/{ISSUE}/labels/bug")
    body = NEW.get(served.operation.id, BODIES.get(served.operation.id, {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pen, "write", refused)
        return await desk.ask(served, body=json.dumps(body).encode())


async def unreadable(desk: Desk, served: Served) -> str | None:
    """Nor is it what was written."""
    await desk.api.connection.execute("UPDATE deltas SET checksum = checksum + 1 WHERE seq = 1")
    return await undigested(desk, served)


async def trimmed(desk: Desk, served: Served) -> str | None:
    """The log begins later than what is asked for."""
    api = desk.api
    if await api.connection.fetchval("SELECT count(*) FROM deltas WHERE seq = 1") == 1:
        compactor = Compactor(api.home.store, InlineEngine(), SMALL, now=Calendar())
        for status in ("s1", "s2"):
            await api("PATCH", f"/issues/{ISSUE}", {"status": status})
            await api.project()
            await compactor.compact(desk.key)
        await api.home.store.trim(api.workspace, ISSUE, await api.head() - 1)
    return await desk.ask(served)


async def too_late(desk: Desk, served: Served) -> str | None:
    """Somebody was faster."""
    await desk.ask(served)
    return await desk.ask(served)


async def with_a_used_key(desk: Desk, served: Served) -> str | None:
    """Another device sent another request with it."""
    key = {"idempotency_key": served.operation.id}
    await desk.ask(served, headers=key)
    return await desk.ask(served, headers=key | {"x_device_id": "another"})


async def with_a_key_in_use(desk: Desk, served: Served) -> str | None:
    """Whoever does the request has not come to an answer."""
    key = {"idempotency_key": served.operation.id}
    await desk.ask(served, headers=key)
    await desk.api.connection.execute("UPDATE keyed_requests SET status = NULL, claimed_until = '2100-01-01'")
    return await desk.ask(served, headers=key)


PROVOCATIONS: Final[Mapping[ProblemType, Provocation]] = {
    **{kind: unknown(kind) for kind in CATALOGUE if kind.slug.startswith("unknown-") and kind not in OF_NO_OPERATION},
    p.UNKNOWN_WORKSPACE: asking(token="sam:owner:ghosts", workspace="ghosts"),
    p.UNAUTHORIZED: not_let_in,
    p.FORBIDDEN: of_another_workspace,
    p.INVALID: asking(query="nonsense=1"),
    p.TOO_MANY: too_often,
    p.TOO_LARGE: too_large,
    p.ENCODED: asking(headers={"content_encoding": "gzip"}),
    p.BUSY: in_a_crowd,
    p.INTERNAL: failing_with(ValueError("a defect")),
    p.UNAVAILABLE: failing_with(StoreUnavailable("no connection")),
    p.NOT_PROJECTED: asking(query="min_seq=999"),
    p.UNREADABLE_FILE: asking(query="", body=b""),
    p.LAST_OWNER: asking(),
    p.PRECONDITION: asking(headers={"if_match": '"999"'}),
    p.KEY_REUSED: with_a_used_key,
    p.IN_PROGRESS: with_a_key_in_use,
    p.PURGED: purged,
    p.TRIMMED: trimmed,
    p.UNREADABLE: unreadable,
    p.UNWRITABLE: undigested,
    p.FULL: full,
    p.EXISTS: asking(),
    p.RESOLVED: too_late,
    p.OUT_OF_REACH: asking(query="since=999"),
}
CHANGING: Final = (
    p.KEY_REUSED,
    p.IN_PROGRESS,
    p.PURGED,
    p.TRIMMED,
    p.UNREADABLE,
    p.UNWRITABLE,
    p.EXISTS,
    p.RESOLVED,
)  # the node, for all after it


def test_there_is_a_provocation_for_every_problem() -> None:
    assert PROVOCATIONS.keys() == set(CATALOGUE) - set(OF_NO_OPERATION)


@pytest.mark.long
async def test_every_operation_that_declares_a_problem_answers_it(desk: Desk) -> None:
    await all_answer(desk, [kind for kind in PROVOCATIONS if kind not in CHANGING])


@pytest.mark.long
@pytest.mark.parametrize("kind", CHANGING, ids=lambda kind: kind.slug)
async def test_every_operation_tells_how_its_issue_is(desk: Desk, kind: ProblemType) -> None:
    await all_answer(desk, [kind])


async def all_answer(desk: Desk, kinds: Iterable[ProblemType]) -> None:
    """Each operation answers those of these problems that it declares."""
    wrong = []
    for kind in kinds:
        declaring = [served for served in desk.node.served if kind in served.operation.every_problem()]
        assert declaring, f"no operation declares {kind.slug}: it leaves the catalogue"
        for served in declaring:
            if kind not in NOT_OF.get(served.operation.id, ()):
                slug = await PROVOCATIONS[kind](desk, served)
                wrong += [] if slug == kind.slug else [f"{served.operation.id}: {slug} instead of {kind.slug}"]
    assert not wrong
