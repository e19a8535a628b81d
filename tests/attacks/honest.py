"""Honest people in the issue that is attacked: they type, hear each other and are told what is committed."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

from pycrdt import Doc, Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from crdt.native import OFF, SUBPROTOCOL, Ack, Frame, Hello, Push, PushEntry, Welcome
from crdt.native_codec import decode_server, encode
from crdt.sync import SyncStep2, Update
from server.dialects import y_websocket
from tests.attacks.ways import PATIENCE_SECONDS, Ways

ANA: Final = 101
BEN: Final = 102
CLEO: Final = 103
PAUSE_SECONDS: Final = 0.05


class Person:
    """An honest y-websocket client."""

    def __init__(self, socket: ClientConnection, client: int) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.text: Text = self.doc.get("description", type=Text)
        self._socket = socket
        self._heard = asyncio.Event()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @property
    def is_connected(self) -> bool:
        """Whether the socket lives."""
        return not self._listening.done()

    async def write(self, text: str) -> None:
        """Append to the description."""
        before = self.doc.get_state()
        self.text += text
        await self._socket.send(y_websocket.update(self.doc.get_update(before)))

    async def until_reads(self, text: str) -> None:
        """Until the description has it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text not in str(self.text):
                self._heard.clear()
                await self._heard.wait()

    async def leave(self) -> None:
        """Go."""
        await self._socket.close()
        await self._listening

    async def _listen(self) -> None:
        await self._socket.send(y_websocket.sync_step1(self.doc.get_state()))
        try:
            async for message in self._socket:
                assert isinstance(message, bytes)
                event = y_websocket.decode(message)
                if isinstance(event, SyncStep2 | Update):
                    self.doc.apply_update(event.update)
                    self._heard.set()
        except ConnectionClosed:
            self._heard.set()


class Pusher:
    """An honest native client, whose every edit is to be acknowledged."""

    def __init__(self, socket: ClientConnection, client: int, issue: UUID) -> None:
        self._doc: Doc[Any] = Doc(client_id=client)
        self._text: Text = self._doc.get("description", type=Text)
        self._socket = socket
        self._issue = issue
        self._number = 0

    async def enter(self, token: str) -> None:
        """Say hello and be welcomed."""
        await self._say(Hello(token, "honest", mode=OFF))
        assert isinstance(await self._hear(), Welcome)

    async def write(self, text: str) -> None:
        """Append to what it wrote, until that is committed."""
        before = self._doc.get_state()
        self._text += text
        self._number += 1
        await self._say(Push((PushEntry(self._number, self._issue, self._doc.get_update(before)),)))
        assert isinstance(await self._hear(), Ack)

    async def leave(self) -> None:
        """Go."""
        await self._socket.close()

    async def _say(self, frame: Frame) -> None:
        await self._socket.send(encode(frame))

    async def _hear(self) -> object:
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = await self._socket.recv()
        assert isinstance(message, bytes)
        return decode_server(message)


class People:
    """Ana and ben over y-websocket, cleo over the native protocol."""

    def __init__(self, ana: Person, ben: Person, cleo: Pusher) -> None:
        self._ana, self._ben, self._cleo = ana, ben, cleo
        self._said = 0

    @classmethod
    async def enter(cls, ways: Ways) -> People:
        """All three into the issue."""
        address = f"ws://127.0.0.1:{ways.port}"

        async def over_yjs(user: str, client: int) -> Person:
            url = f"{address}/yjs/main/{ways.issue}?token={ways.token(user)}"
            return Person(await connect(url, compression=None), client)

        native = await connect(
            f"{address}/v1/workspaces/main/sync", subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None
        )
        cleo = Pusher(native, CLEO, ways.issue)
        await cleo.enter(ways.token("cleo"))
        return cls(await over_yjs("ana", ANA), await over_yjs("ben", BEN), cleo)

    async def talk(self) -> None:
        """Each says something, which the others hear and the server acknowledges; nobody was sent away."""
        self._said += 1
        words = [f"{name}{self._said} " for name in "abc"]
        await asyncio.gather(self._ana.write(words[0]), self._ben.write(words[1]), self._cleo.write(words[2]))
        await asyncio.gather(*(each.until_reads(word) for each in (self._ana, self._ben) for word in words))
        assert self._ana.is_connected
        assert self._ben.is_connected

    async def keep_talking(self, over: asyncio.Event) -> None:
        """All the while, until it is over."""
        while not over.is_set():
            await self.talk()
            try:
                await asyncio.wait_for(over.wait(), PAUSE_SECONDS)
            except TimeoutError:
                continue

    async def leave(self) -> None:
        """All go."""
        await asyncio.gather(self._ana.leave(), self._ben.leave(), self._cleo.leave())
