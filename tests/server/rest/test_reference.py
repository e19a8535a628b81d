"""The document that describes `/v1`, and the page that shows it."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from server.doors.http import http_app
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.frame import Frame
from server.doors.rest.operations import Answer, Nothing, Operation, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import CATALOGUE, TYPE_PREFIX
from server.doors.rest.routes import routes_of
from server.doors.rest.transfer import TransferServices
from server.metrics import Metrics
from server.permissions import may_comment, may_edit, may_read
from tests.server.rest.asking import NO_ACCOUNTS, NO_CONFLICTS, NO_FEEDS, NO_OUTBOX, ask, ask_raw, everywhere, verify
from tests.server.rest.conftest import Api


async def ready() -> None: ...


@pytest.fixture
async def served() -> list[Served]:
    nothing: Any = None  # what is described needs no services
    return operations_of(
        ApiServices(
            nothing,
            nothing,
            nothing,
            TransferServices(nothing, ""),
            NO_CONFLICTS,
            NO_ACCOUNTS,
            NO_OUTBOX,
            everywhere,
            NO_FEEDS,
        )
    )


async def test_every_operation_that_edits_issues_counts_edits(served: list[Served]) -> None:
    writes = [each.operation for each in served if each.operation.needs in (may_edit, may_comment)]
    uncounted = {each.id for each in writes if not each.edits}
    assert uncounted == {"createIssues", "patchIssues", "sync"}, "who ask for as many as their bodies hold"


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
