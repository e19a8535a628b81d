"""Sockets at `/hocuspocus`: made into peers, routed to one channel a document, kept alive, and closed when nobody
authenticates."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final

import structlog

from crdt.errors import Refused
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.dialects.hocuspocus import Event, Leave, Pong
from server.doors.credentials import presented
from server.doors.hocuspocus.channel import Channel
from server.doors.hocuspocus.limits import HocuspocusLimits
from server.doors.hocuspocus.socket import SharedSocket
from server.doors.hocuspocus.surroundings import Surroundings
from server.doors.yjs import YjsServices
from server.websocket import Handshake, PacedConnection, Peer
from storage.store import Workspace

log = structlog.get_logger()

PATH: Final = "/hocuspocus"


class HocuspocusDoor:
    """Makes a peer of every socket at `/hocuspocus`. `tasks` owns the issues that are being opened."""

    def __init__(self, services: YjsServices, limits: HocuspocusLimits, tasks: asyncio.TaskGroup) -> None:
        self.limits = limits
        self.peers: set[HocuspocusPeer] = set()
        self.around = Surroundings(services, limits, self._workspace, self._spawn)
        self._tasks = tasks
        self._openings: set[asyncio.Task[None]] = set()
        self._workspaces: dict[str, Workspace] = {}  # as many as the store has; none is ever removed or renamed

    def __call__(self, handshake: Handshake, connection: PacedConnection) -> Peer:
        """A `server.websocket.Door`."""
        peer = HocuspocusPeer(self, SharedSocket(connection, presented(handshake), self.limits))
        self.peers.add(peer)
        return peer

    def close(self) -> None:
        """Give up the issues that are being opened."""
        for opening in list(self._openings):
            opening.cancel()

    async def _workspace(self, slug: str) -> Workspace | None:
        known = self._workspaces.get(slug)
        if known is None:
            known = await self.around.services.store.workspace(slug)
            if known is not None:
                self._workspaces[slug] = known
        return known

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name="hocuspocus opening")
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)
        return task


class HocuspocusPeer:
    """One socket and its documents, by the address as it came: two sessions of one document are two of them."""

    def __init__(self, door: HocuspocusDoor, socket: SharedSocket) -> None:
        self._door = door
        self._socket = socket
        self._channels: dict[bytes, Channel] = {}
        loop = self._loop = asyncio.get_running_loop()
        limits = door.limits
        self._authentication_timer = loop.call_later(limits.authentication_timeout, self._expect_authentication)
        self._keep_alive_timer = loop.call_later(limits.keep_alive_seconds, self._keep_alive)

    def received(self, message: bytes) -> None:
        """See `Peer.received`."""
        if self._socket.is_closed:
            return
        try:
            envelope = hocuspocus.split(message)
        except Refused as refused:
            self._refuse(refused)
            return
        if not isinstance(envelope, Pong):
            self._route(envelope.header, envelope.frame)
            self._socket.slow_down_when_full()

    def drained(self) -> None:
        """See `Peer.drained`. Documents that wait for room get it in turn, as long as there is some."""
        self._socket.drained()
        for header in list(self._channels):
            if self._socket.is_full:
                return
            channel = self._channels.pop(header)
            self._channels[header] = channel  # last in line the next time
            channel.drained()

    def closed(self, code: int) -> None:
        """See `Peer.closed`."""
        self._socket.ended()
        self._authentication_timer.cancel()
        self._keep_alive_timer.cancel()
        if close_codes.is_offence(code):
            self._offended()
        for channel in self._channels.values():
            channel.leave()
        self._channels.clear()
        self._door.peers.discard(self)

    def _route(self, header: bytes, frame: bytes) -> None:
        channel = self._channels.get(header)
        if channel is not None and (update := y_websocket.short_update(frame)) is not None:
            channel.take_update(update)
            return
        try:
            event = hocuspocus.decode(frame)
            if channel is None and not isinstance(event, Leave):
                channel = self._make_channel(header)
        except Refused as refused:
            if channel is None:
                self._refuse(refused)
            else:
                channel.refuse(refused)
            return
        if channel is not None:
            self._deliver(header, channel, event)

    def _deliver(self, header: bytes, channel: Channel, event: Event) -> None:
        if isinstance(event, Leave):
            del self._channels[header]
            channel.leave()
            if self._socket.knows_close:
                channel.answers.send(hocuspocus.close("provider_initiated"))
        else:
            channel.received(event)

    def _make_channel(self, header: bytes) -> Channel:
        """Raises `Refused` when the address is not text."""
        channel = Channel(header, self._socket, self._door.around)
        strangers = [known for known, other in self._channels.items() if other.identity is None]
        if len(strangers) >= self._door.limits.max_unauthenticated_documents:
            # One that was denied was told so, and starts anew when it comes again.
            denied = next((known for known in strangers if self._channels[known].is_shut), None)
            if denied is None:
                self._socket.close(close_codes.RESET, "too many documents before authentication")
                return channel
            self._channels.pop(denied).leave()
        self._channels[header] = channel
        return channel

    def _refuse(self, refused: Refused) -> None:
        """Nothing says which document it is about, or nobody is known to have sent it."""
        self._door.around.services.metrics.refusals.labels(refused.reason).inc()
        log.info("message refused", session=self._socket.name, reason=refused.reason, detail=refused.detail)
        self._socket.close(close_codes.for_refusal(refused.reason), refused.reason)

    def _offended(self) -> None:
        """Whoever it is that shares the socket."""
        visits = [channel.admission.visit for channel in self._channels.values()]
        for visit in [visit for visit in visits if visit is not None][:1]:
            visit.offended()

    def _expect_authentication(self) -> None:
        if not self._socket.is_known:
            self._socket.close(close_codes.AUTHENTICATION_TIMEOUT, "nobody authenticated")

    def _keep_alive(self) -> None:
        """Providers reconnect after 30 s without a message, and WebSocket pings do not count as one. A socket with
        unsent bytes needs no more of them."""
        silence = self._loop.time() - self._socket.sent_at
        interval = self._door.limits.keep_alive_seconds
        if silence >= interval and not self._socket.buffered_bytes():
            self._send_keep_alive()
        self._keep_alive_timer = self._loop.call_later(
            interval if silence >= interval else interval - silence, self._keep_alive
        )

    def _send_keep_alive(self) -> None:
        if (self._socket.provider or 0) >= 4:
            self._socket.send(hocuspocus.PING)
            return
        for channel in self._channels.values():  # any will do: it is the socket that its provider watches
            channel.answers.send(y_websocket.KEEP_ALIVE)
            return
