"""pycrdt's own provider behind a WebSocket, as a Python program would use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from picows.websockets.asyncio import ClientConnection, connect
from picows.websockets.exceptions import ConnectionClosed
from pycrdt import Doc, Provider

from tests.js.browser import Address


class SocketChannel:
    """A `pycrdt.Channel` over one WebSocket; iteration ends when the socket does."""

    def __init__(self, socket: ClientConnection, path: str) -> None:
        self._socket = socket
        self.path = path

    def __aiter__(self) -> SocketChannel:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, message: bytes) -> None:
        await self._socket.send(message)

    async def recv(self) -> bytes:
        message = await self._socket.recv()
        assert isinstance(message, bytes)
        return message


@asynccontextmanager
async def provided(doc: Doc[Any], address: Address) -> AsyncIterator[Provider]:
    """`doc`, kept in sync with the document at `address` for the length of the block."""
    url = f"{address.url}/{address.room}?{urlencode(address.params)}"
    async with connect(url) as socket, Provider(doc, SocketChannel(socket, address.room)) as provider:
        yield provider
