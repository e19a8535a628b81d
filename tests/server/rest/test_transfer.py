"""Workspaces out and in over HTTP: streamed files of one seq, imports with a report, and the way back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

import pytest
from starlette.applications import Starlette

from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.frame import Frame
from server.doors.rest.once import Repeats
from server.doors.rest.routes import routes_of
from server.doors.rest.transfer import TransferServices
from server.imports import ImportServices
from server.metrics import Metrics
from server.records import Records, RecordServices
from storage.database import DatabaseLimits, open_database
from storage.export import ExportLimits
from storage.import_ledger import ImportLedger
from storage.issue_reader import IssueReader
from storage.keyed_requests import KeyedRequests
from storage.postgres import PostgresStore
from tests.server.house import House, house
from tests.server.rest.asking import NO_ACCOUNTS, NO_CONFLICTS, NO_FEEDS, NO_OUTBOX, ask, ask_raw, everywhere, verify
from tests.simulation.time import VirtualClock
from tests.storage.compacting import project

MAIN = "/v1/workspaces/main"
FILE = (
    b'{"id": "6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11", "title": "=One", "status": "QA", "createdAt": "2026-01-01"}\n'
    b'{"id": "2", "title": "Two", "createdAt": "2026-01-02"}\n[]\n'
)


async def ready() -> None: ...


@dataclass(frozen=True)
class Api:
    home: House
    transfer: TransferServices
    app: Starlette
    repeats: Repeats

    async def __call__(self, method: str, path: str, body: bytes = b"", **more: Any) -> tuple[int, Any, dict[str, str]]:
        return await ask(self.app, method, MAIN + path, **{"body": body, "token": "admin"} | more)

    async def raw(self, path: str, **more: Any) -> tuple[int, bytes, dict[str, str]]:
        await project(self.home.store)
        return await ask_raw(self.app, "GET", MAIN + path, **{"token": "admin"} | more)

    def of(self, **changed: Any) -> Api:
        transfer = replace(self.transfer, **changed)
        return Api(self.home, transfer, app_of(self.home, transfer, self.repeats), self.repeats)


def app_of(home: House, transfer: TransferServices, repeats: Repeats) -> Starlette:
    served = operations_of(
        ApiServices(
            transfer.imports.reader,
            transfer.imports.records,
            cast(Any, None),
            transfer,
            NO_CONFLICTS,
            NO_ACCOUNTS,
            NO_OUTBOX,
            everywhere,
            NO_FEEDS,
        )
    )
    return http_app(Metrics(), ready, routes_of(Frame(home.store, verify, repeats=repeats), served))


@pytest.fixture
async def api(store: PostgresStore, dsn: str) -> AsyncIterator[Api]:
    database = await open_database(dsn, DatabaseLimits(connections_max=2))
    async with house(store=store) as home:
        records = Records(RecordServices(home.hub, home.engine, VirtualClock()))
        imports = ImportServices(records, ImportLedger(database), IssueReader(database), store, VirtualClock())
        transfer = TransferServices(imports, dsn, export=ExportLimits(wait_seconds=0.3, poll_seconds=0.01))
        repeats = Repeats(KeyedRequests(database), VirtualClock())
        yield Api(home, transfer, app_of(home, transfer, repeats), repeats)
    await database.close()


async def test_a_file_is_brought_in_exported_and_brought_in_again(api: Api) -> None:
    status, told, _ = await api("POST", "/import?map=status:QA=in_progress", FILE)
    assert status == 200, told
    assert (told["format"], told["counts"]) == ("ndjson", {"created": 2, "skipped": 1})
    assert told["notes"] == [{"place": "line 3", "reason": "it is not an object", "issue": None}]
    assert told["words"] == [{"field": "status", "word": "QA", "became": "in_progress", "issues": 1}]
    for written_as in ("ndjson", "json", "csv"):
        status, file, headers = await api.raw(f"/export?format={written_as}")
        assert (status, headers["x-seq"]) == (200, "2")
        assert headers["content-disposition"] == f"attachment; filename*=UTF-8''main-2.{written_as}"
        assert headers["etag"].endswith(f'.2.{written_as}"')
        _, again, _ = await api("POST", "/import", file)
        assert (again["format"], again["counts"]) == (written_as, {"unchanged": 2})


@pytest.mark.parametrize(("written_as", "beginning"), [("sql", b"-- workspace main, seq 1"), ("markdown", b"# main\n")])
async def test_other_formats_are_streamed_too(api: Api, written_as: str, beginning: bytes) -> None:
    await api("POST", "/import?format=ndjson", b'{"id": "1", "title": "One"}')
    status, file, headers = await api.raw(f"/export?format={written_as}&with_state=true")
    assert (status, file[: len(beginning)]) == (200, beginning)
    assert headers["etag"].endswith(f'.1.{written_as}+state"')


async def test_a_dry_run_writes_nothing(api: Api) -> None:
    status, told, _ = await api("POST", "/import?dry_run=true", FILE)
    assert (status, told["batch"], told["counts"]) == (200, None, {"created": 2, "skipped": 1})
    assert (await api("GET", "/imports"))[1] == {"imports": []}
    assert (await api.home.store.workspaces())[0].head == 0


async def test_an_import_is_listed_and_taken_back(api: Api) -> None:
    _, told, _ = await api("POST", "/import?name=dump.ndjson", FILE)
    (batch,) = (await api("GET", "/imports"))[1]["imports"]
    assert (batch["id"], batch["name"], batch["started_by"]) == (told["batch"], "dump.ndjson", "root")
    await project(api.home.store)
    projecting = asyncio.create_task(_projected(api.home.store))
    status, undone, _ = await api("POST", f"/imports/{batch['id']}/undo")
    await projecting
    assert (status, undone["counts"]["deleted"], undone["kept"]) == (200, 2, [])


async def test_with_a_key_a_file_is_brought_in_once_and_another_file_is_another_request(api: Api) -> None:
    first = await api("POST", "/import", FILE, idempotency_key="k")
    batch = first[1]["batch"]
    again = await api("POST", "/import", FILE, idempotency_key="k")
    assert again[:2] == first[:2]
    assert again[2]["idempotent-replayed"] == "true"
    status, problem, _ = await api("POST", "/import", FILE + b"\n", idempotency_key="k")
    assert (status, problem["type"]) == (422, "urn:syncline:problem:key-reused")
    await project(api.home.store)
    projecting = asyncio.create_task(_projected(api.home.store))
    undone = await api("POST", f"/imports/{batch}/undo", idempotency_key="u")
    await projecting
    assert (undone[0], undone[1]["counts"]["deleted"]) == (200, 2)
    await api("POST", "/import", FILE)  # it is back: an undo that is sent again must not take that away
    head = (await api.home.store.workspaces())[0].head
    assert (await api("POST", f"/imports/{batch}/undo", idempotency_key="u"))[1] == undone[1]
    assert (await api("POST", "/import", FILE, idempotency_key="k"))[1] == first[1]
    assert (await api.home.store.workspaces())[0].head == head


async def test_with_a_key_a_file_that_could_not_be_taken_now_is_taken_later(api: Api) -> None:
    assert (await api.of(at_once=0)("POST", "/import", FILE, idempotency_key="k"))[0] == 503
    assert (await api("POST", "/import", FILE, idempotency_key="k"))[1]["counts"]["created"] == 2


async def _projected(store: Any) -> None:
    """As a projector beside it would."""
    for _ in range(20):
        await project(store)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "slug"),
    [
        ("POST", "/import", b"title\n\xe9", 422, "unreadable-file"),
        ("POST", "/import", b"", 422, "unreadable-file"),
        ("POST", "/import?format=nonsense", FILE, 422, "invalid"),
        ("POST", "/import?map=nonsense", FILE, 422, "invalid"),
        ("GET", "/export?format=nonsense", b"", 422, "invalid"),
        ("POST", f"/imports/{UUID(int=1)}/undo", b"", 404, "unknown-import"),
        ("POST", "/imports/nonsense/undo", b"", 404, "unknown-import"),
    ],
)
async def test_what_is_wrong_is_told(api: Api, method: str, path: str, body: bytes, status: int, slug: str) -> None:
    got, problem, _ = await api(method, path, body)
    assert (got, problem["type"]) == (status, f"urn:syncline:problem:{slug}")


@pytest.mark.parametrize(("method", "path"), [("POST", "/import"), ("GET", "/export"), ("GET", "/imports")])
async def test_only_admins_may(api: Api, method: str, path: str) -> None:
    assert (await api(method, path, FILE, token="main"))[0] == 403


async def test_a_file_above_the_bound_and_one_too_many_at_a_time_are_turned_away(api: Api) -> None:
    assert (await api.of(max_import_bytes=10)("POST", "/import", FILE))[0] == 413
    busy = api.of(at_once=0)
    for method, path in (("POST", "/import"), ("GET", "/export"), ("POST", f"/imports/{UUID(int=1)}/undo")):
        status, problem, headers = await busy(method, path)
        assert (status, problem["type"], headers["retry-after"]) == (503, "urn:syncline:problem:busy", "10")


async def test_an_export_that_is_not_projected_in_time_or_not_read_to_its_end_gives_its_place_back(api: Api) -> None:
    alone = api.of(at_once=1)
    await api.home.store.create_workspace("main", "Main")
    await alone("POST", "/import", FILE)
    for _ in range(2):
        assert (await alone("GET", "/export"))[0] == 503
    await project(api.home.store)

    async def gone(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the reader is gone")

    scope = {"type": "http", "method": "GET", "path": MAIN + "/export", "query_string": b"token=admin", "headers": []}
    with pytest.raises(Exception, match="gone"):
        await alone.app(scope, _nothing_more, gone)
    status, file, _ = await alone.raw("/export")
    assert (status, [json.loads(line)["title"] for line in file.splitlines()]) == (200, ["=One", "Two"])


async def _nothing_more() -> Any:
    await asyncio.Event().wait()
