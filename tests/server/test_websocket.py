"""Both WebSocket implementations, inside a real uvicorn, keep the promises of `server/websocket/connection.py`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.util
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from server import close_codes
from server.addresses import proxies
from server.buckets import Allowance
from server.listener import BoundedHttp, RequestLimits
from server.websocket import Handshake, PacedConnection, SocketLimits
from server.websocket.asgi import AsgiConnection, AsgiEndpoint
from server.websocket.pace import PaceLimits
from server.websocket.picows import PicowsConnection, PicowsEndpoint
from server.websocket.reading import PAUSE
from server.websocket.strangers import StrangerLimits, Strangers
from server.websocket.threshold import Threshold
from tests.conftest import without_collector
from tests.server.house import settle
from tests.server.websocket_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient

WEBSOCKETS_IS_INSTALLED = importlib.util.find_spec("websockets") is not None
KINDS = [
    "picows",
    pytest.param("asgi", marks=pytest.mark.skipif(not WEBSOCKETS_IS_INSTALLED, reason="needs websockets")),
]
SMALL = SocketLimits(max_message_bytes=100_000, high_water_bytes=64 * 1024, close_timeout_seconds=0.2)


class Recorder:
    """A peer that keeps what it was told; each kind of call can be awaited."""

    def __init__(self, handshake: Handshake, connection: PacedConnection) -> None:
        self.handshake = handshake
        self.connection = connection
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.drains = asyncio.Semaphore(0)
        self.closing: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def received(self, message: bytes) -> None:
        if message == b"fail":
            raise RuntimeError("as asked")
        self.messages.put_nowait(message)

    def drained(self) -> None:
        self.drains.release()

    def closed(self, code: int) -> None:
        self.closing.set_result(code)

    async def message(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.messages.get()

    async def close_code(self) -> int:
        async with asyncio.timeout(5):
            return await self.closing


class Site:
    """A running server with one door at `/door`."""

    def __init__(self, kind: str, limits: SocketLimits, origins: tuple[str, ...]) -> None:
        self.clients: list[RawClient] = []
        self.slowed = 0
        self.peers: asyncio.Queue[Recorder] = asyncio.Queue()
        self.door: Callable[[Handshake, PacedConnection], Recorder] = Recorder
        endpoint = (PicowsEndpoint if kind == "picows" else AsgiEndpoint)(
            self._route, origins, limits, Strangers(StrangerLimits()), self._slow
        )
        self.endpoint = endpoint
        options = {"ws": endpoint} if isinstance(endpoint, PicowsEndpoint) else endpoint.uvicorn_options()
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=functools.partial(BoundedHttp, RequestLimits(5.0), endpoint, Threshold()),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=5,
            **options,
        )
        self.server = uvicorn.Server(config)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def _slow(self) -> None:
        self.slowed += 1

    def _route(self, handshake: Handshake) -> Callable[[Handshake, PacedConnection], Recorder] | None:
        return self._open if handshake.path == "/door" else None

    def _open(self, handshake: Handshake, connection: PacedConnection) -> Recorder:
        peer = self.door(handshake, connection)
        self.peers.put_nowait(peer)
        return peer

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and isinstance(self.endpoint, AsgiEndpoint):
            await self.endpoint(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"http"})

    async def open(self, target: str, headers: dict[str, str] | None = None) -> RawClient:
        client = await RawClient.open(self.port, target, headers)
        self.clients.append(client)
        return client

    async def connect(self, **headers: str) -> tuple[RawClient, Recorder]:
        client = await self.open("/door", headers)
        assert client.status == 101, client.head
        async with asyncio.timeout(5):
            return client, await self.peers.get()


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@asynccontextmanager
async def _serve(kind: str, limits: SocketLimits = SMALL, origins: tuple[str, ...] = ()) -> AsyncIterator[Site]:
    site = Site(kind, limits, origins)
    running = asyncio.create_task(site.server._serve([site.listener]))
    try:
        yield site
    finally:
        for client in site.clients:
            client.cut()
        site.server.should_exit = True
        async with asyncio.timeout(10):
            await running


@pytest.fixture(params=KINDS)
def serve(request: pytest.FixtureRequest) -> Serve:
    return lambda **options: _serve(request.param, **options)


async def test_messages_pass_in_both_directions_in_order(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        sizes = [0, 1, 125, 126, 65_535, 65_536, 99_999]
        for size in sizes:
            client.send(bytes(size))
            await client.writer.drain()
            assert await peer.message() == bytes(size)
        for size in sizes:
            peer.connection.send(bytes(size))
        assert [len(await client.message()) for _ in sizes] == sizes


async def test_http_and_websocket_share_the_port(serve: Serve) -> None:
    async with serve() as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            assert b"http" in await reader.read()
        writer.close()


async def test_nothing_of_who_has_gone_waits_for_the_collector_of_cycles(serve: Serve) -> None:
    def left() -> list[object]:
        kinds = (Recorder, PicowsConnection, AsgiConnection, BoundedHttp)
        return [one for one in gc.get_objects() if isinstance(one, kinds)]

    with without_collector():
        async with serve() as site, asyncio.timeout(5):
            client, peer = await site.connect()
            assert len(left()) >= 2
            client.cut()
            await peer.close_code()
            del peer
            await settle()
            assert not left()


async def test_the_handshake_reaches_the_door(serve: Serve) -> None:
    async with serve() as site:
        await site.open("/door?token=a%2Bb&token=second", {"Authorization": "Bearer abc"})
        handshake = (await site.peers.get()).handshake
        assert (handshake.path, handshake.query["token"]) == ("/door", "a+b")
        assert handshake.headers["authorization"] == "Bearer abc"
        assert handshake.client.startswith("127.0.0.1:")


async def test_compression_is_never_negotiated(serve: Serve) -> None:
    async with serve() as site:
        client, _ = await site.connect()
        assert b"sec-websocket-extensions" not in client.head.lower()


async def test_fragments_are_joined_even_with_a_ping_between(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send(b"one ", fin=False)
        client.send(b"are you there", PING)
        client.send(b"two ", CONTINUATION, fin=False)
        client.send(b"three", CONTINUATION)
        assert await peer.message() == b"one two three"
        assert await client.frame() == (PONG, b"are you there")
        client.send(b"next")
        assert await peer.message() == b"next"


async def test_a_text_frame_closes_1003(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send("hällo".encode(), TEXT)
        assert await client.close_code() == close_codes.TEXT_NOT_SUPPORTED
        assert await peer.close_code() == close_codes.TEXT_NOT_SUPPORTED


async def test_a_message_over_the_bound_closes_1009_before_it_has_arrived(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send_header(100_001)
        assert await client.close_code() == close_codes.MESSAGE_TOO_BIG
        await peer.close_code()


async def test_fragments_over_the_bound_together_close_1009(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send(bytes(60_000), fin=False)
        client.send(bytes(60_000), CONTINUATION)
        assert await client.close_code() == close_codes.MESSAGE_TOO_BIG
        await peer.close_code()
        assert peer.messages.empty()


async def test_small_fragments_over_their_bound_close_1009_and_as_many_as_may_come_do_not() -> None:
    async with _serve("picows", replace(SMALL, max_small_fragments=3)) as site:  # asgi: the library joins them
        client, peer = await site.connect()
        for pieces in (b"a", b"b"), (b"", b""), (bytes(2_100), b"c", b"d", b"e"):
            client.send(pieces[0], fin=False)
            for piece in pieces[1:]:
                client.send(piece, CONTINUATION, fin=False)
            client.send(b"!", CONTINUATION)
            assert await peer.message() == b"".join(pieces) + b"!"
        client.send(b"", fin=False)
        for _ in range(3):
            client.send(b"", CONTINUATION, fin=False)
        assert await client.close_code() == close_codes.MESSAGE_TOO_BIG


@pytest.mark.parametrize("break_it", ["continuation first", "message inside message", "reserved bit", "opcode"])
async def test_a_broken_frame_closes_1002(serve: Serve, break_it: str) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        match break_it:
            case "continuation first":
                client.send(b"x", CONTINUATION)
            case "message inside message":
                client.send(b"x", fin=False)
                client.send(b"y")
            case "reserved bit":
                client.send(b"x", reserved=4)
            case "opcode":
                client.send(b"x", 5)
        assert await client.close_code() == close_codes.PROTOCOL_ERROR
        await peer.close_code()
        assert peer.messages.empty()


async def test_our_close_reaches_the_client_with_code_and_reason(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        peer.connection.send(b"last words")
        peer.connection.close(close_codes.UNAUTHORIZED, "token expired")
        peer.connection.close(close_codes.NORMAL, "too late")
        peer.connection.send(b"too late")
        assert await client.frame() == (BINARY, b"last words")
        assert await client.frame() == (CLOSE, (4401).to_bytes(2, "big") + b"token expired")
        client.send((4401).to_bytes(2, "big"), CLOSE)
        await client.lost()
        assert await peer.close_code() == close_codes.UNAUTHORIZED


async def test_our_close_arrives_though_the_client_keeps_sending(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send(b"first")
        await peer.message()
        peer.connection.close(close_codes.NOT_ALLOWED, "")
        for _ in range(100):
            client.send(bytes(1000))
        await client.writer.drain()
        assert await client.close_code() == close_codes.NOT_ALLOWED
        assert peer.messages.empty()


async def test_a_client_that_never_answers_our_close_is_cut() -> None:
    async with _serve("picows") as site:  # through ASGI the deadline is uvicorn's, ten seconds
        client, peer = await site.connect()
        peer.connection.close(close_codes.TRY_LATER, "")
        await client.lost()
        assert await peer.close_code() == close_codes.TRY_LATER


async def test_of_a_stranger_a_little_is_read_at_a_time_and_nothing_is_lost_when_they_become_known() -> None:
    async with _serve("picows") as site:
        client, peer = await site.connect()
        loop = asyncio.get_running_loop()
        parts = 4
        for n in range(parts + 4):
            client.send(bytes([n]) * SMALL.stranger_receive_bytes)
        began = loop.time()
        for n in range(parts):
            assert await peer.message() == bytes([n]) * SMALL.stranger_receive_bytes
        assert loop.time() - began >= (parts - 1) * PAUSE
        peer.connection.known()
        for n in range(parts, parts + 4):
            assert await peer.message() == bytes([n]) * SMALL.stranger_receive_bytes


async def test_the_clients_close_is_answered_and_told(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send((3001).to_bytes(2, "big") + b"bye", CLOSE)
        assert await client.close_code() == 3001
        assert await peer.close_code() == 3001


async def test_a_lost_socket_is_told_once(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.cut()
        assert await peer.close_code() in (close_codes.ABNORMAL, close_codes.NO_CODE)
        peer.connection.send(b"nobody")
        peer.connection.close(close_codes.NORMAL, "")
        peer.connection.pause_reading()
        peer.connection.resume_reading()
        assert peer.connection.buffered_bytes() == 0


async def test_a_door_that_closes_at_once_is_told_closed(serve: Serve) -> None:
    def refuse(handshake: Handshake, connection: PacedConnection) -> Recorder:
        connection.close(close_codes.NOT_FOUND, "unknown workspace")
        return Recorder(handshake, connection)

    async with serve() as site:
        site.door = refuse
        client, peer = await site.connect()
        assert await client.close_code() == close_codes.NOT_FOUND
        assert await peer.close_code() == close_codes.NOT_FOUND


async def test_a_peer_that_raises_is_closed_1011_and_others_live_on(serve: Serve) -> None:
    async with serve() as site:
        healthy, healthy_peer = await site.connect()
        client, peer = await site.connect()
        client.send(b"fail")
        assert await client.close_code() == close_codes.INTERNAL_ERROR
        await peer.close_code()
        healthy.send(b"fine")
        assert await healthy_peer.message() == b"fine"


async def test_paused_reading_delivers_nothing_until_resumed(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.send(b"before")
        await peer.message()
        peer.connection.pause_reading()
        client.send(b"one the reader may already wait for")
        client.send(b"held back")
        await client.writer.drain()
        other, other_peer = await site.connect()
        other.send(b"round trip")  # time enough for the held message to have come through
        await other_peer.message()
        assert peer.messages.qsize() <= 1
        peer.connection.resume_reading()
        while await peer.message() != b"held back":
            pass


async def test_a_slow_reader_is_counted_and_told_when_drained(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        while peer.connection.buffered_bytes() <= 4 * SMALL.high_water_bytes:
            peer.connection.send(sent.to_bytes(4, "big") * 3000)  # above 8 KiB: not copied by picows
            peer.connection.send(sent.to_bytes(4, "big"))
            sent += 1
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for number in range(sent):
            assert await client.message() == number.to_bytes(4, "big") * 3000
            assert await client.message() == number.to_bytes(4, "big")
        async with asyncio.timeout(5):
            await peer.drains.acquire()
        assert peer.connection.buffered_bytes() <= SMALL.low_water_bytes


async def test_a_stuck_reader_can_be_closed(serve: Serve) -> None:
    async with serve() as site:
        client, peer = await site.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while peer.connection.buffered_bytes() <= 4 * SMALL.high_water_bytes:
            peer.connection.send(bytes(50_000))
            await asyncio.sleep(0)
        peer.connection.close(close_codes.TRY_LATER, "too slow")
        assert await peer.close_code() == close_codes.TRY_LATER


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:5173", 101),
        ("http://localhost:3000", 101),
        ("https://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("null", 403),
        ("http://[broken", 403),
    ],
)
async def test_by_default_pages_of_the_host_and_of_loopback_may_connect(serve: Serve, origin: str, status: int) -> None:
    async with serve() as site:
        client = await site.open("/door", {"Origin": origin})
        assert client.status == status


async def test_listed_origins_replace_the_default(serve: Serve) -> None:
    async with serve(origins=("https://tracker.example",)) as site:
        for origin, status in [("https://tracker.example", 101), ("http://localhost:3000", 403)]:
            client = await site.open("/door", {"Origin": origin})
            assert client.status == status


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("syncline.v1", b"syncline.v1"), ("chat, syncline.v1", b"syncline.v1"), ("chat", b""), (None, b"")],
)
async def test_a_subprotocol_is_named_if_it_is_offered_and_known(
    serve: Serve, offered: str | None, chosen: bytes
) -> None:
    async with serve(limits=SocketLimits(subprotocols=("syncline.v1",))) as site:
        client = await site.open("/door", {"Sec-WebSocket-Protocol": offered} if offered else {})
        assert client.status == 101
        _, _, named = client.head.lower().partition(b"sec-websocket-protocol:")
        assert named.split(b"\r\n")[0].strip() == chosen


async def test_an_unknown_path_is_404_before_the_upgrade(serve: Serve) -> None:
    async with serve() as site:
        client = await site.open("/nowhere")
        assert client.status == 404
        await client.lost()


async def test_connections_over_the_bound_are_503_and_room_is_made_by_leaving(serve: Serve) -> None:
    async with serve(limits=SocketLimits(max_connections=1)) as site:
        first, peer = await site.connect()
        second = await site.open("/door")
        assert second.status == 503
        await second.lost()
        first.send((1000).to_bytes(2, "big"), CLOSE)
        await peer.close_code()
        await first.lost()
        await site.connect()


async def test_a_silent_client_is_pinged_and_dropped_when_it_does_not_answer(serve: Serve) -> None:
    async with serve(limits=SocketLimits(ping_interval_seconds=0.05, pong_timeout_seconds=0.05)) as site:
        client, peer = await site.connect()
        for _ in range(2):
            opcode, payload = await client.frame()
            assert opcode == PING
            client.send(payload, PONG)
        opcode, _ = await client.frame()
        assert opcode == PING  # and no answer
        await peer.close_code()
        await client.lost()


async def test_graceful_shutdown_closes_every_socket_1012(serve: Serve) -> None:
    async with serve() as site:
        clients = [(await site.connect())[0] for _ in range(3)]
        site.server.should_exit = True
        assert [await client.close_code() for client in clients] == [close_codes.RESTART] * 3


Scenario = Callable[[Serve], Coroutine[None, None, None]]


@pytest.mark.parametrize(
    "scenario",
    [
        test_messages_pass_in_both_directions_in_order,
        test_a_slow_reader_is_counted_and_told_when_drained,
        test_our_close_arrives_though_the_client_keeps_sending,
        test_a_stuck_reader_can_be_closed,
    ],
)
def test_picows_keeps_its_promises_on_uvloop(scenario: Scenario) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(lambda **options: _serve("picows", **options)))


async def test_who_sends_too_fast_is_read_from_later_and_loses_nothing(serve: Serve) -> None:
    slow = PaceLimits(messages=Allowance(rate=100, burst=10))
    async with serve(limits=SocketLimits(pace=slow)) as site:
        client, peer = await site.connect()
        began = asyncio.get_running_loop().time()
        for number in range(60):
            client.send(number.to_bytes(1, "big"))
        other, other_peer = await site.connect()
        other.send(b"not slowed")
        assert await other_peer.message() == b"not slowed"
        assert [await peer.message() for _ in range(60)] == [number.to_bytes(1, "big") for number in range(60)]
        client.send(b"last")
        assert await peer.message() == b"last"
        assert asyncio.get_running_loop().time() - began > 0.4, "50 messages above the burst take half a second"
        assert site.slowed > 0


async def test_a_slowed_peer_that_its_door_pauses_and_resumes_stays_slowed_and_can_be_closed(serve: Serve) -> None:
    async with serve(limits=SocketLimits(pace=PaceLimits(messages=Allowance(rate=1, burst=1)))) as site:
        client, peer = await site.connect()
        client.send(b"1")
        client.send(b"2")
        assert [await peer.message(), await peer.message()] == [b"1", b"2"]
        peer.connection.pause_reading()
        peer.connection.resume_reading()
        peer.connection.close(close_codes.TRY_LATER, "")
        assert await client.close_code() == close_codes.TRY_LATER
        assert await peer.close_code() == close_codes.TRY_LATER


async def test_an_address_has_so_many_sockets_and_another_one_its_own(serve: Serve) -> None:
    trusting = SocketLimits(max_address_connections=1, trusted_proxies=proxies(["127.0.0.1"]))
    async with serve(limits=trusting) as site:
        first, peer = await site.connect(**{"X-Forwarded-For": "192.0.2.1"})
        assert peer.handshake.client == "192.0.2.1:0"
        second = await RawClient.open(site.port, "/door", {"X-Forwarded-For": "192.0.2.1"})
        assert second.status == 429
        second.cut()
        await site.connect(**{"X-Forwarded-For": "192.0.2.2"})
        first.cut()
        await peer.close_code()
        async with asyncio.timeout(5):
            while (third := await RawClient.open(site.port, "/door", {"X-Forwarded-For": "192.0.2.1"})).status != 101:
                third.cut()
        third.cut()


class Slow(Recorder):
    """A peer whose client is slowed down by as many seconds as it says."""

    def received(self, message: bytes) -> None:
        super().received(message)
        self.connection.slow_down(float(message))


async def test_who_is_slowed_down_is_heard_later_and_nobody_else(serve: Serve) -> None:
    loop = asyncio.get_running_loop()
    async with serve() as site:
        site.door = Slow
        slow, slow_peer = await site.connect()
        other, other_peer = await site.connect()
        slow.send(b"0.3")
        await slow_peer.message()
        began = loop.time()
        for client in (slow, other):
            client.send(b"0")
        assert await other_peer.message() == b"0"
        assert slow_peer.messages.empty()
        assert await slow_peer.message() == b"0"
        assert loop.time() - began > 0.25
        assert site.slowed == 1, "to be slowed down by nothing is not"


async def test_who_is_slowed_down_and_closed_hears_it_at_once(serve: Serve) -> None:
    async with serve() as site:
        site.door = Slow
        client, peer = await site.connect()
        client.send(b"60")
        await peer.message()
        peer.connection.close(close_codes.TRY_LATER, "too many edits")
        assert await client.close_code() == close_codes.TRY_LATER
        assert await peer.close_code() == close_codes.TRY_LATER
