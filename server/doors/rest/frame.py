"""What every request of `/v1` goes through: who asks, may they, for what exactly, and how the answer says no."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from traceback import format_tb
from typing import Any, Final
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from server.audit import Note, Noting, unheard
from server.auth import IdentityUnavailable, NotAllowed, TokenRefused, Verify
from server.doors.credentials import presented_by
from server.doors.rest.arguments import (
    check_conditions,
    check_encoding,
    check_headers,
    read_body,
    read_bytes,
    read_place,
    read_query,
)
from server.doors.rest.headers import REQUEST_ID
from server.doors.rest.once import Done, Repeats, fingerprint, keyed_of
from server.doors.rest.operations import JSON, MAX_BODY_BYTES, Answering, Call, Nothing, Operation, Reply, Served
from server.doors.rest.problems import (
    FORBIDDEN,
    INTERNAL,
    PROBLEM_TYPE,
    PURGED,
    SOON,
    TOO_MANY,
    UNAUTHORIZED,
    UNAVAILABLE,
    UNKNOWN_WORKSPACE,
    Problem,
    too_many_edits,
)
from server.permissions import Identity
from server.rates import Rates
from storage.errors import Purged, StoreError
from storage.keyed_requests import Keyed, Once
from storage.store import Store, Workspace

Endpoint = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,100}")


class Frame:
    """Wraps what answers an operation. `note` hears of what is audited, and of who may not. Without `repeats`, keys of
    requests are not looked at. `verify_syncing`: for operations by which somebody syncs; default: `verify`."""

    def __init__(
        self,
        store: Store,
        verify: Verify,
        note: Noting = unheard,
        rates: Rates | None = None,
        repeats: Repeats | None = None,
        verify_syncing: Verify | None = None,
    ) -> None:
        self._store = store
        self._verify = verify
        self._verify_syncing = verify_syncing or verify
        self._note = note
        self._rates = rates
        self._repeats = repeats

    def around(self, served: Mapping[str, Served]) -> Endpoint:
        """The endpoint of a path: HTTP method → what answers it."""

        async def endpoint(request: Request) -> Response:
            request_id = request_id_of(request)
            one = served["GET" if request.method == "HEAD" else request.method]
            with structlog.contextvars.bound_contextvars(request_id=request_id, operation=one.operation.id):
                response = await self._respond(one, request, request_id)
            response.headers[REQUEST_ID.name] = request_id
            if (quota := getattr(request.state, "quota", None)) is not None:
                response.headers.update(quota.headers())
            response.headers.setdefault("Cache-Control", "private, no-cache")
            return response

        return endpoint

    async def _respond(self, served: Served, request: Request, request_id: str) -> Response:
        try:
            return response_of(await self._answer(served, request, request_id))
        except Problem as problem:
            return problem_response(problem, request_id)
        except Purged:
            return problem_response(Problem(PURGED), request_id)
        except (StoreError, TimeoutError, IdentityUnavailable) as error:
            log.warning("request not answered", reason=str(error) or "no answer in time")
            return problem_response(Problem(UNAVAILABLE, "try again later", headers=SOON), request_id)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        except Exception as error:  # noqa: BLE001 - a top loop: whatever it is, the client gets a problem document
            # Where, and not what it says: that may quote a document.
            log.error("request failed", error=type(error).__name__, at="".join(format_tb(error.__traceback__)))
            return problem_response(Problem(INTERNAL), request_id)

    async def _answer(self, served: Served, request: Request, request_id: str) -> Reply | Response:
        """Whoever limits, counts or records requests by caller does it in here, once the caller is known."""
        operation = served.operation
        self._count(request)
        caller = None if operation.needs is None else await self._caller(operation, request)
        if caller is not None:
            self._count(request, caller)
        place = read_place(operation.place, request.path_params)
        workspace = None
        if operation.is_in_workspace and caller is not None:
            workspace = await self._workspace(place.workspace)
        try:
            if caller is not None and operation.needs is not None and not operation.needs(caller):
                raise Problem(FORBIDDEN, f"the role {caller.role} does not allow it")
            check_headers(operation.headers, request)
            check_conditions(operation.headers, request)
            if operation.takes_body or operation.uploads:
                check_encoding(request)
            query = read_query(operation.query, request, operation.max_page)
            most = operation.max_body_bytes or MAX_BODY_BYTES
            sent = await read_bytes(request, most) if operation.takes_body else b""
            body = read_body(operation.body, sent) if operation.takes_body else Nothing()
            call = Call(place, query, body, request, request_id, workspace, caller, rates=self._rates)
            answer = await self._once(served, call, sent)
        except Problem as problem:
            if problem.kind is FORBIDDEN and caller is not None:
                self._note(_noted(operation, request, caller, {"reason": problem.detail}, is_refused=True))
            if problem.kind is UNAUTHORIZED:  # of an operation for everybody: signing in
                await self._delay(request)
            raise
        if operation.audited is not None and caller is not None:
            self._note(_noted(operation, request, caller, _told(operation.audited, call)))
        return answer

    async def _once(self, served: Served, call: Call[Any, Any, Any], sent: bytes) -> Reply | Response:
        """What answers it, once where it has a key."""
        keyed = None
        if self._repeats is not None and served.operation.takes_key:
            keyed = keyed_of(call.request, call.workspace, call.identity)
        if self._repeats is None or keyed is None:
            return await self._work(served, call)
        if not served.operation.uploads:
            return await self._repeated(keyed, call, sent, lambda once: self._work(served, replace(call, once=once)))

        async def answer_once(digest: bytes, answering: Answering) -> Reply | Response:
            return await self._repeated(keyed, call, digest, lambda _once: answering())

        return await self._work(served, replace(call, answer_once=answer_once))

    async def _work(self, served: Served, call: Call[Any, Any, Any]) -> Reply | Response:
        """What answers it; what of it they may not is noted. Raises `Problem` where its caller makes too many edits."""
        if served.operation.edits and (retry_after := (await call.grant([served.operation.edits])).retry_after):
            raise too_many_edits(retry_after)
        reply = await served.work(call)
        if isinstance(reply, Reply) and reply.forbidden is not None:
            told = {"reason": reply.forbidden}
            self._note(_noted(served.operation, call.request, call.identity, told, is_refused=True))
        return reply

    async def _repeated(
        self,
        keyed: Keyed,
        call: Call[Any, Any, Any],
        sent: bytes,
        answer: Callable[[Once], Awaitable[Reply | Response]],
    ) -> Response:
        async def work(once: Once) -> Done:
            reply = await answer(once)
            if isinstance(reply, Reply):
                return Done(response_of(reply), reply.is_final, reply.issue_id)
            return Done(reply)

        def told(problem: Problem) -> Response:
            return problem_response(problem, call.request_id)

        assert self._repeats is not None
        asked, issue_id = fingerprint(call.request, sent), getattr(call.place, "issue", None)
        return await self._repeats.answer(keyed, asked, issue_id, work, told)

    def _count(self, request: Request, caller: Identity | None = None) -> None:
        """A request from that address, then of that caller. Raises `Problem` when it comes too early."""
        if self._rates is None:
            return
        quota = self._rates.knock(_host(request)) if caller is None else self._rates.ask(caller)
        if quota is not None:
            request.state.quota = quota  # every answer states it
            if quota.wait:
                told = f"the {quota.name} makes more requests than it may"
                raise Problem(TOO_MANY, told, more={"retry_after": quota.retry_after})

    async def _caller(self, operation: Operation[Any, Any, Any], request: Request) -> Identity:
        verify = self._verify_syncing if operation.syncs else self._verify
        try:
            return await verify(presented_by(request), request.path_params.get("workspace"))
        except TokenRefused as refused:
            challenge = {"WWW-Authenticate": "Bearer"}
            await self._delay(request)
            raise Problem(UNAUTHORIZED, str(refused), headers=challenge) from None
        except NotAllowed as refused:
            raise Problem(FORBIDDEN, str(refused)) from None

    async def _delay(self, request: Request) -> None:
        if self._rates is not None:
            await self._rates.after_failure(_host(request))

    async def _workspace(self, slug: str) -> Workspace:
        workspace = await self._store.workspace(slug)
        if workspace is None:
            raise Problem(UNKNOWN_WORKSPACE)
        return workspace


def _noted(
    operation: Operation[Any, Any, Any],
    request: Request,
    caller: Identity,
    detail: Mapping[str, object],
    *,
    is_refused: bool = False,
) -> Note:
    named = {name: value for name, value in request.path_params.items() if name != "workspace"}
    came = presented_by(request)
    return Note.of(
        caller.workspace, operation.id, "http", caller, came, is_refused=is_refused, detail={**named, **detail}
    )


def _told(fields: tuple[str, ...], call: Call[Any, Any, Any]) -> dict[str, object]:
    """What the query and the body say of these."""
    found = {name: getattr(call.body, name, getattr(call.query, name, None)) for name in fields}
    return {name: value for name, value in found.items() if value is not None}


def _host(request: Request) -> str:
    return "" if request.client is None else request.client.host


def request_id_of(request: Request) -> str:
    """The one that was sent, where it is short and plain; else a new one."""
    sent = request.headers.get(REQUEST_ID.name, "")
    return sent if _SANE_ID.fullmatch(sent) else str(uuid4())


def response_of(reply: Reply | Response) -> Response:
    """A reply as bytes; what is a response already stays one."""
    if isinstance(reply, Response):
        return reply
    if reply.content is None:
        return Response(status_code=reply.status, headers=reply.headers)
    body = reply.content.model_dump_json(exclude_unset=reply.is_partial)
    return Response(body, status_code=reply.status, headers=reply.headers, media_type=JSON)


def problem_response(problem: Problem, request_id: str) -> Response:
    """The problem document."""
    return JSONResponse(
        problem.document(request_id),
        status_code=problem.kind.status,
        headers=problem.headers | {REQUEST_ID.name: request_id},
        media_type=PROBLEM_TYPE,
    )
