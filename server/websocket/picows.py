"""WebSockets through picows, inside uvicorn and on its port; the only file that imports picows.

uvicorn's `ws=` wants a factory of protocols: it calls `connection_made(transport)`, then `data_received` with the
handshake it has read, then `transport.set_protocol(the object)`. `Upgrade` takes that role and, once a good token has
come, hands the transport on to picows' own protocol, which is in picows' extension module but not in its public list:
hence the pinned version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import structlog
from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.server import ServerState

from server import close_codes
from server.addresses import peer_of
from server.websocket.admission import Admission, HttpRefusal
from server.websocket.connection import Door, Handshake, Peer, Route, SocketLimits, client_address
from server.websocket.fragments import Broken, Fragments
from server.websocket.pace import Pace
from server.websocket.pulse import HasPulse
from server.websocket.strangers import Stranger, Strangers
from server.websocket.throttled import ThrottledReader
from server.websocket.turns import TakesTurns, Turns

log = structlog.get_logger()

BINARY = WSMsgType.BINARY
READ_BYTES = 1024  # at first; what is read at once is parsed at once, and a frame may have two bytes
HEADER_ROOM = 14  # what picows wants in front of a payload to write the frame header into
IN_PLACE_BYTES = 8192  # above this, picows passes uvloop a view of a header buffer it overwrites with the next frame


class PicowsEndpoint:
    """All picows sockets of one server: pass it to uvicorn as `ws=`."""

    def __init__(
        self,
        route: Route,
        allowed_origins: Sequence[str],
        limits: SocketLimits,
        strangers: Strangers,
        on_slowed: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_slowed` hears each time a peer is slowed down."""
        self.limits = limits
        self.strangers = strangers
        self.on_slowed = on_slowed
        self.connections: set[PicowsConnection] = set()
        self.turns = Turns(limits.turn_seconds)
        # An adapter, because picows makes a child logger for every socket when it gets a plain logger.
        self.picows_log = logging.LoggerAdapter(logging.getLogger("picows"), {})
        self.admission = Admission(route, allowed_origins, limits.max_connections, limits.max_address_connections)

    def __call__(
        self,
        config: object,
        server_state: ServerState,
        app_state: object,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Upgrade:
        """What uvicorn calls once for each upgrade request."""
        return Upgrade(self, server_state)

    def admit(self, handshake: Handshake) -> Door | HttpRefusal:
        """See `Admission.admit`."""
        return self.admission.admit(handshake, len(self.connections))


class Upgrade(ThrottledReader):
    """One upgrade: stands between uvicorn's HTTP protocol and picows' until the transport has been handed over."""

    def __init__(self, endpoint: PicowsEndpoint, server_state: ServerState) -> None:
        super().__init__(endpoint.limits.stranger_receive_bytes)
        self._endpoint = endpoint
        self._server_state = server_state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        limits = self._endpoint.limits
        transport.set_write_buffer_limits(high=limits.high_water_bytes, low=limits.low_water_bytes)
        self.transport = transport
        self.inner = WSProtocol(
            None,  # host and port, for clients
            None,  # path, for clients
            False,  # is_client_side
            self._listener,
            self._endpoint.picows_log,
            True,  # disconnect_on_exception
            None,  # handshake timeout: uvicorn has read the whole request
            False,  # enable_auto_ping: it would count a peer we stopped reading from as dead
            limits.ping_interval_seconds,
            limits.pong_timeout_seconds,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong: one for each ping; the last of a turn is enough (RFC 6455 §5.5.3)
            limits.max_message_bytes,
            None,  # extra headers, for clients
            READ_BYTES,  # grows to the largest message
        )
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """The handshake, from uvicorn."""
        self.pass_on(memoryview(data))

    def _listener(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        sent = {name.lower(): value for name, value in request.headers.items()}
        peer = client_address(self.transport.get_extra_info("peername"))
        client = peer_of(peer, sent.get("x-forwarded-for", ""), self._endpoint.limits.trusted_proxies)
        handshake = Handshake.of(request.path.decode("latin-1"), sent, client)
        admitted = self._endpoint.admit(handshake)
        if isinstance(admitted, HttpRefusal):
            response = WSUpgradeResponse.create_error_response(admitted.status, admitted.title.encode())
            return WSUpgradeResponseWithListener(response, None)
        connection = PicowsConnection(admitted, handshake, self._endpoint, self._server_state, self)
        chosen = handshake.subprotocol(self._endpoint.limits.subprotocols)
        headers = {"Sec-WebSocket-Protocol": chosen} if chosen else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), connection)


