"""Workspaces, users and devices whose names are made to be taken for others: each sees its own and nothing else, by
every door. The workspaces hold one issue of the same id, each with a secret of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from crdt.native import Hello
from crdt.native_codec import encode
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.permissions import Role
from storage.tables import workspaces
from tests.attacks.arena import Arena
from tests.attacks.honest import People
from tests.peers.server_process import eventually
from tests.server.websocket_client import RawClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

NEIGHBOURS: Final = (
    "neighbour",
    "neighbour:1",
    "neighbour*",
    "*",
    "n_ighbour",
    "neighbour%",
    "neighbour%2f",
    "NEIGHBOUR",
    "neighb\u043eur",  # a Cyrillic o
    "neighbou\u0301r",  # and one that normalizes to another
    "neighbo\u00far",
    "\uff4eeighbour",  # a full-width n
    "neighbour ",
    "1",  # as an id might be
    "directory",  # a scope of the database
    "maintenance",
    "n" * 200,
)
UNREACHABLE: Final = ("neighbour/1", "..", "neighbour/../main")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secrets(ground: tuple[Arena, People]) -> tuple[UUID, Mapping[str, bytes]]:
    """The issue's id, and the secret of each neighbour."""
    arena, issue = ground[0], uuid4()
    found = {name: f"secret-{number:03}-".encode() for number, name in enumerate((*NEIGHBOURS, *UNREACHABLE))}
    async with arena.server.database() as database:
        for name in found:
            await database.execute(workspaces.CREATE, name, "", workspaces.PROJECTION)
    for name in NEIGHBOURS:
        body = json.dumps({"id": str(issue), "title": found[name].decode()}).encode()
        token = arena.token(workspace=name)
        status, answer = await arena.get(f"{address(name)}/issues", method="POST", token=token, body=body)
        assert status == 201, (name, answer)
    return issue, found


def address(workspace: str) -> str:
    return f"/v1/workspaces/{quote(workspace, safe='')}"


def only(secrets: Mapping[str, bytes], name: str, seen: bytes) -> bool:
    """Whether the secret of that neighbour is there. Another one must not be."""
    assert not [other for other, secret in secrets.items() if secret in seen and other != name]
    return secrets[name] in seen


async def until_seen(client: RawClient, secrets: Mapping[str, bytes], name: str) -> None:
    while not only(secrets, name, await client.message()):
        pass
    client.cut()


@pytest.mark.parametrize("name", NEIGHBOURS)
async def test_a_workspace_sees_its_own_issue_by_every_door(
    attacked: Arena, secrets: tuple[UUID, Mapping[str, bytes]], name: str
) -> None:
    (issue, known), token = secrets, attacked.token(workspace=name)
    status, answer = await attacked.get(f"{address(name)}/issues/{issue}?min_seq=1", token=token)
    assert status == 200
    assert only(known, name, answer)
    status, answer = await attacked.get(f"{address(name)}/issues", token=token)
    assert only(known, name, answer)
    status, answer = await attacked.get(f"{address(name)}/changes?mode=rows", token=token)
    assert only(known, name, answer)
    yjs = await RawClient.open(attacked.port, f"/yjs/{quote(name, safe='')}/{issue}?token={quote(token)}")
    yjs.send(y_websocket.sync_step1(b"\x00"))
    await until_seen(yjs, known, name)
    document = f"{name}/{issue}"
    peer = await attacked.over_hocuspocus(token, document)
    peer.send(attacked.addressed(y_websocket.sync_step1(b"\x00"), document))
    await until_seen(peer, known, name)
    native = await attacked.over_native(quote(name, safe=""))
    native.send(encode(Hello(token, "test", None, "updates", None, None, None)))
    await until_seen(native, known, name)


@pytest.mark.parametrize("name", [*NEIGHBOURS, *UNREACHABLE])
async def test_its_token_opens_no_other_workspace(
    attacked: Arena, secrets: tuple[UUID, Mapping[str, bytes]], name: str
) -> None:
    (issue, known), token = secrets, attacked.token(workspace=name, role=Role.OWNER)
    for other in {"main", "neighbour", "*", "1", "maintenance"} - {name}:
        for path in (f"/issues/{issue}", "/issues", "/export", "/audit", "/members"):
            status, answer = await attacked.get(f"{address(other)}{path}", token=token)
            assert status == 403, (other, path)
            assert not [secret for secret in known.values() if secret in answer]
        yjs = await RawClient.open(attacked.port, f"/yjs/{quote(other, safe='')}/{issue}?token={quote(token)}")
        assert await yjs.close_code() == close_codes.NOT_ALLOWED
        document = f"{other}/{issue}"
        peer = await attacked.over_hocuspocus(token, document)
        assert (await peer.message()).startswith(attacked.addressed(hocuspocus.denied("")[:2], document))
        peer.cut()


async def test_pairs_of_names_that_join_to_the_same_text_are_different_pairs(attacked: Arena) -> None:
    """Devices are of users: `a:b` with `c` is not `a` with `b:c`."""
    pairs = (("a:b", "c"), ("a", "b:c"), ("a:b:c", "x"), ("\u0430", "b:c"), ("a*", "b:c"))
    for user, device in pairs:
        status, _ = await attacked.get(f"{address('main')}/issues", token=attacked.token(user), X_Device_Id=device)
        assert status == 200
    admin = attacked.token("root", Role.ADMIN)

    async def revoked() -> set[tuple[str, str]]:
        _, answer = await attacked.get(f"{address('main')}/devices", token=admin)
        listed = json.loads(answer.partition(b"\r\n\r\n")[2])["devices"]
        return {(one["user_id"], one["id"]) for one in listed if one["revoked_at"] is not None}

    before = await revoked()
    path = f"{address('main')}/devices/{quote('a', safe='')}/{quote('b:c', safe='')}"

    async def revoke() -> bool:
        return (await attacked.get(path, method="DELETE", token=admin))[0] == 204

    await eventually(revoke, "the device is written down within a second of its first use")
    assert await revoked() - before == {("a", "b:c")}
