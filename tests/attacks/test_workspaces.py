"""Ids of another workspace, on every operation there is; and refresh tokens that are played again."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import uuid4

import pytest

from server import close_codes
from server.permissions import Role
from tests.attacks.arena import Arena
from tests.attacks.test_injection import document_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

SECRET: Final = "a secret of the other workspace"


async def other_workspace(arena: Arena) -> str:
    """An issue with a secret in it, of a workspace that eve's tokens are not for; its id. Its row is there."""
    if "next" not in (await arena.server.command("workspace", "list"))[1]:
        code, said = await arena.server.command("workspace", "create", "next")
        assert code == 0, said
    issue = str(uuid4())
    body = json.dumps({"id": issue, "title": SECRET, "description": SECRET, "labels": ["bug"]}).encode()
    status, answer = await arena.get(
        "/v1/workspaces/next/issues",
        method="POST",
        body=body,
        token=arena.token(workspace="next"),
        Content_Type="application/json",
    )
    assert status == 201, answer
    seq = json.loads(answer.partition(b"\r\n\r\n")[2])["seq"]
    token = arena.token(workspace="next")
    status, _ = await arena.get(f"/v1/workspaces/next/issues/{issue}?min_seq={seq}", token=token)
    assert status == 200
    return issue


def filled(path: str, workspace: str, issue: str) -> str:
    """A path with its places filled in."""
    for place in ("issue_id", "issue", "id"):
        path = path.replace("{" + place + "}", issue)
    path = path.replace("{workspace}", workspace)
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + issue + rest.partition("}")[2]
    return path


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Method and path of all that happens in a workspace."""
    return [
        (method, path) for path, methods in document["paths"].items() for method in methods if "{workspace}" in path
    ]


async def test_the_name_of_another_workspace_on_every_operation(attacked: Arena) -> None:
    issue = await other_workspace(attacked)
    found = operations(await document_of(attacked))
    assert len(found) > 20
    for method, path in found:
        address = filled(path, "next", issue)
        status, answer = await attacked.get(
            address, method=method.upper(), token=attacked.token(role=Role.OWNER), body=b"{}"
        )
        assert status == 403, (method, path, status)
        assert SECRET.encode() not in answer


async def test_an_issue_of_another_workspace_on_every_operation(attacked: Arena) -> None:
    """Its id says nothing here: not what it is, and not that it is."""
    issue = await other_workspace(attacked)
    stranger = str(uuid4())
    token = attacked.token(role=Role.OWNER)
    for method, path in operations(await document_of(attacked)):
        if "{issue" not in path and "{id" not in path:
            continue
        answers = [
            await attacked.get(filled(path, "main", each), method=method.upper(), token=token, body=b"{}")
            for each in (issue, stranger)
        ]
        assert answers[0][0] == answers[1][0], (method, path)
        assert SECRET.encode() not in answers[0][1]
    status, answer = await attacked.get(f"/v1/workspaces/next/issues/{issue}", token=attacked.token(workspace="next"))
    assert (status, SECRET.encode() in answer) == (200, True)  # nothing of the above touched it


async def test_a_list_of_one_workspace_holds_nothing_of_another(attacked: Arena) -> None:
    await other_workspace(attacked)
    for query in ("", "?q=secret", "?label=bug", "?limit=200"):
        _, answer = await attacked.get(f"/v1/workspaces/main/issues{query}", token=attacked.token(role=Role.OWNER))
        assert SECRET.encode() not in answer
    _, answer = await attacked.get("/v1/workspaces/main/changes?since=0", token=attacked.token(role=Role.OWNER))
    assert SECRET.encode() not in answer


async def test_a_refresh_token_that_is_played_again(attacked: Arena) -> None:
    """Whoever is second ends the login for both, and the sockets that came with it."""

    async def refreshed(token: str) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"refresh_token": token}).encode()
        status, answer = await attacked.get(
            "/v1/auth/token", method="POST", token="", body=body, Content_Type="application/json"
        )
        return status, json.loads(answer.partition(b"\r\n\r\n")[2])

    code, first = await attacked.server.command("token", "--user", "vic", "--refresh")
    assert code == 0
    status, vics = await refreshed(first.strip())
    assert status == 200
    socket = await attacked.over_yjs(token=vics["access_token"])
    status, _ = await refreshed(first.strip())  # the thief's copy
    assert status == 401
    assert await socket.close_code() == close_codes.UNAUTHORIZED
    for token in (vics["refresh_token"], first.strip(), vics["refresh_token"][:-1] + "x", vics["access_token"]):
        assert (await refreshed(token))[0] == 401
    assert (await attacked.get("/v1/workspaces/main/issues", token=vics["access_token"]))[0] == 401
