"""Faces of others, and more faces than a room holds."""

from __future__ import annotations

import asyncio
import json
from typing import Final
from uuid import uuid4

import pytest

from crdt import awareness
from crdt.awareness import AwarenessLimits, Entry
from server import close_codes
from server.dialects import y_websocket
from server.permissions import Role
from tests.attacks.arena import Arena
from tests.attacks.ways import PATIENCE_SECONDS
from tests.server.websocket_client import RawClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

LIMITS: Final = AwarenessLimits()
ANA: Final = 5151


def face(client: int, clock: int, state: object) -> bytes:
    """Presence of one client."""
    said = state if isinstance(state, bytes) else json.dumps(state).encode()
    return y_websocket.awareness(awareness.encode([Entry(client, clock, said)]))


async def seen(watcher: RawClient, client: int) -> dict[str, object] | None:
    """What is said of a client the next time something is; None when it has left."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            event = y_websocket.decode(await watcher.message())
            if isinstance(event, y_websocket.AwarenessUpdate):
                for entry in awareness.decode(event.update, LIMITS):
                    if entry.client == client:
                        state: dict[str, object] | None = json.loads(entry.state)
                        return state


async def test_a_face_that_says_it_is_somebody_else(attacked: Arena) -> None:
    issue = uuid4()
    watcher = await attacked.over_yjs(issue, attacked.token("ben"))
    eve = await attacked.over_yjs(issue)
    eve.send(face(1, 1, {"user": {"name": "Ana", "id": "ana"}, "syncline": {"user": "ana", "role": "owner"}}))
    state = await seen(watcher, 1)
    assert state is not None
    assert state["syncline"] == {"user": "eve", "role": "member"}
    assert state["user"] == {"name": "Ana", "id": "eve"}
    eve.cut()
    watcher.cut()


async def test_the_client_id_of_somebody_who_is_here(attacked: Arena) -> None:
    """Neither taken over nor said goodbye for, whatever the clock."""
    issue = uuid4()
    watcher = await attacked.over_yjs(issue, attacked.token("ben"))
    ana = await attacked.over_yjs(issue, attacked.token("ana"))
    ana.send(face(ANA, 1, {"at": 1}))
    assert await seen(watcher, ANA) is not None
    eve = await attacked.over_yjs(issue)
    eve.send(face(ANA, 1_000, {"at": "eve's"}))
    eve.send(face(ANA, 2**50, b"null"))
    eve.send(face(7, 1, {}))
    assert await seen(watcher, 7) is not None  # all of the above was heard
    ana.send(face(ANA, 2, {"at": 2}))
    state = await seen(watcher, ANA)
    assert state is not None
    assert (state["at"], state["syncline"]) == (2, {"user": "ana", "role": "member"})
    for client in (ana, eve, watcher):
        client.cut()


async def test_a_viewer_is_seen_as_one(attacked: Arena) -> None:
    issue = uuid4()
    watcher = await attacked.over_yjs(issue, attacked.token("ben"))
    eve = await attacked.over_yjs(issue, attacked.token("eve", Role.VIEWER))
    eve.send(face(1, 1, {"syncline": {"role": "admin"}}))
    state = await seen(watcher, 1)
    assert state is not None
    assert state["syncline"] == {"user": "eve", "role": "viewer"}
    eve.cut()
    watcher.cut()


async def test_a_thousand_faces_of_one_socket(attacked: Arena) -> None:
    """It may announce 64; the others are not heard, and with the socket all of them go."""
    issue = uuid4()
    eve = await attacked.over_yjs(issue)
    for client in range(1, 1_001):
        eve.send(face(client, 1, {}))
    eve.send(y_websocket.sync_step1(b"\x00"))
    while not (await eve.message()).startswith(b"\x00\x01"):
        pass
    watcher = await attacked.over_yjs(issue, attacked.token("ben"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not isinstance(event := y_websocket.decode(await watcher.message()), y_websocket.AwarenessUpdate):
            pass
    assert len(awareness.decode(event.update, LIMITS)) == LIMITS.max_clients_per_session
    eve.cut()
    assert await seen(watcher, 1) is None
    watcher.cut()


async def test_a_flood_of_presence(attacked: Arena) -> None:
    """Everybody in the issue is told of the newest once a turn, not of each."""
    eve = await attacked.over_yjs()
    for clock in range(1, 20_001):
        eve.send(face(9, clock, {"cursor": clock}))
    await asyncio.wait_for(eve.writer.drain(), PATIENCE_SECONDS)
    eve.cut()


TOO_MUCH: Final = {
    "a state of 17 KiB": face(1, 1, {"x": "y" * 17 * 2**10}),
    "a state 100 levels deep": face(1, 1, b"[" * 100 + b"]" * 100),
    "5,000 clients in an update": y_websocket.awareness(
        awareness.encode([Entry(client, 1, b"{}") for client in range(5_000)])
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_presence_beyond_its_bounds(attacked: Arena, name: str) -> None:
    eve = await attacked.over_yjs()
    eve.send(TOO_MUCH[name])
    assert await eve.close_code() == close_codes.TOO_MUCH


NO_JSON: Final = {
    "no JSON": b"{",
    "NaN": b"NaN",
    "two values": b"{} {}",
    "no UTF-8": b'"\xff"',
    "a script that ends a page": b'{"name": </script>}',
}


@pytest.mark.parametrize("name", NO_JSON)
async def test_presence_that_every_browser_would_trip_over(attacked: Arena, name: str) -> None:
    eve = await attacked.over_yjs()
    eve.send(face(1, 1, NO_JSON[name]))
    assert await eve.close_code() == close_codes.BAD_REQUEST
