"""Several real clients that type into one issue for as long as a test wants, whatever happens to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from tests.js.browser import Browser, Tab, browser
from tests.peers.server_process import ServerProcess, eventually

USERS = ("ana", "ben", "cleo")
PACE_MILLISECONDS = 8


@dataclass(slots=True)
class Crew:
    """Tabs by the mark their words carry."""

    node: Browser
    issue: UUID
    tabs: dict[str, Tab]

    @property
    def all_tabs(self) -> list[Tab]:
        """Everybody."""
        return list(self.tabs.values())

    async def start_typing(self, seed: int) -> None:
        """All type at once, at places that `seed` decides."""
        for number, (mark, tab) in enumerate(self.tabs.items()):
            await tab.type(mark=mark, milliseconds=PACE_MILLISECONDS, seed=seed * 100 + number)

    async def typed(self) -> int:
        """Words typed so far, all together."""
        return sum([await tab.typed() for tab in self.all_tabs])

    async def type_more(self, words: int) -> None:
        """Return when so many more words have been typed."""
        goal = await self.typed() + words

        async def reached() -> bool:
            return await self.typed() >= goal

        await eventually(reached, f"{words} more words")

    async def stop_typing(self) -> dict[str, int]:
        """Everybody rests; returns the number of words by mark."""
        return {mark: await tab.hush() for mark, tab in self.tabs.items()}

    async def all_sent_away(self, *codes: int) -> None:
        """Wait until everybody has had a close with one of these codes."""
        for tab in self.all_tabs:
            await tab.wait_closed(*codes)

    async def all_hear_each_other(self) -> None:
        """Wait until an edit of everyone, made now, has reached everyone: all are online and nothing is stuck."""
        for tab in self.all_tabs:
            known = await tab.look()
            for other in self.all_tabs:
                await other.wait_covers(known)


@asynccontextmanager
async def crew(server: ServerProcess, *, port: int | None = None) -> AsyncIterator[Crew]:
    """Three users, y-websocket 2.1 and 3.1 among them, in sync on a new issue. `port`: through a detour."""
    issue = uuid4()
    async with browser() as node:
        tabs = {}
        for number, user in enumerate(USERS):
            address = server.address(server.token(user), issue, port)
            tabs[user[0]] = await node.open(address, version=2 + number % 2)
        for tab in tabs.values():
            await tab.wait("synced")
        yield Crew(node, issue, tabs)
