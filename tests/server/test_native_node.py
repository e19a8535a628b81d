"""The native protocol on whole servers: two nodes over one Postgres, acks that survive `kill -9`, and the end."""

from __future__ import annotations

import asyncio
from uuid import UUID

from crdt.native import Ack, Frame, Hello, Notice, Page, Push, PushEntry, Reload, ServerFrame, Welcome
from crdt.native_codec import decode_server, encode
from crdt.native_entries import read_entries
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess
from tests.server.websocket_client import BINARY, RawClient

ISSUE = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")
TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")


class Client:
    """A socket that speaks frames."""

    def __init__(self, socket: RawClient) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, server: ServerProcess) -> Client:
        """Connected and greeted, from nothing."""
        socket = await RawClient.open(
            server.port, "/v1/workspaces/main/sync", {"Sec-WebSocket-Protocol": "syncline.v1"}
        )
        assert socket.status == 101
        assert b"syncline.v1" in socket.head
        client = cls(socket)
        client.say(Hello(server.token("ana"), "test"))
        await client.until(Welcome)
        return client

    def say(self, frame: Frame) -> None:
        self.socket.send(encode(frame))

    async def until(self, *kinds: type[ServerFrame]) -> ServerFrame:
        async with asyncio.timeout(10):
            while True:
                opcode, payload = await self.socket.frame()
                frame = decode_server(payload) if opcode == BINARY else None
                if isinstance(frame, kinds):
                    return frame

    async def until_at(self, seq: int) -> bytes:
        """Follow the feed to a seq; the bodies on the way."""
        bodies = b""
        while True:
            frame = await self.until(Page, Reload)
            assert isinstance(frame, Page | Reload)
            bodies += b"".join(entry.payload for entry in read_entries(frame.body, frame.is_packed))
            if isinstance(frame, Page) and frame.to_seq >= seq:
                return bodies


async def test_what_one_node_acks_the_other_feeds_at_once(dsn: str) -> None:
    seldom = ("--relay-interval-seconds", "60")
    async with forking(*seldom, database_url=dsn) as one, forking(*seldom, database_url=dsn) as other:
        reader, writer = await Client.open(other), await Client.open(one)
        await reader.until_at(0)
        writer.say(Push((PushEntry(1, ISSUE, TYPING),)))
        assert await writer.until(Ack) == Ack(((1, 1),))
        assert await reader.until_at(1) == TYPING, "woken by NOTIFY: the poll is a minute away"
        writer.socket.cut()
        reader.socket.cut()


async def test_an_acked_edit_is_there_after_kill_9_and_sent_again_it_is_acked_at_its_seq() -> None:
    async with forking() as server:
        writer = await Client.open(server)
        writer.say(Push((PushEntry(1, ISSUE, TYPING),)))
        await writer.until(Ack)
        await server.kill()
        await writer.socket.lost()
        await server.start()
        again = await Client.open(server)
        assert await again.until_at(1) == TYPING
        again.say(Push((PushEntry(1, ISSUE, TYPING),)))
        assert await again.until(Ack) == Ack(((1, 1),))
        again.socket.cut()


async def test_a_server_that_stops_says_so_and_closes_1012() -> None:
    async with forking() as server:
        client = await Client.open(server)
        await client.until_at(0)
        stopping = asyncio.create_task(server.terminate(deadline=10))
        assert await client.until(Notice) == Notice("draining", "true")
        assert await client.socket.close_code() == 1012
        assert await stopping == 0
