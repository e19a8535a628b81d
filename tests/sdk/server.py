"""A server of the native protocol over the log in memory: real sockets, and faults on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from crdt import native, update
from crdt.native_codec import decode_client, encode
from crdt.native_entries import SNAPSHOT, UPDATE, Entry, write_body, write_entry
from syncline.records import Acked, Content, MissingCame, Nacked
from syncline.records import Entry as OutboxEntry
from tests.sdk.log import Log

NOW_MS = 1_800_000_000_000  # this server's clock is far from everybody's
LIMITS = {
    "frame_bytes": 1 << 20,
    "update_bytes": 100_000,
    "push_entries": 4,
    "push_bytes": 4_000,
    "open_issues": 8,
}


@dataclass(eq=False)
class FakeServer:
    """`retries`: pushes to answer with retry, or that they come too early, by `retry_after` seconds · `tokens`: token →
    user · `is_deaf`: pushes are not answered."""

    log: Log = field(default_factory=Log)
    tokens: dict[str, str] = field(default_factory=lambda: {"ana": "ana", "ben": "ben"})
    retries: int = 0
    retry_after: int | None = None
    is_deaf: bool = False
    pushed: list[native.PushEntry] = field(default_factory=list)
    opened: list[native.Open | native.Close] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # an issue was closed
    hellos: list[native.Hello] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    most_unanswered: int = 0
    port: int = 0
    _server: Server | None = None
    _guests: dict[ServerConnection, Guest] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await serve(
            self._welcome, "127.0.0.1", self.port, subprotocols=[Subprotocol(native.SUBPROTOCOL)], compression=None
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close(code=1012)
            await self._server.wait_closed()
            self._server = None

    async def close_all(self, code: int, reason: str = "") -> None:
        for socket in list(self._guests):
            await socket.close(code, reason)

    async def tell(self, frame: native.ServerFrame) -> None:
        """To everybody."""
        for socket in list(self._guests):
            await socket.send(encode(frame))

    async def _welcome(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            hello = decode_client(await _bytes(socket))
            assert isinstance(hello, native.Hello)
            self.hellos.append(hello)
            if hello.token not in self.tokens:
                await self.refuse(socket)
                return
            guest = Guest(self, socket, self.tokens[hello.token])
            self._guests[socket] = guest
            try:
                await guest.run(hello)
            finally:
                del self._guests[socket]

    async def refuse(self, socket: ServerConnection) -> None:
        """As for a token that is not good."""
        await socket.send(encode(native.Refusal(native.UNAUTHORIZED, "bad token")))
        await socket.close(4401)

    async def committed(self, issue_id: UUID, delta: bytes, author: Guest | None = None) -> None:
        """Fan out."""
        for guest in list(self._guests.values()):
            if guest is not author and issue_id in guest.open:
                await guest.send(native.Delta(issue_id, delta))
            await guest.feed()


class Guest:
    """One connection."""

    def __init__(self, server: FakeServer, socket: ServerConnection, user: str) -> None:
        self.open: set[UUID] = set()
        self._server = server
        self._socket = socket
        self._user = user
        self._cursor = 0
        self._feeding = asyncio.Lock()
        self._blocked: dict[UUID, int] = {}

    async def run(self, hello: native.Hello) -> None:
        log = self._server.log
        await self.send(native.Welcome("s", log.epoch, log.head, 0, "member", LIMITS, NOW_MS))
        if hello.epoch != log.epoch:
            await self._reload(native.NEW if hello.epoch is None else native.EPOCH)
        else:
            self._cursor = hello.cursor or 0
        await self._page()
        while True:
            await self._answer(decode_client(await _bytes(self._socket)))

    async def send(self, frame: native.ServerFrame) -> None:
        with suppress(ConnectionClosed):
            await self._socket.send(encode(frame))

    async def feed(self) -> None:
        if self._cursor < self._server.log.head:
            await self._page()

    async def _page(self) -> None:
        async with self._feeding:
            while True:
                page = self._server.log.page(self._cursor, 5)
                self._cursor = page.to_seq
                head = self._server.log.head
                await self.send(native.Page(page.from_seq, page.to_seq, head, False, _body(page.entries, UPDATE)))
                if self._cursor == head:
                    return

    async def _reload(self, reason: str) -> None:
        log = self._server.log
        base, after = log.head, None
        await self.send(native.Reset(reason, log.epoch, base, 0))
        while True:
            page = log.reload(base, after, 2)
            await self.send(native.Reload(base, after, page.until, False, _body(page.entries, SNAPSHOT)))
            after = page.until
            if after is None:
                self._cursor = base
                return

    async def _answer(self, frame: native.ClientFrame) -> None:
        match frame:
            case native.Push(entries):
                self._server.most_unanswered = max(self._server.most_unanswered, len(entries))
                for entry in entries:
                    await self._push(entry)
            case native.Open(issue, state_vector):
                self._server.opened.append(frame)
                self.open.add(issue)
                state = self._server.log.state(issue)
                await self.send(native.State(issue, update.diff(state, state_vector or b"\x00")))
            case native.Renew(token):
                self._server.renewed.append(token)
                if token not in self._server.tokens:
                    await self._server.refuse(self._socket)
            case native.Close(issue):
                self._server.opened.append(frame)
                self._server.left.set()
                self.open.discard(issue)
            case native.Awareness(issue):
                for guest in list(self._server._guests.values()):
                    if issue in guest.open:
                        await guest.send(frame)

    async def _push(self, entry: native.PushEntry) -> None:
        self._server.pushed.append(entry)
        if self._server.is_deaf:
            return
        is_blocked = entry.client_seq > self._blocked.get(entry.issue, entry.client_seq)
        if is_blocked or self._server.retries > 0:
            self._server.retries -= not is_blocked
            self._blocked.setdefault(entry.issue, entry.client_seq)
            seconds = self._server.retry_after
            code = native.RETRY if seconds is None else native.TOO_FAST
            await self.send(native.Nack(entry.client_seq, code, "", seconds))
            return
        self._blocked.pop(entry.issue, None)
        head = self._server.log.head
        for answer in self._server.log.push(OutboxEntry(entry.client_seq, entry.issue, entry.update), self._user):
            match answer:
                case Acked(number, seq):
                    await self.send(native.Ack(((number, seq),)))
                case Nacked(number, code, message):
                    await self.send(native.Nack(number, code, message))
                case MissingCame(issue, state_vector):
                    await self.send(native.Want(issue, state_vector))
                    await self.send(native.Nack(entry.client_seq, native.GAP, ""))
        if self._server.log.head > head:
            await self._server.committed(entry.issue, self._server.log.deltas[-1][1], self)


def _body(entries: tuple[Content, ...], kind: int) -> bytes:
    return write_body([write_entry(Entry(one.issue_id, one.seq, kind, one.update)) for one in entries], len(entries))


async def _bytes(socket: ServerConnection) -> bytes:
    message = await socket.recv()
    assert isinstance(message, bytes)
    return message


@asynccontextmanager
async def faked() -> AsyncIterator[FakeServer]:
    """A running one."""
    server = FakeServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