class PicowsConnection(WSListener, TakesTurns, HasPulse):
    """A `Connection` on a picows transport: joins fragments, pings, and sees the close through."""

    def __init__(
        self,
        door: Door,
        handshake: Handshake,
        endpoint: PicowsEndpoint,
        server_state: ServerState,
        upgrade: Upgrade,
    ) -> None:
        TakesTurns.__init__(self, endpoint.turns, is_stranger=True)
        HasPulse.__init__(self, endpoint.limits)
        self._door = door
        self._handshake = handshake
        self._stranger = Stranger(endpoint.strangers, handshake.host)
        self._endpoint = endpoint
        self._server_state = server_state
        self._upgrade: Upgrade | None = upgrade  # while it reads
        self._loop = asyncio.get_running_loop()
        self._peer: Peer | None = None
        self._fragments = Fragments(self._limits.max_message_bytes, self._limits.max_small_fragments)
        self._pace = Pace(self._limits.pace, self._loop.time())
        self._pinged: bytes | None = None  # what the pong will say
        self._writing_paused = False
        self._close_code: int | None = None  # set: nothing is passed on any more

    # What a session calls.

    def send(self, frame: bytes) -> None:
        if self._close_code is not None:
            return
        if len(frame) <= IN_PLACE_BYTES:
            self._transport.send(BINARY, frame)
        else:
            self._transport.send_reuse_external_bytearray(BINARY, bytearray(HEADER_ROOM) + frame, HEADER_ROOM)

    def buffered_bytes(self) -> int:
        return self._socket.get_write_buffer_size() if self._writing_paused and self._close_code is None else 0

    def close(self, code: int, reason: str) -> None:
        if self._close_code is not None:
            return
        self.hear_no_more()
        self._ended(code)
        if self._stranger.waits(code, partial(self._say_close, code, reason)):
            self._reading.stop("refusal")
        else:
            self._say_close(code, reason)

    def known(self) -> None:
        if self._close_code is None:
            self.is_stranger = False
            self._stranger.known()
            if self._upgrade is not None:
                self._upgrade.hand_over()
                self._upgrade = None

    def pause_reading(self) -> None:
        if self._close_code is None:
            self._reading.stop("peer")

    def resume_reading(self) -> None:
        self._reading.go_on("peer")

    def shutdown(self) -> None:
        """uvicorn's graceful shutdown calls this on every live connection."""
        self.close(close_codes.RESTART, "server restart")
        if self._stranger.is_waiting:
            self._socket.abort()

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._endpoint.connections.add(self)
        self._endpoint.admission.opened(self._handshake)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # needs shutdown() only
        self.begin_pulse(transport.underlying_transport)
        if self._upgrade is not None:
            self._upgrade.reading = self._reading
        try:
            self._peer = self._door(self._handshake, self)
        except Exception:
            log.exception("door failed", client=self._handshake.client)
            self.close(close_codes.INTERNAL_ERROR, "internal error")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._close_code is not None:
            self._frame_after_close(frame)
            return
        self.is_heard = True
        pace = self._pace
        pace.messages_left -= 1
        pace.bytes_left -= frame.payload_size
        if pace.messages_left < 0 or pace.bytes_left < 0:
            self.slow_down(pace.settle(self._loop.time()))
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(close_codes.PROTOCOL_ERROR, "no extension was negotiated")
        elif frame.msg_type == BINARY and frame.fin and not self._fragments.have_begun:
            self.deliver(frame.get_payload_as_bytes(), self._loop.time)
        else:
            self._reading.spend(frame.payload_size, self._loop)
            self._rare_frame(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.hear_all()
        self._upgrade = None
        is_broken = self._close_code is None and transport.is_close_frame_sent  # picows refused a frame
        self._ended(close_codes.PROTOCOL_ERROR if is_broken else close_codes.ABNORMAL)
        self._stranger.gone(has_offended=is_broken)
        self._reading.full_speed()
        self.end_pulse()
        if self in self._endpoint.connections:
            self._endpoint.connections.discard(self)
            self._endpoint.admission.closed(self._handshake)
        self._server_state.connections.discard(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        if self._writing_paused:
            self._writing_paused = False
            if self._close_code is None and self._peer is not None:
                self._peer.drained()

    # Inside.

    def _frame_after_close(self, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self._socket.close()
        else:
            self._reading.ignore(frame.payload_size, self._loop)

    def _say_close(self, code: int, reason: str) -> None:
        self._transport.send_close(code, reason)  # type: ignore[arg-type]  # any number goes on the wire
        self._reading.go_on_anyway()  # the peer's close frame is behind what it has sent already
        self.await_close()

    def slow_down(self, seconds: float) -> None:
        """See `PacedConnection.slow_down`. What picows has read already still comes, and adds to it."""
        if seconds > 0 and self._close_code is None and self._reading.stop_for(seconds, self._loop):
            self._endpoint.on_slowed()

    def _hold(self) -> None:
        self._reading.stop("turn")

    def _release(self) -> None:
        self._reading.go_on("turn")

    def _rare_frame(self, frame: WSFrame) -> None:
        match frame.msg_type:
            case WSMsgType.PING:
                if self._pinged is None:
                    self._loop.call_soon(self._pong)
                self._pinged = frame.get_payload_as_bytes()
            case WSMsgType.PONG:
                pass  # hearing anything at all is one
            case WSMsgType.TEXT:
                self.close(close_codes.TEXT_NOT_SUPPORTED, "binary messages only")
            case WSMsgType.CLOSE:
                self._answer_close(int(frame.get_close_code()))  # type: ignore[call-overload]
            case _:
                self._fragment(frame)

    def _fragment(self, frame: WSFrame) -> None:
        try:
            message = self._fragments.add(
                frame.get_payload_as_memoryview(), is_first=frame.msg_type == BINARY, is_last=bool(frame.fin)
            )
        except Broken as broken:
            self.close(broken.code, broken.reason)
            return
        if message is not None:
            self.deliver(message, self._loop.time)

    def _hear(self, message: bytes) -> None:
        if self._peer is None:
            return
        try:
            self._peer.received(message)
        except Exception:
            log.exception("peer failed", client=self._handshake.client)
            self.close(close_codes.INTERNAL_ERROR, "internal error")

    def _pong(self) -> None:
        payload, self._pinged = self._pinged, None
        if self._close_code is None and payload is not None:
            self._transport.send_pong(payload)

    def _answer_close(self, code: int) -> None:
        self.hear_all()
        if self._close_code is not None:  # what was heard last was an end of its own
            self._socket.close()
            return
        without_code = code in (0, 1005, 1006)  # 0: the peer's close frame was empty; the others are not sendable
        self._transport.send_close(close_codes.NORMAL if without_code else code)  # type: ignore[arg-type]
        self._ended(close_codes.NO_CODE if without_code else code)
        self._socket.close()
        self.await_close()

    def _ended(self, code: int) -> None:
        """Nothing more passes in either direction. The peer hears of it from the loop, not from inside a call of
        its own: a room closes sessions while it walks over them."""
        if self._close_code is None:
            self._close_code = code
            self._fragments.forget()
            self._loop.call_soon(self._tell_closed, code)

    def _tell_closed(self, code: int) -> None:
        peer, self._peer = self._peer, None  # its session holds this connection: they part here
        if peer is not None:
            peer.closed(code)

    def _ping(self) -> None:
        if self._transport.is_close_frame_sent:  # picows refused a frame and closes; see that it comes to an end
            self._socket.abort()
        else:
            self._transport.send_ping()
