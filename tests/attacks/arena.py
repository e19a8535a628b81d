"""A real server with two honest people in one issue, and whoever attacks it there.

After each attack the two must still be connected and hear each other. How quickly is measured by `make bench
ARGS=attacks`, on many samples; here only that nothing keeps them from it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4

from pycrdt import Doc, Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from crdt.native import ServerFrame
from crdt.native_codec import decode_server
from crdt.sync import SyncStep2, Update
from server.dialects import hocuspocus, y_websocket
from server.permissions import Role
from tests.peers.server_process import ServerProcess, serving
from tests.server.websocket_client import RawClient

PATIENCE_SECONDS: Final = 15.0
QUICK: Final = (
    *("--handshake-timeout-seconds", "1"),
    *("--authentication-timeout-seconds", "1"),
    *("--hello-timeout-seconds", "1"),
    *("--ping-interval-seconds", "2", "--pong-timeout-seconds", "1"),
)


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


class Arena:
    """One issue on one server. Attackers are members of the workspace, unless a test says otherwise."""

    def __init__(self, server: ServerProcess, issue: UUID) -> None:
        self.server = server
        self.issue = issue
        self._said = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def token(self, user: str = "eve", role: Role = Role.MEMBER, workspace: str = "main") -> str:
        """A good token."""
        return self.server.token(user, role, workspace)

    async def enter(self, user: str, client: int) -> Person:
        """Let an honest person in."""
        url = f"ws://127.0.0.1:{self.port}/yjs/main/{self.issue}?token={self.token(user)}"
        return Person(await connect(url, compression=None), client)

    async def over_yjs(self, issue: UUID | None = None, token: str | None = None, **headers: str) -> RawClient:
        """A y-websocket connection."""
        path = f"/yjs/main/{issue or self.issue}?token={quote(self.token() if token is None else token)}"
        return await RawClient.open(self.port, path, headers)

    async def over_hocuspocus(self, token: str | None = None, document: str | None = None) -> RawClient:
        """A Hocuspocus connection that has sent its token."""
        client = await RawClient.open(self.port, "/hocuspocus")
        frame = hocuspocus.TOKEN_REQUEST + _strings(self.token() if token is None else token, "4.8.0")
        client.send(self.addressed(frame, document))
        return client

    def addressed(self, frame: bytes, document: str | None = None) -> bytes:
        """A Hocuspocus message for the issue, or another document."""
        return hocuspocus.header(document or f"main/{self.issue}") + frame

    async def over_native(self, workspace: str = "main") -> RawClient:
        """A native connection that has said nothing yet."""
        return await RawClient.open(
            self.port, f"/v1/workspaces/{workspace}/sync", {"Sec-WebSocket-Protocol": "syncline.v1"}
        )

    async def request(self, raw: bytes) -> tuple[int, bytes]:
        """Send bytes as an HTTP request; status and whole answer. (0, b"") when the server hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                writer.write(raw)
                answer = await reader.read()
        except ConnectionError:
            answer = b""
        finally:
            writer.close()
        return (int(answer.split(b" ", 2)[1]), answer) if answer else (0, b"")

    async def get(
        self, path: str, *, token: str | None = None, method: str = "GET", body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        """One HTTP request; `headers` with underscores for hyphens."""
        sent = {
            "Host": f"127.0.0.1:{self.port}",
            "Connection": "close",
            "Content-Length": str(len(body)),
            "Authorization": f"Bearer {self.token() if token is None else token}",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        return await self.request("\r\n".join(lines).encode("latin-1") + body)

    def resident_bytes(self) -> int:
        """Memory of the server's main process."""
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def expect_calm(self, ana: Person, ben: Person) -> None:
        """Both still hear each other, and the server is well."""
        self._said += 1
        await asyncio.gather(ana.write(f"a{self._said} "), ben.write(f"b{self._said} "))
        await asyncio.gather(ana.until_reads(f"b{self._said} "), ben.until_reads(f"a{self._said} "))
        assert ana.is_connected
        assert ben.is_connected
        assert await self.server.status("/healthz") == 200


@asynccontextmanager
async def arena(*flags: str) -> AsyncIterator[tuple[Arena, Person, Person]]:
    """A server for the length of a file, with ana and ben in an issue."""
    async with serving(*QUICK, *flags) as server:
        made = Arena(server, uuid4())
        ana, ben = await made.enter("ana", 101), await made.enter("ben", 102)
        await made.expect_calm(ana, ben)
        yield made, ana, ben
        await asyncio.gather(ana.leave(), ben.leave())


async def refusal_of(client: RawClient) -> ServerFrame:
    """The first native frame, which should be a refusal."""
    return decode_server(await client.message())


def _strings(*texts: str) -> bytes:
    from tests.attacks.forging import string

    return b"".join(string(text) for text in texts)
