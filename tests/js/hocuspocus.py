"""Unmodified Hocuspocus providers in Node: a `Socket` carries any number of `Replica`s, each one document."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.js.toolchain import Script, running
from tests.js.watched import PATIENCE, Watched, appending

VERSIONS: Final = (2, 3, 4)  # 2.15.3, 3.4.4, 4.8.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a provider held when it was asked. `counts`: every value `unsyncedChanges` has had."""

    content: dict[str, Any]
    state_vector: bytes
    unsynced: int
    synced: bool
    names: list[str]
    scopes: list[str]
    denials: list[str]
    closes: list[str]
    stateless: list[str]
    counts: list[int]
    tokens_given: int

    @property
    def description(self) -> str:
        """The text of root `description`."""
        text = self.content["description"]["text"]
        assert isinstance(text, str)
        return text


@dataclass(frozen=True, slots=True)
class Wire:
    """What a socket has been through. `uncaught`: what any provider of the process threw at nobody."""

    closes: list[int]
    connections: int
    frames: list[bytes]
    uncaught: list[str]


class Replica(Watched):
    """One document behind one provider; conditions are in hocuspocus.mjs."""

    def __init__(self, script: Script, name: str, client_id: int, address: str) -> None:
        super().__init__(script, name, client_id)
        self.address = address

    async def edit(self, *operations: dict[str, Any]) -> None:
        """Apply operations (content.mjs) in one transaction."""
        await self._call("edit", operations=operations)

    async def skip(self, text: str) -> None:
        """Write at the end of the description, and see that the provider never sends it by itself."""
        await self._call("skip", operations=[appending(text)])

    async def hold(self, token: str) -> None:
        """From now on this is its token; it is given when it is asked for."""
        await self._call("hold", token=token)

    async def force_sync(self) -> None:
        """`provider.forceSync()`."""
        await self._call("forceSync")

    async def forge(self, frame: bytes) -> None:
        """Send a frame in the name of this document."""
        await self._call("forge", address=self.address, frame=base64.b64encode(frame).decode())

    async def kill_when_saved(self, text: str, pid: int) -> None:
        """Write, and kill -9 `pid` in the turn in which the provider says that it is saved."""
        await self._call("killWhenSaved", operations=[appending(text)], pid=pid, seconds=PATIENCE)

    async def wait_covers(self, state_vector: bytes) -> None:
        """Wait until this replica has everything up to a state vector."""
        await self.wait("covers", stateVector=base64.b64encode(state_vector).decode())

    async def look(self) -> Seen:
        """Everything about the replica now."""
        seen = await self._call("dump")
        return Seen(
            content=seen["content"],
            state_vector=base64.b64decode(seen["stateVector"]),
            unsynced=seen["unsynced"],
            synced=seen["synced"],
            names=seen["names"],
            scopes=seen["scopes"],
            denials=seen["denials"],
            closes=seen["closes"],
            stateless=seen["stateless"],
            counts=seen["counts"],
            tokens_given=seen["tokensGiven"],
        )


class Socket:
    """One `HocuspocusProviderWebsocket`."""

    def __init__(self, script: Script, name: str, names: itertools.count[int]) -> None:
        self._script = script
        self._name = name
        self._names = names

    async def open(self, document: str, token: str | None, **options: Any) -> Replica:
        """A provider for a document. `options`: awareness (False: none), options (of the provider)."""
        name = f"replica{next(self._names)}"
        made = await self._script.call("open", replica=name, socket=self._name, name=document, token=token, **options)
        return Replica(self._script, name, made["clientId"], made["address"])

    async def hang_up(self) -> None:
        """Go offline politely."""
        await self._script.call("hangUp", socket=self._name)

    async def call(self) -> None:
        """Go online again."""
        await self._script.call("call", socket=self._name)

    async def cut(self) -> None:
        """Lose the connection with no goodbye; the provider then reconnects by itself."""
        await self._script.call("cut", socket=self._name)

    async def look(self) -> Wire:
        """What it has been through."""
        seen = await self._script.call("look", socket=self._name)
        frames = [base64.b64decode(frame) for frame in seen["frames"]]
        return Wire(seen["closes"], seen["connections"], frames, seen["uncaught"])


class Providers:
    """A Node process full of Hocuspocus providers."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._names = itertools.count(1)

    async def socket(self, url: str, *, version: int) -> Socket:
        """A socket of provider 2, 3 or 4, connecting."""
        name = f"socket{next(self._names)}"
        await self._script.call("socket", socket=name, version=version, url=url)
        return Socket(self._script, name, self._names)


@asynccontextmanager
async def providers() -> AsyncIterator[Providers]:
    """A fresh Node process; everything in it is gone afterwards."""
    async with running("hocuspocus.mjs") as script:
        yield Providers(script)
