"""The SDK, an unmodified Hocuspocus provider and a y-websocket client in one issue, on one real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from syncline import Client, Document, State
from syncline.backoff import Backoff
from tests.js import hocuspocus
from tests.js.browser import Tab, browser
from tests.js.hocuspocus import VERSIONS, providers
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, eventually

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Three:
    """Everybody who has the issue open."""

    server: ServerProcess
    client: Client
    document: Document
    provider: hocuspocus.Replica
    tab: Tab

    @property
    def issue(self) -> UUID:
        """The one they all edit."""
        return self.document.id

    async def write(self, mark: str) -> None:
        """All three at once, each in its own way, several times."""
        await asyncio.gather(*(self._write(f"{mark}{number}") for number in range(ROUNDS)))

    async def _write(self, mark: str) -> None:
        self.document.description.insert(0, f"sdk-{mark} ")
        self.document.labels[f"sdk-{mark}"] = True
        await asyncio.gather(
            self.provider.append(f"hocuspocus-{mark} "),
            self.tab.append(f"y-websocket-{mark} "),
            self.tab.set_field("priority", mark),
            self.tab.edit({"op": "comment", "key": f"tab-{mark}", "author": "ben", "body": f"seen {mark}"}),
            self.client.issues.update(self.issue, status=mark),
            self.client.issues.comment(self.issue, f"said {mark}", comment_id=f"sdk-{mark}"),
        )

    async def contents(self) -> list[dict[str, Any]]:
        """The issue as each of them has it."""
        return [
            _from_sdk(self.document),
            _from_node((await self.provider.look()).content),
            _from_node((await self.tab.look()).content),
        ]

    async def expect_all_equal(self, *marks: str) -> dict[str, Any]:
        """Soon all three have the same, with every word once; that."""

        async def equal() -> bool:
            first, *others = await self.contents()
            return all(other == first for other in others) and words(first) == expected(*marks)

        await eventually(equal, "three replicas to be equal")
        return (await self.contents())[0]

    async def expect_row(self, content: dict[str, Any]) -> None:
        """Soon the tables say so too."""

        async def projected() -> bool:
            async with self.server.database() as database:
                row = await database.fetchrow(
                    "SELECT title, description, status, priority, labels FROM issues WHERE id = $1", self.issue
                )
                comments = await database.fetch("SELECT id, body FROM comments WHERE issue_id = $1", self.issue)
            fields = content["fields"]
            return (
                row is not None
                and tuple(row)[:4] == (content["title"], content["description"], fields["status"], fields["priority"])
                and sorted(row["labels"]) == sorted(content["labels"])
                and {row["id"]: row["body"] for row in comments}
                == {key: comment["body"] for key, comment in content["comments"].items()}
            )

        await eventually(projected, "the row to say what the replicas say")


def _from_sdk(document: Document) -> dict[str, Any]:
    texts = {"title": str(document.title), "description": str(document.description)}
    return texts | {name: getattr(document, name).to_py() for name in ("fields", "labels", "comments")}


def _from_node(content: dict[str, Any]) -> dict[str, Any]:
    texts = {name: content[name]["text"] for name in ("title", "description")}
    return texts | {name: content[name] for name in ("fields", "labels", "comments")}


def words(content: dict[str, Any]) -> list[str]:
    return sorted(content["description"].split())


def expected(*marks: str) -> list[str]:
    writers = ("sdk", "hocuspocus", "y-websocket")
    return sorted(f"{writer}-{mark}{number}" for writer in writers for mark in marks for number in range(ROUNDS))


@asynccontextmanager
async def together(version: int) -> AsyncIterator[Three]:
    """A server, and all three in one new issue."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(forking())
        url, backoff = f"http://127.0.0.1:{server.port}", Backoff(first_seconds=0.05, max_seconds=0.5)
        client = await stack.enter_async_context(Client(url, token=server.token("ana"), backoff=backoff))
        issue = uuid4()
        await (await client.issues.create(id=issue, title="Search is slow")).committed
        document = await stack.enter_async_context(await client.open(issue))
        socket = await (await stack.enter_async_context(providers())).socket(
            f"ws://127.0.0.1:{server.port}/hocuspocus", version=version
        )
        provider = await socket.open(f"main/{issue}", server.token("cleo"))
        tab = await (await stack.enter_async_context(browser())).open(
            server.address(server.token("ben"), issue), version=3 if version > 2 else 2
        )
        for replica in (provider, tab):
            await replica.wait("synced")
        yield Three(server, client, document, provider, tab)


async def test_the_sdk_hocuspocus_and_y_websocket_see_each_other_in_one_issue() -> None:
    async with together(version=4) as three:
        three.document.presence.set({"name": "ana"})
        await three.provider.show("cleo")
        await three.tab.show("ben")
        await asyncio.gather(
            three.provider.wait("present", name="ana"),
            three.tab.wait("present", name="ana"),
            three.provider.wait("present", name="ben"),
            three.tab.wait("present", name="cleo"),
        )
        async for others in three.document.presence:
            if {"ben", "cleo"} <= {state["name"] for state in others.values()}:
                break


@pytest.mark.parametrize(
    "version", [*(pytest.param(old, marks=pytest.mark.long) for old in VERSIONS[:-1]), VERSIONS[-1]]
)
async def test_the_sdk_hocuspocus_and_y_websocket_edit_one_issue_together(version: int) -> None:
    async with together(version) as three:
        await three.write("a")
        await three.expect_all_equal("a")
        await three.server.kill()
        await asyncio.gather(three.client.status.until(State.OFFLINE), three.tab.wait("offline"))
        await three.write("offline")
        await three.server.start()
        await three.write("z")
        await asyncio.gather(three.client.sent(), three.provider.wait("saved", deadline=40))
        await three.expect_row(await three.expect_all_equal("a", "offline", "z"))
