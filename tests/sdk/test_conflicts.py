"""Two devices and a server: what is overwritten is shown on both, given back on one, and gone from both lists."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from server.permissions import Role
from syncline import (
    Client,
    Conflict,
    ConflictNotFound,
    ConflictResolved,
    NotAccepted,
    ServerUnreachable,
    State,
)
from syncline.commands import application
from tests.peers.server_process import ServerProcess, serving
from tests.sdk.server import faked
from tests.sdk.test_against_server import client_of


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    async with serving() as running:
        request = urllib.request.Request(
            f"http://127.0.0.1:{running.port}/v1/workspaces/main/conflict-policy",
            json.dumps({"fields": {"*": "user_decision"}}).encode(),
            {"Authorization": f"Bearer {running.token('admin', Role.ADMIN)}"},
            method="PUT",
        )
        with await asyncio.to_thread(urllib.request.urlopen, request, timeout=20):
            yield running


async def overwritten(server: ServerProcess, ana: Client, ben: Client) -> UUID:
    """An issue whose status both set without knowing of each other."""
    issue = (await ana.issues.create(title="Search is slow", status="open")).id
    await until(ben, lambda: has_issue(ben, issue))
    await server.terminate()
    for client in (ana, ben):
        await client.status.until(State.OFFLINE)
    await ana.issues.update(issue, status="in_progress")
    await ben.issues.update(issue, status="blocked")
    await server.start()
    for client in (ana, ben):
        client.try_now()
        await client.sent()
    return issue


async def has_issue(client: Client, issue: UUID) -> bool:
    return any(each.id == issue for each in await client.issues.list())


async def until(client: Client, holds: Callable[[], Awaitable[bool]]) -> None:
    async for _ in client._moved.beats():
        if await holds():
            return


async def listed(client: Client, count: int) -> list[Conflict]:
    """Its open conflicts, once there are so many."""

    async def are_there() -> bool:
        return len(await client.conflicts.list()) == count

    await until(client, are_there)
    return await client.conflicts.list()


async def test_what_was_overwritten_is_listed_everywhere_and_given_back(server: ServerProcess, tmp_path: Path) -> None:
    async with client_of(server, "ana", tmp_path / "ana.db") as ana, client_of(server, "ben") as ben:
        issue = await overwritten(server, ana, ben)
        [conflict] = await listed(ana, 1)
        assert await listed(ben, 1) == [conflict]
        assert {conflict.standing.value, conflict.losing.value} == {"in_progress", "blocked"}
        assert (conflict.issue_id, conflict.field, conflict.is_open) == (issue, "status", True)

        watching = asyncio.create_task(watched(ben, 2))
        resolved = await ana.conflicts.resolve(conflict.id, "losing")
        assert (resolved.resolution, resolved.resolved_by) == ("losing", "ana")
        assert [(each.id, each.resolution) for each in await watching] == [
            (conflict.id, None),
            (conflict.id, "losing"),
        ]
        for client in (ana, ben):
            await listed(client, 0)
            assert [each.resolution for each in await client.conflicts.list(issue, is_open=False)] == ["losing"]
            await until(client, lambda client=client: has_status(client, issue, conflict.losing.value))  # type: ignore[misc]
        with pytest.raises(ConflictResolved) as late:
            await ben.conflicts.resolve(conflict.id, "standing")
        assert (late.value.by, late.value.resolution) == ("ana", "losing")


async def has_status(client: Client, issue: UUID, status: str) -> bool:
    return (await client.issues.get(issue)).status == status


async def watched(client: Client, count: int) -> list[Conflict]:
    seen: list[Conflict] = []
    async for conflict in client.conflicts.watch():
        seen.append(conflict)
        if len(seen) == count:
            break
    return seen


@pytest.mark.long
async def test_who_was_away_is_told_of_what_happened_meanwhile(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "ana.db"
    async with client_of(server, "ben") as ben:
        async with client_of(server, "ana", path) as ana:
            await overwritten(server, ana, ben)
            [conflict] = await listed(ana, 1)
        await ben.conflicts.resolve(conflict.id, "value", "done")
    async with client_of(server, "ana", path) as ana:
        assert len(await ana.conflicts.list()) == 1, "on this device, before anybody is asked"
        await listed(ana, 0)
        [resolved] = await ana.conflicts.list(is_open=False)
        assert (resolved.resolution, resolved.resolved_value, resolved.resolved_by) == ("value", "done", "ben")


@pytest.mark.long
async def test_a_decision_is_refused_for_a_reason(server: ServerProcess) -> None:
    async with client_of(server, "ana") as ana, client_of(server, "ben") as ben:
        await overwritten(server, ana, ben)
        [conflict] = await listed(ana, 1)
        with pytest.raises(ConflictNotFound):
            await ana.conflicts.resolve(uuid4(), "losing")
        viewer = Client(f"http://127.0.0.1:{server.port}", token=server.token("vera", Role.VIEWER))
        async with viewer:
            await listed(viewer, 1)
            with pytest.raises(NotAccepted) as refused:
                await viewer.conflicts.resolve(conflict.id, "losing")
            assert refused.value.code == "forbidden"
        await server.terminate()
        with pytest.raises(ServerUnreachable):
            await ana.conflicts.resolve(conflict.id, "losing")


@pytest.mark.long
async def test_the_commands_show_and_resolve(server: ServerProcess, tmp_path: Path) -> None:
    async with client_of(server, "ana") as ana, client_of(server, "ben") as ben:
        await overwritten(server, ana, ben)
        await listed(ana, 1)

    def shell(*arguments: str) -> str:
        common = ("--url", f"http://127.0.0.1:{server.port}", "--token", server.token("carla"), "--wait", "20")
        result = CliRunner().invoke(application(), ["conflicts", *arguments, *common, "--store", f"{tmp_path}/c.db"])
        assert result.exit_code == 0, result.output
        return result.stdout

    def told() -> Any:
        return [json.loads(line) for line in shell("list", "--json").splitlines()]

    [conflict] = await asyncio.to_thread(told)
    assert conflict["losing"]["value"] in await asyncio.to_thread(shell, "list")
    shown = await asyncio.to_thread(shell, "show", conflict["id"][:8])
    assert all(conflict[side]["value"] in shown for side in ("standing", "losing"))
    kept = await asyncio.to_thread(shell, "resolve", conflict["id"][:8], "--keep", "losing")
    assert conflict["losing"]["value"] in kept
    assert await asyncio.to_thread(told) == []
    assert "losing" in await asyncio.to_thread(shell, "list", "--all")


async def test_an_older_server_is_not_asked(tmp_path: Path) -> None:
    """`faked` announces no conflicts, and knows no frame that asks for them."""
    async with faked() as server, Client(server.url, token="ana", path=tmp_path / "ana.db") as ana:
        await ana.status.until(State.LIVE)
        await (await ana.issues.create(title="x")).committed
        assert await ana.conflicts.list() == []
        assert ana.status.state is State.LIVE


@pytest.mark.parametrize("deletes", [True, False])
async def test_edited_here_and_deleted_there_is_found_and_restored_with_one_call(
    server: ServerProcess, tmp_path: Path, deletes: bool
) -> None:
    """Ben is offline, and comes back after everything that Ana did is known to everybody."""
    path = tmp_path / "ben.db"
    async with client_of(server, "ana") as ana:
        issue = (await ana.issues.create(title="Search is slow", status="open")).id
        async with client_of(server, "ben", path) as ben:
            await until(ben, lambda: has_issue(ben, issue))
        async with Client("http://127.0.0.1:9", token="", path=path) as ben:
            await (ben.issues.delete(issue) if deletes else ben.issues.update(issue, status="blocked"))
        await (ana.issues.update(issue, status="blocked") if deletes else ana.issues.delete(issue))
        await ana.sent()
        async with client_of(server, "ben", path) as ben:
            [conflict] = await listed(ana, 1)
            editor, deleter = ("ana", "ben") if deletes else ("ben", "ana")
            assert (conflict.kind, conflict.field, conflict.standing.actor_id) == (
                "update_delete",
                "deleted_at",
                deleter,
            )
            assert (conflict.losing.actor_id, conflict.losing.value) == (editor, {"status": "blocked"})
            await ben.conflicts.resolve(conflict.id, "losing")
            for client in (ana, ben):
                await listed(client, 0)
                await until(client, lambda client=client: is_back(client, issue))  # type: ignore[misc]


async def is_back(client: Client, issue: UUID) -> bool:
    now = await client.issues.get(issue)
    return (now.deleted_at, now.status) == (None, "blocked")
