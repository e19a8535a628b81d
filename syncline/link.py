"""One connection to the server, from hello to close: the feed into the store, the outbox out, open issues both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from crdt import native
from crdt.errors import MALFORMED, TOO_LARGE, Refused
from crdt.native_codec import decode_server, encode
from crdt.native_entries import CONFLICT, SNAPSHOT, TOMBSTONE, UPDATE, read_conflict, read_entries
from syncline.backoff import Backoff
from syncline.conflict import Conflict
from syncline.desk import Desk
from syncline.disk import Disk
from syncline.feed import Stale
from syncline.local_store import Clock, LocalStore
from syncline.pulse import Pulse
from syncline.push_window import PushLimits, PushWindow
from syncline.receipts import Receipts
from syncline.records import (
    Acked,
    Applied,
    ConflictsCame,
    Content,
    ContentCame,
    Event,
    Feed,
    MissingCame,
    Nacked,
    PageCame,
    PurgedCame,
    ReloadCame,
    ResetCame,
)
from syncline.renewal import Renewal
from syncline.status import State, StatusBoard

WELCOME_SECONDS: Final = 15.0
_FRAMES_WAITING: Final = 64  # between socket and store; beyond it the socket is not read from
_FRAMES_POSTED: Final = 1_000  # between the loop and the socket
_LOG: Final = "log"
_CONFLICTS: Final = "conflict_rows"  # of a welcome's limits: the server tells of conflicts
_STATED_ISSUES: Final = 100  # with edits from before the connection
_TRY_AGAIN: Final = frozenset({native.RETRY, native.TOO_FAST, native.WINDOW})


@dataclass(frozen=True, slots=True)
class House:
    """What a connection works on."""

    disk: Disk
    desk: Desk
    receipts: Receipts
    status: StatusBoard
    moved: Pulse  # the store changed
    clock: Clock


class Link:
    """One connection. `run` returns when it has ended; `refusal` says why, where the server said."""

    def __init__(
        self, socket: ClientConnection, house: House, backoff: Backoff, token: str, fetch: Callable[[], Awaitable[str]]
    ) -> None:
        """`backoff`: how to wait before something is tried again · `fetch`: gives a newer token."""
        self._socket = socket
        self._house = house
        self._came: asyncio.Queue[native.ServerFrame] = asyncio.Queue(_FRAMES_WAITING)
        self._posted: asyncio.Queue[native.ClientFrame] = asyncio.Queue(_FRAMES_POSTED)
        self._window: PushWindow | None = None
        self._retries = backoff.fresh()
        self._push_at = 0.0  # not before, by the loop's time
        self._reopenings = backoff.fresh()
        self._is_read_only = False
        self._head = 0
        self._newest_change = 0
        self._lagging = {_LOG}
        self._stated: dict[int, UUID] = {}  # by the last edit that is to be answered
        self.renewal = Renewal(token, fetch, lambda fresh: self.post(native.Renew(fresh)), backoff.fresh())
        self.refusal: native.Refusal | None = None
        self.was_welcome = False

    async def run(self, client: str, device_id: str, feed: Feed) -> None:
        """Greet, then keep client and server in step until the socket ends. Raises StoreFailed in a group."""
        try:
            await self._socket.send(encode(_hello(self.renewal.token, client, device_id, feed)))
            async with asyncio.timeout(WELCOME_SECONDS):
                welcome = decode_server(await self._message())
            if not isinstance(welcome, native.Welcome):
                self.refusal = welcome if isinstance(welcome, native.Refusal) else None
                await self._socket.wait_closed()
                return
            self._begin(welcome)
            async with asyncio.TaskGroup() as tasks:
                await self._say_what_is_here(welcome)
                for work in (self._read(), self._take(), self._push(), self._send(), self._open_all()):
                    tasks.create_task(work)
                tasks.create_task(self._follow_conflicts(welcome))
                tasks.create_task(self.renewal.run(welcome.server_time_ms / 1000))
        except* (ConnectionClosed, TimeoutError, Stale):
            pass
        except* Refused as refused:
            self.refusal = native.Refusal(native.UNEXPECTED, f"the server's frame: {refused.exceptions[0]}")
        finally:
            await self._socket.close()

    def post(self, frame: native.ClientFrame) -> None:
        """Send when the socket takes it. Where it takes nothing for long, presence is dropped: it is said again."""
        if self._posted.full():
            return
        self._posted.put_nowait(frame)

    async def open(self, issue_id: UUID) -> None:
        """Be in an issue: its deltas come at once, its presence too."""
        self.post(native.Open(issue_id, await self._house.disk.call(LocalStore.state_vector, issue_id)))
        self._house.desk.renew_presence([issue_id])

    async def _say_what_is_here(self, welcome: native.Welcome) -> None:
        """Of issues with edits from before this connection, ahead of the edits and before anything new is taken in: so
        the server knows what whoever wrote them had not heard of."""
        most = min(_STATED_ISSUES, welcome.limits.get("open_issues", 0) // 2)
        for issue_id, newest, state_vector in await self._house.disk.call(LocalStore.unsent_issues, most):
            self._stated[newest] = issue_id
            await self._socket.send(encode(native.Open(issue_id, state_vector)))

    def _begin(self, welcome: native.Welcome) -> None:
        self.was_welcome = True
        self._head = welcome.head
        if _CONFLICTS in welcome.limits:
            self._lagging.add(_CONFLICTS)
        self._window = PushWindow(PushLimits.of(welcome.limits))
        self._house.status.enter(State.CATCHING_UP)

    async def _message(self) -> bytes:
        message = await self._socket.recv()
        return message if isinstance(message, bytes) else message.encode()

    async def _read(self) -> None:
        while True:
            await self._came.put(decode_server(await self._message()))

    async def _send(self) -> None:
        while True:
            await self._socket.send(encode(await self._posted.get()))

    async def _follow_conflicts(self, welcome: native.Welcome) -> None:
        """From where the store is; an older server does not know how to."""
        if _CONFLICTS in welcome.limits:
            cursor = await self._house.disk.call(LocalStore.conflict_cursor)
            await self._socket.send(encode(native.Follow(cursor.epoch or welcome.epoch, cursor.change)))

    async def _open_all(self) -> None:
        for document in self._house.desk.documents():
            await self.open(document.id)

    async def _take(self) -> None:
        """Everything that has come goes into the store in one transaction, and is shown after its COMMIT."""
        while True:
            frames = [await self._came.get()]
            while not self._came.empty():
                frames.append(self._came.get_nowait())
            events = [event for frame in frames for event in self._hear(frame)]
            if events:
                await self._apply(events)
                self._follow(events)
            self._house.moved.beat()

    def _hear(self, frame: native.ServerFrame) -> Iterable[Event]:
        """What a frame means to the store; what it means to anybody else is done here."""
        match frame:
            case native.Page():
                self._head = frame.head
                purged, contents = _read(frame)
                return [*purged, PageCame(frame.from_seq, frame.to_seq, contents)]
            case native.Reload():
                purged, contents = _read(frame)
                return [*purged, ReloadCame(frame.base, frame.until, contents)]
            case native.Conflicts():
                self._newest_change = frame.newest
                return [ConflictsCame(frame.epoch, frame.from_change, frame.to_change, read_conflicts(frame))]
            case native.Reset():
                self._lagging.add(_LOG)
                self._house.status.enter(State.CATCHING_UP)
                is_new_history = frame.reason in (native.EPOCH, native.AHEAD)
                return [ResetCame(frame.epoch, frame.base, frame.since, is_new_history)]
            case native.State() | native.Delta():
                self._reopenings.reset()
                return [ContentCame((Content(frame.issue, 0, frame.update),))]
            case native.Want():
                return [MissingCame(frame.issue, frame.state_vector)]
            case native.Ack():
                return [self._acked(client_seq, seq) for client_seq, seq in frame.acked]
            case native.Nack():
                return self._nacked(frame)
        self._hear_aside(frame)
        return ()

    def _hear_aside(self, frame: native.ServerFrame) -> None:
        match frame:
            case native.Awareness():
                self._house.desk.hear(frame.issue, frame.update)
            case native.Closed(issue, code):
                if code in (native.RETRY, native.INTERNAL):
                    delay = self._reopenings.next_seconds()
                    asyncio.get_running_loop().call_later(delay, self._reopen, issue)
            case native.Ping(number):
                self.post(native.Pong(number))
            case native.Notice(kind, value):
                if kind == native.READ_ONLY:
                    self._is_read_only = value == "true"
            case native.Refusal():
                self.refusal = frame

    def _reopen(self, issue_id: UUID) -> None:
        if any(document.id == issue_id for document in self._house.desk.documents()):
            self.post(native.Open(issue_id, None))

    def _acked(self, entry_id: int, seq: int) -> Acked:
        self._pushed.answered(entry_id)
        self._retries.reset()
        return Acked(entry_id, seq)

    def _nacked(self, nack: native.Nack) -> list[Event]:
        self._pushed.answered(nack.client_seq)
        if nack.code == native.GAP:
            return []  # the answer to the `want` before it says what this edit says, and settles it
        if nack.code in _TRY_AGAIN:
            self._pushed.retry()
            if nack.retry_after is not None:
                self._push_at = max(self._push_at, asyncio.get_running_loop().time() + nack.retry_after)
            return []
        return [Nacked(nack.client_seq, nack.code, nack.message)]

    def _follow(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PageCame | ReloadCame):
                self._house.status.synced(self._house.clock())
            if isinstance(event, PageCame) and event.to_seq >= self._head:
                self._lagging.discard(_LOG)
            if isinstance(event, ConflictsCame) and event.to_change >= self._newest_change:
                self._lagging.discard(_CONFLICTS)
        if not self._lagging:
            self._house.status.enter(State.LIVE)

    async def _apply(self, events: Sequence[Event]) -> None:
        """What is in the store is shown, even if this connection ends in between: no other will hear of it."""
        applying = self._house.disk.call(LocalStore.apply, events)
        applying.add_done_callback(self._show)
        await asyncio.shield(applying)

    def _show(self, applying: asyncio.Future[Applied]) -> None:
        if applying.cancelled() or applying.exception() is not None:
            return
        applied = applying.result()
        self._house.status.count(applied.pending)
        self._house.desk.take(applied)
        self._house.receipts.settle(applied.settled)
        for one in applied.settled:
            self._leave(self._stated.pop(one.entry_id, None))

    def _leave(self, issue_id: UUID | None) -> None:
        """All that it was opened for is answered."""
        if issue_id is not None and not any(document.id == issue_id for document in self._house.desk.documents()):
            self.post(native.Close(issue_id))

    @property
    def _pushed(self) -> PushWindow:
        assert self._window is not None
        return self._window

    async def _push(self) -> None:
        """The outbox in its order, as much of it unanswered as the server allows."""
        window = self._pushed
        while True:
            count = self._house.moved.count
            if window.must_rewind and window.is_idle:
                await asyncio.sleep(self._pause())
                window.rewind()
            if self._is_read_only or not await self._push_some(window):
                await self._house.moved.after(count)

    def _pause(self) -> float:
        told = self._push_at - asyncio.get_running_loop().time()
        return self._retries.at_least(told) if told > 0 else self._retries.next_seconds()

    async def _push_some(self, window: PushWindow) -> bool:
        """Send the next entries; whether there were any to send."""
        max_entries, max_bytes = window.room
        if not max_entries:
            return False
        entries = await self._house.disk.call(LocalStore.unsent, window.sent_through, max_entries, max_bytes)
        if entries and window.is_too_large(entries[0]):
            # The server would close the connection over it, again and again.
            refused = [Nacked(entries[0].id, TOO_LARGE, "above the server's limit")]
            await self._apply(refused)
            return True
        if not entries or not window.admits(entries):
            return False
        window.sent(entries)
        await self._socket.send(
            encode(native.Push(tuple(native.PushEntry(one.id, one.issue_id, one.update) for one in entries)))
        )
        return True


def _hello(token: str, client: str, device_id: str, feed: Feed) -> native.Hello:
    point = feed.reload
    return native.Hello(
        token=token,
        client=client,
        device_id=device_id,
        epoch=feed.epoch,
        cursor=None if feed.epoch is None else feed.cursor,
        reload=None if point is None else native.ReloadPoint(point.base, point.since, point.after),
    )


def read_conflicts(page: native.Conflicts) -> tuple[Conflict | UUID, ...]:
    """Those that changed, and issues whose conflicts went with them."""
    entries = read_entries(page.body, page.is_packed)
    try:
        return tuple(
            Conflict.of(read_conflict(entry.payload), entry.seq) if entry.kind == CONFLICT else entry.issue
            for entry in entries
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):  # an id that is a number among it
        raise Refused(MALFORMED, "not a conflict") from None


def _read(page: native.Page | native.Reload) -> tuple[list[PurgedCame], tuple[Content, ...]]:
    """Issues that are gone, and what the others hold."""
    entries = read_entries(page.body, page.is_packed)
    purged = [PurgedCame(entry.issue) for entry in entries if entry.kind == TOMBSTONE]
    return purged, tuple(Content(one.issue, one.seq, one.payload) for one in entries if one.kind in (UPDATE, SNAPSHOT))
