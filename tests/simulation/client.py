"""A client of the simulation: a real document that is edited on and off line and syncs as y-websocket does."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pycrdt import Array, Doc, Map, Text

from crdt.sync import SyncStep1, SyncStep2, Update
from server.dialects import y_websocket
from tests.simulation.network import Link

if TYPE_CHECKING:
    from tests.simulation.world import World

WORDS = ("red ", "héron ", "lune ", "x", "42 ", "\n")
FIELDS = ("status", "priority", "userId", "completedAt")


class Client:
    """One user's replica of one issue. It reconnects for ever, and only a reload makes it forget."""

    def __init__(self, world: World, name: str, user: str, issue: UUID) -> None:
        self.world = world
        self.name = name
        self.user = user
        self.issue = issue
        self.link: Link | None = None
        self.wants_link = True
        self._random = Random(f"{world.seed} {name}")
        self._failures = 0
        self.doc: Doc[Any]
        self.reload()

    def reload(self) -> None:
        """A fresh page: a new client id, and what was not synced is gone. That is the user's choice, not a loss."""
        self.doc = Doc(client_id=self._random.randrange(1, 1 << 32))
        self.disconnect()

    # Editing.

    def edit(self) -> None:
        """Something a user does; sent at once when there is a link."""
        before = self.doc.get_state()
        for _ in range(self._random.choice((1, 1, 1, 3))):
            self._edit_once()
        update = self.doc.get_update(before)
        if self.link is not None:
            self.link.say(y_websocket.update(update))

    def paste(self) -> None:
        """Something big enough to be checked by an engine."""
        before = self.doc.get_state()
        self.doc.get("description", type=Text).insert(0, "pasted " * self._random.randrange(50, 200))
        if self.link is not None:
            self.link.say(y_websocket.update(self.doc.get_update(before)))

    def _edit_once(self) -> None:
        match self._random.randrange(6):
            case 0 | 1:
                text = self.doc.get(self._random.choice(("title", "description")), type=Text)
                text += self._random.choice(WORDS)
            case 2:
                self._erase()
            case 3:
                self.doc.get("fields", type=Map)[self._random.choice(FIELDS)] = self._random.choice(WORDS)
            case 4:
                self._comment()
            case _:
                labels = self.doc.get("labels", type=Map)
                label = self._random.choice(WORDS)
                if label in labels and self._random.random() < 0.5:
                    del labels[label]
                else:
                    labels[label] = True

    def _erase(self) -> None:
        text = self.doc.get("title", type=Text)
        content = str(text)
        if content:
            at = self._random.randrange(len(content))
            start = len(content[:at].encode())
            del text[start : start + len(content[at].encode())]

    def _comment(self) -> None:
        comments = self.doc.get("comments", type=Map)
        key = str(self._random.randrange(4))
        if key in comments and self._random.random() < 0.7:
            body = comments[key]["body"]
            body += self._random.choice(WORDS)
        else:
            comments[key] = Map({"author": self.user, "body": Text("so: "), "seen": Array([1])})

    # Syncing.

    def connect(self) -> None:
        """Open a socket to some node."""
        if self.link is None and self.wants_link:
            self.link = self.world.open_link(self)
            if self.link is None:
                self._retry()
                return
            self.link.say(y_websocket.sync_step1(self.doc.get_state()))

    def disconnect(self) -> None:
        """The network is gone; both ends lose what is under way."""
        link, self.link = self.link, None
        if link is not None:
            link.cut()
            self._retry()

    def hears(self, frame: bytes) -> None:
        """A frame from the server."""
        match y_websocket.decode(frame):
            case Update(update):
                self.doc.apply_update(update)
            case SyncStep2(update):
                self.doc.apply_update(update)
                self._failures = 0
            case SyncStep1(state_vector) if self.link is not None:
                self.link.say(y_websocket.sync_step2(self.doc.get_update(state_vector)))
            case _:
                pass

    def closed(self, link: Link, code: int) -> None:
        """The socket is gone."""
        if 4400 <= code <= 4499:
            raise AssertionError(f"{self.name} was turned away for ever: {code}")
        if self.link is link:
            self.link = None
            self._retry()

    def _retry(self) -> None:
        self._failures += 1
        delay = min(2.5, 0.1 * 2**self._failures) * self._random.uniform(0.5, 1)
        asyncio.get_running_loop().call_later(delay, self.connect)
