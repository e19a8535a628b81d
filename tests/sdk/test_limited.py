"""The SDK and a real server that takes less than it is sent: the SDK waits as it is told, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any
from uuid import UUID, uuid4

import pytest

from syncline import Client, TooManyRequests
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess
from tests.sdk.test_against_server import client_of

WORKSPACE = "/v1/workspaces/main"


async def ask(server: ServerProcess, user: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{WORKSPACE}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {server.token(user)}"},
        method=method,
    )

    def answer() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=20) as answered:
                return answered.status, json.load(answered)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    return await asyncio.to_thread(answer)


async def counted(server: ServerProcess, line: str) -> float:
    _, text = await server.get("/metrics")
    return sum(float(each.split()[1]) for each in text.splitlines() if each.startswith(line))


@pytest.mark.long
async def test_what_was_typed_too_fast_is_all_there_in_its_order_a_little_later() -> None:
    flags = ("--max-user-edits", "20", "--burst-seconds", "0.5", "--edit-delay-seconds", "0.1")
    async with forking(*flags) as server, client_of(server, "ana") as ana, client_of(server, "ben") as ben:
        issues = [(await ana.issues.create(title=f"issue {number}")).id for number in range(6)]
        said = [f"comment {number}" for number in range(10)]
        for comment in said:
            for issue in issues:
                await ana.issues.comment(issue, comment)
        await ana.sent()
        assert await counted(server, 'syncline_refusals_total{reason="too_fast"}') > 0
        assert ana.status.pending == 0
        for issue in issues:
            assert await heard(ben, issue, len(said)) == said


async def heard(client: Client, issue: UUID, count: int) -> list[str]:
    """The comments of an issue, once there are so many."""
    async for change in client.changes(since=0):
        if change.issue.id == issue and len(change.issue.comments) == count:
            return [comment.body for comment in change.issue.comments]
    raise AssertionError("the changes have ended")


@pytest.mark.long
async def test_a_request_too_many_is_made_when_the_server_says_so() -> None:
    async with forking("--max-user-requests", "1", "--burst-seconds", "1") as server, client_of(server, "ana") as ana:
        conflict = await overwritten(server)
        assert (await ask(server, "ana", "GET", "/conflicts"))[0] == 200  # all she may for now
        resolved = await ana.conflicts.resolve(conflict, "losing")
        assert (resolved.id, resolved.resolution) == (conflict, "losing")
        assert await counted(server, 'syncline_over_rates_total{limit="user"}') > 0


@pytest.mark.long
async def test_who_would_have_to_wait_for_long_is_told_so() -> None:
    flags = ("--max-user-requests", "0.02", "--burst-seconds", "50")
    async with forking(*flags) as server, client_of(server, "ana") as ana:
        assert (await ask(server, "ana", "GET", "/conflicts"))[0] == 200
        with pytest.raises(TooManyRequests) as late:
            await ana.conflicts.resolve(uuid4(), "losing")
        assert 30 <= late.value.retry_after <= 50


async def overwritten(server: ServerProcess) -> UUID:
    """A conflict: of two who set a status, one had not seen what the other did. Each user makes one request."""
    issue = str(uuid4())
    assert (await ask(server, "ben", "POST", "/issues", {"id": issue, "title": "Search is slow"}))[0] == 201
    assert (await ask(server, "carl", "PATCH", f"/issues/{issue}", {"status": "open"}))[0] == 200
    operation = {
        "id": 1,
        "table_name": "issues",
        "record_id": issue,
        "operation": "update",
        "data": {"status": "done"},
        "created_at": "2026-01-01T00:00:00Z",
        "base_version": 1,
    }
    status, told = await ask(server, "dave", "POST", "/sync", {"device_id": "phone", "operations": [operation]})
    assert (status, told["results"][0]["status"]) == (200, "conflict"), told
    _, listed = await ask(server, "erin", "GET", "/conflicts?state=resolved")
    return UUID(listed["conflicts"][0]["id"])
