"""The document that describes `/v1`, and the page that shows it."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.arguments import read_query
from server.doors.rest.frame import Frame
from server.doors.rest.limits import RestLimits
from server.doors.rest.models import ListParameters
from server.doors.rest.operations import Answer, Nothing, Operation, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.polls import PollLimits
from server.doors.rest.problems import CATALOGUE, TYPE_PREFIX
from server.doors.rest.routes import routes_of
from server.doors.rest.transfer import TransferServices
from server.metrics import Metrics
from server.permissions import may_comment, may_edit, may_read
from tests.server.rest.asking import NO_ACCOUNTS, NO_CONFLICTS, NO_FEEDS, NO_OUTBOX, ask, ask_raw, everywhere, verify
from tests.server.rest.conftest import Api


def all_served(limits: RestLimits | None = None) -> list[Served]:
    """All operations. What only describes them needs no services."""
    nothing: Any = None
    transfer = TransferServices(nothing, "")
    people = (NO_CONFLICTS, NO_ACCOUNTS, NO_OUTBOX, everywhere, NO_FEEDS)
    return operations_of(ApiServices(nothing, nothing, nothing, transfer, *people, limits or RestLimits()))


async def ready() -> None: ...


@pytest.fixture
async def served() -> list[Served]:
    return all_served()


async def test_every_operation_that_edits_issues_counts_edits(served: list[Served]) -> None:
    writes = [each.operation for each in served if each.operation.needs in (may_edit, may_comment)]
    uncounted = {each.id for each in writes if not each.edits}
    assert uncounted == {"createIssues", "patchIssues", "sync"}, "who ask for as many as their bodies hold"


class TestLimits:
    """What a request may ask for is as the settings say, and stated."""

    @pytest.fixture
    async def app(self) -> Starlette:
        limits = RestLimits(body_bytes=100, page=7, bulk_issues=2, polls=PollLimits(longest_seconds=5))
        store: Any = type("Store", (), {"workspace": staticmethod(self.workspace)})()
        return http_app(Metrics(), ready, routes_of(Frame(store, verify), all_served(limits)))

    async def workspace(self, slug: str) -> Any:
        return type("Found", (), {"id": 1, "slug": slug})

    async def test_they_hold(self, app: Starlette) -> None:
        at = "/v1/workspaces/main"
        three = b'{"issues": [{"title": "a"}, {"title": "b"}, {"title": "c"}]}'
        for method, address, body, status, wrong in (
            ("GET", "/issues?limit=8", b"", 422, ["limit"]),
            ("GET", "/audit?limit=8", b"", 422, ["limit"]),
            ("GET", "/activity?limit=8", b"", 422, ["limit"]),
            ("POST", "/issues", b" " * 101, 413, []),
            ("POST", "/issues/bulk", three, 422, ["issues"]),
        ):
            told, problem, _ = await ask(app, method, at + address, body=body, token="admin")
            assert (told, [each["field"] for each in problem.get("errors", [])]) == (status, wrong)

    async def test_who_names_no_number_gets_a_page_of_the_most(self) -> None:
        asked = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
        assert read_query(ListParameters, asked, 7).limit == 7
        assert read_query(ListParameters, asked, 100).limit == 50

    async def test_they_are_stated(self, app: Starlette) -> None:
        _, document, _ = await ask(app, "GET", "/v1/openapi.json", token=None)
        paths = {path.removeprefix("/v1/workspaces/{workspace}"): one for path, one in document["paths"].items()}
        listed = next(each for each in paths["/issues"]["get"]["parameters"] if each["name"] == "limit")
        assert (listed["schema"]["maximum"], listed["schema"]["default"]) == (7, 7)
        assert paths["/issues"]["post"]["requestBody"]["description"] == "At most 100 bytes."
        assert "At most 2 items." in paths["/issues/bulk"]["patch"]["description"]
        assert "At most 1000 operations." in paths["/sync"]["post"]["description"]
        assert "at most 5 seconds" in paths["/changes"]["get"]["description"]


@pytest.fixture
async def app(served: list[Served]) -> Starlette:
    nothing: Any = None
    return http_app(Metrics(), ready, routes_of(Frame(nothing, verify), served))


async def test_the_document_describes_each_operation_with_its_models_and_problems(
    app: Starlette, served: list[Served]
) -> None:
    status, document, _ = await ask(app, "GET", "/v1/openapi.json", token=None)
    assert (status, document["openapi"]) == (200, "3.1.0")
    described = {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described.keys() == {(one.operation.path, one.operation.method.lower()) for one in served}
    for one in served:
        operation = described[one.operation.path, one.operation.method.lower()]
        assert operation["operationId"] == one.operation.id
        told = "".join(answer["description"] for answer in operation["responses"].values())
        assert all(f"`{kind.slug}`" in told for kind in one.operation.every_problem())
    assert len({one.operation.id for one in served}) == len(served)


async def test_what_the_document_refers_to_is_in_it(app: Starlette) -> None:
    _, document, _ = await ask(app, "GET", "/v1/openapi.json", token=None)
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert wanted == document["components"]["schemas"].keys()


async def test_an_operation_whose_path_and_model_differ_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="different things"):
        Operation(
            method="GET",
            path="/v1/issues/{issue}",
            id="x",
            tag="x",
            summary="x",
            place=InWorkspace,
            query=Nothing,
            body=Nothing,
            needs=may_read,
            answers={HTTPStatus.OK: Answer("x")},
        )


async def test_a_name_of_a_path_without_a_problem_is_a_mistake() -> None:
    class OfShelf(InWorkspace):
        shelf: str

    with pytest.raises(ValueError, match="nothing is said where shelf"):
        Operation(
            method="GET",
            path="/v1/workspaces/{workspace}/shelves/{shelf}",
            id="x",
            tag="x",
            summary="x",
            place=OfShelf,
            query=Nothing,
            body=Nothing,
            needs=may_read,
            answers={HTTPStatus.OK: Answer("x")},
        )


@pytest.mark.parametrize(
    ("method", "path", "slug"),
    [
        ("PUT", "members/a%01", "unknown-user"),
        ("DELETE", "devices/a%01/phone", "unknown-device"),
        ("DELETE", "tokens/%7f", "unknown-token"),
    ],
)
async def test_a_name_that_can_be_none_is_unknown(api: Api, method: str, path: str, slug: str) -> None:
    status, problem, _ = await api(method, f"/{unquote(path)}", {"role": "viewer"}, token="admin")
    assert (status, problem["type"]) == (404, TYPE_PREFIX + slug)


async def test_what_the_document_says_of_moments_reverts_and_request_ids_is_what_is_taken(app: Starlette) -> None:
    _, document, _ = await ask(app, "GET", "/v1/openapi.json", token=None)
    history = document["paths"]["/v1/workspaces/{workspace}/issues/{issue}/diff"]["get"]
    by_name = {parameter["name"]: parameter["schema"] for parameter in history["parameters"]}
    assert {"format": "date-time"} in by_name["from"]["anyOf"]
    assert "maxLength" not in by_name["X-Request-Id"]  # another is made up, nothing is refused
    to, since = document["components"]["schemas"]["RevertRequest"]["oneOf"]
    assert to["allOf"][0]["required"] == ["to"]
    assert since["allOf"][0]["required"] == ["since"]


async def test_an_operation_is_registered_once(served: list[Served]) -> None:
    with pytest.raises(ValueError, match="twice"):
        routes_of(cast(Any, None), [*served, served[0]])


async def test_the_page_runs_its_own_script_and_nothing_else(app: Starlette) -> None:
    status, page, headers = await ask_raw(app, "GET", "/v1/docs", token=None)
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'sha256-" in headers["content-security-policy"]
    assert not re.search(rb"https?://|//cdn|style=|onclick=", page)


def test_the_problems_are_explained_in_the_documentation() -> None:
    rows = [f"| `{kind.slug}` | {int(kind.status)} | {kind.when} | {kind.remedy} |" for kind in CATALOGUE]
    table = "\n".join(sorted(rows))
    assert table in Path("docs/rest.md").read_text(), f"the table of problems in docs/rest.md should be\n{table}"


async def test_an_unknown_address_and_a_wrong_method_have_types_too(app: Starlette) -> None:
    status, problem, _ = await ask(app, "GET", "/v1/nonsense")
    assert (status, problem["type"]) == (404, TYPE_PREFIX + "unknown-route")
    assert "/v1/" in problem["detail"], "where to look"
    status, problem, headers = await ask(app, "PUT", "/v1/workspaces/main/issues")
    assert (status, problem["type"]) == (405, TYPE_PREFIX + "method-not-allowed")
    assert set(headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_a_sane_request_id_is_kept_and_another_replaced(app: Starlette) -> None:
    for sent, is_kept in [("abc-1.2", True), ("x" * 101, False), ("a b", False)]:
        _, problem, headers = await ask(app, "GET", "/v1/workspaces/main/issues", token=None, x_request_id=sent)
        assert (headers["x-request-id"] == sent) is is_kept
        assert problem["request_id"] == headers["x-request-id"]
