"""The OpenAPI document is a promise: whatever is sent to a running server, each route answers what it says it may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, CheckContext, CheckFunction, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from server.doors.rest.problems import BUSY, INVALID, NOT_PROJECTED
from server.permissions import Role
from tests.peers.server_process import ServerProcess, serving

AnyOperation: TypeAlias = APIOperation[Any, Any, Any, Any]

EXAMPLES: Final = int(os.environ.get("CONTRACT_EXAMPLES", "4"))  # an operation, of each kind; set it to look harder
SECONDS_MAX: Final = 20.0  # for one answer
ISSUE: Final = str(UUID(int=7))
NAMED: Final = {"workspace": "main", "issue": ISSUE, "comment": "c1", "label": "bug", "user": "ben", "device": "phone"}
KINDS: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# Field → why no schema tells what is refused of it.
BEYOND_SCHEMAS: Final = {
    "If-Match": "a list of entity tags",
    "cursor": "opaque, and of one list",
    "reload": "not beside since, and nothing of conflicts",
    "sort": "a column is named once",
    "to": "of a revert: an issue has a beginning",
    "map": "a language of rules",
}
EACH_ALONE: Final = {"sync"}  # what is wrong with an operation of a queue is said in its result
MAY_HAPPEN: Final = {kind.uri for kind in (BUSY, NOT_PROJECTED)}  # whoever asks for too much is told so with a 503


@dataclass(frozen=True, slots=True)
class Target:
    """A server in use. `names`: what its paths may name."""

    url: str
    session: requests.Session
    schema: BaseSchema
    names: dict[str, str]

    def send(self, method: str, path: str, body: Any) -> Any:
        """To `main`; what was answered."""
        answer = self.session.request(method, f"{self.url}/v1/workspaces/main{path}", json=body, timeout=SECONDS_MAX)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None


@pytest.mark.long(seconds=30)
async def test_every_route_answers_as_the_document_says() -> None:
    async with serving("--host", "127.0.0.1") as server:
        found = await asyncio.to_thread(lambda: list(broken(in_use(server))))
    assert not found, "\n\n".join(found)


def in_use(server: ServerProcess) -> Target:
    """The server with an issue, a comment, a conflict and an import in it, and the fuzzer as an owner."""
    url = f"http://127.0.0.1:{server.port}"
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {server.token('fuzz', Role.OWNER)}"
    document = session.get(f"{url}/v1/openapi.json", timeout=SECONDS_MAX).json()
    target = Target(url, session, schemathesis.openapi.from_dict(document), dict(NAMED))
    target.schema.config.generation.update(with_security_parameters=False)  # who asks is another test's matter
    target.send("POST", "/issues", {"id": ISSUE, "title": "There", "labels": ["bug"]})
    target.send("POST", f"/issues/{ISSUE}/comments", {"id": "c1", "body": "Yes"})
    target.send("PUT", "/members/fuzz", {"role": "owner"})
    target.send("PUT", "/members/ben", {"role": "member"})
    for device, status in ("phone", "open"), ("laptop", "done"):
        edit: dict[str, Any] = {"id": device, "table_name": "issues", "record_id": ISSUE, "operation": "update"}
        edit |= {"data": {"status": status}, "base_version": 1, "created_at": "2026-01-01T00:00:00Z"}
        target.send("POST", "/sync", {"device_id": device, "operations": [edit]})
    target.names["conflict"] = target.send("GET", "/conflicts", None)["conflicts"][0]["id"]
    target.send("POST", "/import", [{"id": str(UUID(int=8)), "title": "Imported"}])
    target.names["batch"] = target.send("GET", "/imports", None)["imports"][0]["id"]
    return target


def broken(target: Target) -> Iterator[str]:
    """What no operation may do, told once an operation and kind."""
    for result in target.schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        for kind in KINDS:
            try:
                tried(operation, kind, target)
            except (AssertionError, requests.RequestException) as error:
                yield f"{operation.label}, {kind.value}: {error}"


def tried(operation: AnyOperation, kind: GenerationMode, target: Target) -> None:
    """Send requests that fit the models, or that do not. Raises what a check finds."""
    if kind is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=kind), data=st.data())
    def asked(case: Case[Any], data: st.DataObject) -> None:
        for name in case.path_parameters:
            if name in target.names and (name == "workspace" or data.draw(st.booleans())):
                case.path_parameters[name] = target.names[name]
        if isinstance(case.query.get("min_seq"), int):
            case.query["min_seq"] = data.draw(st.integers(0, 3))  # a later one is waited for
        if isinstance(case.query.get("wait"), int):
            case.query["wait"] = data.draw(st.integers(0, 1))  # seconds
        answer = case.call(base_url=target.url, session=target.session, timeout=SECONDS_MAX)
        excluded = [positive_data_acceptance, *(no_promise(operation, answer))]
        try:
            case.validate_response(answer, additional_checks=[accepts_what_fits, tells_why], excluded_checks=excluded)
        except FailureGroup as failures:
            said = [f"{type(one).__name__}: {one}" for one in failures.exceptions]
            raise AssertionError("\n".join([*said, case.as_curl_command(), answer.text[:1_000]])) from None

    asked()


def no_promise(operation: AnyOperation, answer: Response) -> Iterator[CheckFunction]:
    """Checks of what nobody promises."""
    if answer.status_code == 503 and "retry-after" in answer.headers and answer.json()["type"] in MAY_HAPPEN:
        yield not_a_server_error
    if operation.definition.raw["operationId"] in EACH_ALONE:
        yield negative_data_rejection


def accepts_what_fits(_context: CheckContext, answer: Response, case: Case[Any]) -> None:
    """What fits the models is refused for what is there, never for how it is said."""
    if case.meta is None or not case.meta.generation.mode.is_positive or answer.status_code != 422:
        return
    problem = answer.json()
    if problem["type"] == INVALID.uri:
        wrong = {error["field"] for error in problem["errors"]} - BEYOND_SCHEMAS.keys()
        assert not wrong, f"the models allow what is refused: {problem['errors']}"


def tells_why(_context: CheckContext, answer: Response, _case: Case[Any]) -> None:
    """Every no is a problem document that names the request."""
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert [problem["request_id"]] == answer.headers["x-request-id"]
