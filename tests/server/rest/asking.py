"""One request to the application, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from starlette.applications import Starlette

from server.auth import Credentials, IdentityUnavailable, TokenRefused
from server.doors.rest.accounts import Accounts
from server.doors.rest.conflicts import ConflictServices
from server.doors.rest.limits import RestLimits
from server.doors.rest.transfer import TransferServices
from server.feeds import Feeds
from server.outbox import Outbox
from server.permissions import Identity, Role
from tests.server.bearers import for_workspace

NO_CONFLICTS = ConflictServices(cast(Any, None), cast(Any, None))
NO_OUTBOX = Outbox(cast(Any, None))
NO_TRANSFER = TransferServices(cast(Any, None), "")  # for tests that bring nothing in or out
NO_FEEDS = cast(Feeds, None)
IMPATIENT = RestLimits(min_seq_seconds=0.1)  # for the projection, which nobody runs
NO_ACCOUNTS = Accounts(*[cast(Any, None)] * 6)  # for what asks nothing of people


async def verify(credentials: Credentials, workspace: str | None) -> Identity:
    """`main`, `other` and `ghosts` are tokens of a member of these workspaces, `viewer` and `commenter` of one who
    reads or comments in `main`, `admin` of one who may do anything there."""
    token = credentials.token
    if token == "admin":
        return for_workspace(Identity("root", "main", Role.ADMIN), workspace)
    if token in ("viewer", "commenter"):
        return for_workspace(Identity("eve", "main", Role(token)), workspace)
    if token == "away":
        raise IdentityUnavailable("nobody knows")
    if token not in ("main", "other", "ghosts"):
        raise TokenRefused("no")
    return for_workspace(Identity("ana", token, Role.MEMBER), workspace)


async def everywhere(credentials: Credentials) -> list[Identity]:
    """Where the tokens of `verify` count."""
    return [await verify(credentials, None)]


async def ask(app: Starlette, method: str, address: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers of the answer. `more` as for `ask_raw`."""
    status, content, headers = await ask_raw(app, method, address, **more)
    return status, json.loads(content) if content else None, headers


async def ask_raw(
    app: Starlette, method: str, address: str, *, token: str | None = "main", body: bytes = b"", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of the answer."""
    path, _, query = address.partition("?")
    sent: list[Any] = []

    told = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not told:
            await asyncio.Event().wait()  # nothing more comes, and nobody hangs up
        return told.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"authorization": f"Bearer {token}"} if token else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    await app(scope, receive, send)
    content = b"".join(part.get("body", b"") for part in sent[1:])
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], content, got
