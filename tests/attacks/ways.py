"""The ways in, for whoever attacks: each door, as far as its first message, with whatever one has to prove oneself."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from random import uniform
from typing import Final
from urllib.parse import quote
from uuid import UUID

from crdt.native import ServerFrame
from crdt.native_codec import decode_server
from server.auth.tokens import Key
from server.dialects import hocuspocus
from server.permissions import Role
from tests.attacks.forging import string
from tests.server.websocket_client import RawClient

PATIENCE_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.01


class Ways(ABC):
    """One issue on one server. Attackers are members of the workspace, unless somebody says otherwise."""

    def __init__(self, port: int, issue: UUID, victim: int) -> None:
        """`victim`: the client id that somebody else writes with there."""
        self.port = port
        self.issue = issue
        self.victim = victim
        self.played = ""  # a refresh token that was used
        self.headers: dict[str, str] = {}  # of every request
        self._opened: list[RawClient] = []

    async def open(self, path: str, headers: Mapping[str, str] | None = None) -> RawClient:
        """A socket, which `leave` cuts if nobody has."""
        self._opened = [client for client in self._opened if not client.writer.is_closing()]
        client = await RawClient.open(self.port, path, self.headers | dict(headers or {}))
        self._opened.append(client)
        return client

    def leave(self) -> None:
        """Cut every socket that is still open."""
        while self._opened:
            self._opened.pop().cut()

    async def pause(self) -> None:
        """Between two goes of somebody who does not stop. Attackers do not keep step."""
        await asyncio.sleep(PAUSE_SECONDS * uniform(0.5, 1.5))

    @abstractmethod
    def key(self) -> Key:
        """What the server signs with; attackers use its public half."""

    @abstractmethod
    def token(self, user: str = "eve", role: Role = Role.MEMBER, workspace: str = "main") -> str:
        """A good token."""

    async def over_yjs(self, issue: UUID | None = None, token: str | None = None, **headers: str) -> RawClient:
        """A y-websocket connection."""
        path = f"/yjs/main/{issue or self.issue}?token={quote(self.token() if token is None else token)}"
        return await self.open(path, headers)

    async def over_hocuspocus(self, token: str | None = None, document: str | None = None) -> RawClient:
        """A Hocuspocus connection that has sent its token."""
        client = await self.open("/hocuspocus")
        frame = hocuspocus.TOKEN_REQUEST + string(self.token() if token is None else token) + string("4.8.0")
        client.send(self.addressed(frame, document))
        return client

    def addressed(self, frame: bytes, document: str | None = None) -> bytes:
        """A Hocuspocus message for the issue, or another document."""
        return hocuspocus.header(document or f"main/{self.issue}") + frame

    async def over_native(self, workspace: str = "main") -> RawClient:
        """A native connection that has said nothing yet."""
        return await self.open(f"/v1/workspaces/{workspace}/sync", {"Sec-WebSocket-Protocol": "syncline.v1"})

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
        }
        sent |= self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        return await self.request("\r\n".join(lines).encode("latin-1") + body)


async def refusal_of(client: RawClient) -> ServerFrame:
    """The first native frame, which should be a refusal."""
    return decode_server(await client.message())
