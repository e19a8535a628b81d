"""Unmodified y-websocket clients in Node, as objects: a `Browser` is a process, a `Tab` one replica on one socket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.js.toolchain import Script, running
from tests.js.watched import PATIENCE, Watched


@dataclass(frozen=True, slots=True)
class Address:
    """Where a provider connects: `url` without the room, e.g. ws://127.0.0.1:8080/yjs/main."""

    url: str
    room: str
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class Replica:
    """What one replica held when it was asked. `content` is by root, see content.mjs."""

    content: dict[str, Any]
    state_vector: bytes
    update: bytes
    client_id: int
    status: str
    synced: bool
    connections: int
    closes: list[int]
    stopped: dict[str, Any] | None

    @property
    def description(self) -> str:
        """The text of root `description`."""
        text = self.content["description"]["text"]
        assert isinstance(text, str)
        return text


class Tab(Watched):
    """One replica behind one y-websocket provider; conditions are in client.mjs."""

    async def edit(self, *operations: dict[str, Any]) -> None:
        """Apply operations (content.mjs) in one transaction."""
        await self._call("edit", operations=operations)

    async def edit_and_undo(self, *operations: dict[str, Any], roots: Sequence[str]) -> None:
        """Apply operations, and take them back with a `Y.UndoManager` over `roots`."""
        await self._call("editAndUndo", operations=operations, roots=roots)

    async def set_field(self, key: str, value: object) -> None:
        """Set one key of root `fields`."""
        await self.edit({"op": "set", "root": "fields", "key": key, "value": value})

    async def wait_closed(self, *codes: int, deadline: float = PATIENCE) -> None:
        """Wait until the server has closed a socket of this tab with one of `codes`."""
        await self.wait("closed", codes=codes, deadline=deadline)

    async def wait_covers(self, other: Replica, *, deadline: float = PATIENCE) -> None:
        """Wait until this replica has all that `other` had inserted. A state vector does not tell of deletions."""
        await self.wait("covers", stateVector=base64.b64encode(other.state_vector).decode(), deadline=deadline)

    async def states(self) -> dict[int, Any]:
        """Presence as this replica sees it, by Yjs client id."""
        return {int(client): state for client, state in (await self._call("states")).items()}

    async def look(self) -> Replica:
        """Everything about the replica now."""
        seen = await self._call("dump")
        return Replica(
            content=seen["content"],
            state_vector=base64.b64decode(seen["stateVector"]),
            update=base64.b64decode(seen["update"]),
            client_id=seen["clientId"],
            status=seen["status"],
            synced=seen["synced"],
            connections=seen["connections"],
            closes=seen["closes"],
            stopped=seen["stopped"],
        )

    async def connect(self) -> None:
        """Go online."""
        await self._call("connect")

    async def disconnect(self) -> None:
        """Go offline politely, keeping the replica."""
        await self._call("disconnect")

    async def cut(self) -> None:
        """Lose the socket with no goodbye; the provider then reconnects by itself."""
        await self._call("cut")

    async def deafen(self, *, deaf: bool) -> None:
        """Stop reading from the socket, or go on."""
        await self._call("deafen", deaf=deaf)

    async def type(self, *, mark: str, milliseconds: int, seed: int) -> None:
        """Start typing words `{mark}{n} ` into the description at seeded places, online or not."""
        await self._call("type", mark=mark, milliseconds=milliseconds, seed=seed)

    async def typed(self) -> int:
        """Words typed so far."""
        return int(await self._call("typed"))

    async def hush(self) -> int:
        """Stop typing; returns how many words were typed."""
        return int(await self._call("hush"))


class Browser:
    """A Node process full of tabs."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._opened = 0

    async def open(self, address: Address, *, version: int = 3, connect: bool = True, **options: Any) -> Tab:
        """Open a tab with y-websocket 2.1 or 3.1. `options`: clientId, broadcast (BroadcastChannel), gc."""
        self._opened += 1
        name = f"tab{self._opened}"
        opened = await self._script.call(
            "open",
            replica=name,
            version=version,
            url=address.url,
            room=address.room,
            params=address.params,
            connect=connect,
            **options,
        )
        return Tab(self._script, name, opened["clientId"])

    async def link(self, first: Tab, second: Tab) -> None:
        """From now on either tab hands the other what it learns, so both sockets carry both tabs' edits."""
        await self._script.call("link", first=first.name, second=second.name)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A fresh Node process; every tab in it is gone afterwards."""
    async with running("client.mjs") as script:
        yield Browser(script)


async def synced(tabs: Sequence[Tab], *, deadline: float = PATIENCE) -> None:
    """Wait until every one of the tabs has had the server's answer."""
    for tab in tabs:
        await tab.wait("synced", deadline=deadline)
