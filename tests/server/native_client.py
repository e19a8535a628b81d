"""A client of the native protocol without a socket: documents, a cursor, an outbox, and the checks a client makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from pycrdt import Doc, Text

from crdt.native import (
    Ack,
    ClientFrame,
    Conflicts,
    Delta,
    Follow,
    Frame,
    Hello,
    Page,
    Push,
    PushEntry,
    Reload,
    ReloadPoint,
    Reset,
    ServerFrame,
    State,
    Want,
    Welcome,
)
from crdt.native_codec import decode_server, encode
from crdt.native_entries import TOMBSTONE, Entry, read_conflict, read_entries
from server.websocket import Door, Handshake, Peer
from tests.server.house import Wire

SomeFrame = TypeVar("SomeFrame", bound=ServerFrame)


class Socket(Wire):
    """A connection that tells its peer when it is gone or has drained, as the endpoints do."""

    def __init__(self) -> None:
        super().__init__()
        self.peer: Peer | None = None
        self.is_known = False

    def flow(self) -> None:
        """See `Wire.flow`."""
        super().flow()
        assert self.peer is not None
        self.peer.drained()

    def known(self) -> None:
        """See `PacedConnection.known`."""
        self.is_known = True

    def cut(self, code: int = 1006) -> None:
        """The socket is gone."""
        self.closed = self.closed or (code, "")
        self.frames, self.unsent = [], []
        assert self.peer is not None
        self.peer.closed(self.closed[0])


class NativeClient:
    """One replica of a workspace. What it knows outlives its sockets."""

    def __init__(self, door: Callable[[], Door], user: str = "ana", number: int = 1, mode: str = "updates") -> None:
        self.door = door
        self.user = user
        self.number = number
        self.mode = mode
        self.docs: dict[UUID, Doc[Any]] = {}
        self.epoch: UUID | None = None
        self.cursor: int | None = None
        self.reload: ReloadPoint | None = None
        self.outbox: dict[int, PushEntry] = {}
        self.acked: dict[int, int] = {}
        self.pushed = 0
        self.heard: list[ServerFrame] = []
        self.entries: list[Entry] = []
        self.head = -1
        self.open_conflicts: dict[str, dict[str, Any]] = {}
        self.told_conflicts: list[dict[str, Any]] = []
        self.change = 0
        self.newest_change = -1
        self.conflicts_epoch: UUID | None = None
        self.socket = Socket()
        self.is_connected = False

    # The socket.

    def connect(self, token: str | None = None, path: str = "/v1/workspaces/main/sync", *, greet: bool = True) -> None:
        """A new socket, and the hello."""
        self.socket = Socket()
        handshake = Handshake(path, {}, {}, f"{self.user}:1")
        self.socket.peer = self.door()(handshake, self.socket)
        self.is_connected = True
        self.head = -1
        if greet:
            epoch, cursor = (self.epoch, self.cursor) if self.reload is None else (self.epoch, None)
            self.say(Hello(token or self.user, "test", None, self.mode, epoch, cursor, self.reload))

    async def follow(self) -> None:
        """Ask for conflicts, from where it stands."""
        self.newest_change = -1
        welcome = await self.until(Welcome)
        assert welcome.limits["conflict_rows"]
        self.say(Follow(self.conflicts_epoch or welcome.epoch, self.change))

    async def until_told(self) -> None:
        """Until it has been told all there is of conflicts."""
        for _ in range(2_000):
            self.hear()
            if self.newest_change == self.change:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"at {self.change} of {self.newest_change}; heard {self.heard[-5:]}")

    def disconnect(self) -> None:
        """Cut the socket; what was under way is lost."""
        self.is_connected = False
        self.socket.cut()

    def say(self, frame: ClientFrame) -> None:
        """Send a frame."""
        self.send(encode(frame))

    def send(self, message: bytes) -> None:
        """Send any bytes."""
        assert self.socket.peer is not None
        if self.socket.closed is None:
            self.socket.peer.received(message)

    def hear(self) -> list[ServerFrame]:
        """Take in what was sent to it; also returns it."""
        frames, self.socket.frames = self.socket.frames, []
        heard = [decode_server(frame) for frame in frames]
        for frame in heard:
            self._take(frame)
        self.heard += heard
        return heard

    async def until(self, kind: type[SomeFrame]) -> SomeFrame:
        """The next frame of a kind; what comes with it is heard too."""
        for _ in range(2_000):
            for frame in self.hear():
                if isinstance(frame, kind):
                    return frame
            await asyncio.sleep(0.005)
        raise AssertionError(f"no {kind.__name__}; heard {self.heard[-5:]}")

    async def until_live(self, head: int = 0) -> None:
        """Until the feed has brought it to the newest it knows of, and at least to `head`."""
        for _ in range(2_000):
            self.hear()
            if self.cursor is not None and self.head == self.cursor >= head:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"at {self.cursor} of {self.head}; heard {self.heard[-5:]}")

    # Edits.

    def doc(self, issue: UUID) -> Doc[Any]:
        """Its replica of an issue."""
        if issue not in self.docs:
            self.docs[issue] = Doc(client_id=self.number * 1_000 + len(self.docs) + 1)
        return self.docs[issue]

    def title(self, issue: UUID) -> str:
        """What it shows."""
        return str(self.doc(issue).get("title", type=Text))

    def edit(self, issue: UUID, text: str) -> PushEntry:
        """Append to a title, into the outbox."""
        doc = self.doc(issue)
        before = doc.get_state()
        title = doc.get("title", type=Text)
        title.insert(len(str(title).encode()), text)
        return self.keep(issue, doc.get_update(before))

    def keep(self, issue: UUID, update: bytes) -> PushEntry:
        """Put an update into the outbox."""
        self.pushed += 1
        entry = self.outbox[self.pushed] = PushEntry(self.pushed, issue, update)
        return entry

    def push(self) -> None:
        """Send the whole outbox, in order."""
        self.say(Push(tuple(self.outbox.values())))

    def write(self, issue: UUID, text: str) -> int:
        """Edit and push just that; its client_seq."""
        entry = self.edit(issue, text)
        self.say(Push((entry,)))
        return entry.client_seq

    # What a client does with what it hears.

    def _take(self, frame: Frame) -> None:
        match frame:
            case Welcome():
                pass
            case Page():
                assert self.cursor == frame.from_seq, "a page out of order"
                self._apply(read_entries(frame.body, frame.is_packed))
                self.cursor, self.head = frame.to_seq, frame.head
            case Reset():
                self.epoch = frame.epoch
                self.reload = ReloadPoint(frame.base, frame.since, None)
            case Reload():
                assert self.reload is not None
                assert (frame.base, frame.after) == (self.reload.base, self.reload.after), "a reload out of order"
                self._apply(read_entries(frame.body, frame.is_packed))
                if frame.until is None:
                    self.cursor, self.reload = frame.base, None
                else:
                    self.reload = ReloadPoint(frame.base, self.reload.since, frame.until)
            case Conflicts():
                self._take_conflicts(frame)
            case State(issue, update) | Delta(issue, update):
                self.doc(issue).apply_update(update)
            case Ack(acked):
                for client_seq, seq in acked:
                    self.acked[client_seq] = seq
                    self.outbox.pop(client_seq, None)
            case Want(issue, state_vector):
                entry = self.keep(issue, self.doc(issue).get_update(state_vector))
                self.say(Push((entry,)))
            case _:
                pass

    def _take_conflicts(self, frame: Conflicts) -> None:
        if frame.from_change == 0:
            self.open_conflicts.clear()
        else:
            assert (self.change, self.conflicts_epoch) == (frame.from_change, frame.epoch), "conflicts out of order"
        for entry in read_entries(frame.body, frame.is_packed):
            assert frame.from_change < entry.seq <= frame.to_change
            if entry.kind == TOMBSTONE:
                self._forget(entry.issue)
                continue
            conflict = read_conflict(entry.payload)
            assert conflict["issue_id"] == str(entry.issue)
            self.told_conflicts.append(conflict)
            if conflict["state"] == "open":
                self.open_conflicts[conflict["id"]] = conflict
            else:
                self.open_conflicts.pop(conflict["id"], None)
        self.conflicts_epoch, self.change, self.newest_change = frame.epoch, frame.to_change, frame.newest

    def _forget(self, issue: UUID) -> None:
        kept = {name: each for name, each in self.open_conflicts.items() if each["issue_id"] != str(issue)}
        self.open_conflicts = kept

    def _apply(self, entries: list[Entry]) -> None:
        self.entries += entries
        if self.mode == "updates":
            for entry in entries:
                if entry.kind == TOMBSTONE:
                    self.docs.pop(entry.issue, None)
                else:
                    self.doc(entry.issue).apply_update(entry.payload)
