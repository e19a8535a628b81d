"""Real clients whose edits are refused: nobody else sees them, their authors are told, a new document is in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from server.permissions import Role
from syncline import Client, IssueNotFound, NotAccepted
from syncline.backoff import Backoff
from tests.js.browser import Browser, Tab, browser, synced
from tests.js.hocuspocus import VERSIONS, Providers, Replica, providers
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What a commenter may not write, and what nobody may.
EDIT = {"op": "append", "root": "title", "text": "graffiti"}
FORGERY = {"op": "comment", "key": "forged", "author": "ana", "body": "I agree"}
TRESPASSES = [(Role.COMMENTER, EDIT), (Role.COMMENTER, FORGERY), (Role.MEMBER, FORGERY)]
trespassing = pytest.mark.parametrize(("role", "trespass"), TRESPASSES)


def commenting(key: str, author: str) -> dict[str, str]:
    """The operation (content.mjs) that adds a comment."""
    return {"op": "comment", "key": key, "author": author, "body": f"by {author}"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A server, browsers and providers, and an issue by ana that others comment on."""

    server: ServerProcess
    tabs: Browser
    node: Providers
    issue: UUID

    async def tab(self, user: str, role: Role = Role.MEMBER, version: int = 3) -> Tab:
        """A y-websocket client that has the issue."""
        tab = await self.tabs.open(self.server.address(self.server.token(user, role), self.issue), version=version)
        await synced([tab])
        return tab

    async def replica(self, user: str, role: Role, version: int) -> Replica:
        """A Hocuspocus client that has the issue."""
        socket = await self.node.socket(f"ws://127.0.0.1:{self.server.port}/hocuspocus", version=version)
        replica = await socket.open(f"main/{self.issue}", self.server.token(user, role))
        await replica.wait("synced")
        return replica

    async def expect_in_line(self, ana: Tab, content: dict[str, Any]) -> None:
        """Ana never saw the trespass, and `content`, of a new document, is what she has."""
        seen = (await ana.look()).content
        assert seen == content
        assert seen["title"]["text"] == "by ana"
        assert set(seen["comments"]) == {"hers", "his"}


@dataclass(frozen=True, slots=True)
class Ground:
    """What the tests share."""

    server: ServerProcess
    tabs: Browser
    node: Providers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground() -> AsyncIterator[Ground]:
    async with forking() as server, browser() as tabs, providers() as node:
        yield Ground(server, tabs, node)


@pytest.fixture
def scene(ground: Ground) -> Scene:
    return Scene(ground.server, ground.tabs, ground.node, uuid4())


async def ana_in(scene: Scene) -> Tab:
    """Ana, who has begun the issue and commented on it."""
    ana = await scene.tab("ana")
    await ana.edit({"op": "append", "root": "title", "text": "by ana"}, commenting("hers", "ana"))
    return ana


@trespassing
@pytest.mark.parametrize("version", [2, 3])
async def test_y_websocket_is_closed_with_4403(
    scene: Scene, version: int, role: Role, trespass: dict[str, str]
) -> None:
    ana = await ana_in(scene)
    cob = await scene.tab("cob", role, version)
    await cob.wait("commented", key="hers")
    await cob.edit(commenting("his", "cob"))
    await ana.wait("commented", key="his")
    await cob.edit(trespass)
    await cob.wait_closed(4403)
    if version == 3:
        await cob.wait("stopped")
    again = await scene.tab("cob", role, version)
    await scene.expect_in_line(ana, (await again.look()).content)


@trespassing
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_hocuspocus_provider_is_told_and_its_document_ends(
    scene: Scene, version: int, role: Role, trespass: dict[str, str]
) -> None:
    ana = await ana_in(scene)
    cob = await scene.replica("cob", role, version)
    await cob.edit(commenting("his", "cob"))
    await cob.wait("saved")
    await cob.edit(trespass)
    await cob.wait("stateless", payload='{"refused":"forbidden"}')
    if version == 4:
        await cob.wait("closed", reason="forbidden")
    else:
        await cob.wait("denied")
    assert (await cob.look()).unsynced > 0
    assert (await cob.look()).scopes == ["read-write"]
    again = await scene.replica("cob", role, version)
    await ana.wait("commented", key="his")
    await scene.expect_in_line(ana, (await again.look()).content)


async def test_the_sdk_takes_the_refused_edit_out_and_goes_on(scene: Scene) -> None:
    ana = await ana_in(scene)
    url = f"http://127.0.0.1:{scene.server.port}"
    backoff = Backoff(first_seconds=0.05, max_seconds=0.5)
    async with Client(url, token=scene.server.token("cob", Role.COMMENTER), backoff=backoff) as cob:

        async def has_it() -> bool:
            try:
                return len((await cob.issues.get(scene.issue)).comments) == 1
            except IssueNotFound:
                return False

        await eventually(has_it, "the issue on the device")
        async with await cob.open(scene.issue) as document:
            receipt = await cob.issues.update(scene.issue, title="graffiti")
            with pytest.raises(NotAccepted, match="forbidden"):
                await receipt.committed
            await (await cob.issues.comment(scene.issue, "by cob", comment_id="his")).committed
            await ana.wait("commented", key="his")
            await eventually(lambda: _reads(str(document.title), "by ana"), "the open document to be in line")
        issue = await cob.issues.get(scene.issue)
        assert (issue.title, [comment.id for comment in issue.comments]) == ("by ana", ["hers", "his"])
    seen = (await ana.look()).content
    assert (seen["title"]["text"], set(seen["comments"])) == ("by ana", {"hers", "his"})


async def _reads(text: str, wanted: str) -> bool:
    return text == wanted


async def test_an_editors_undo_brings_back_what_others_signed(scene: Scene) -> None:
    """Undo writes deleted entries anew, with the names in them: that is no forgery."""
    ana = await ana_in(scene)
    ben = await scene.tab("ben")
    await ben.edit_and_undo({"op": "unset", "root": "comments", "key": "hers"}, roots=["comments"])
    await ben.append("still heard")
    await ana.wait_contains("still heard")
    content = (await ana.look()).content
    assert content["comments"]["hers"]["author"] == "ana"
    assert content["comments"]["hers"]["body"] == "by ana"
    assert (await ben.look()).closes == []


async def test_nobody_burns_a_client_id_that_presence_shows(scene: Scene) -> None:
    ana = await ana_in(scene)
    victim = await scene.tab("vic")
    await victim.show("vic")
    await ana.wait("present", name="vic")
    url = scene.server.address(scene.server.token("eve"), scene.issue)
    eve = await scene.tabs.open(url, clientId=victim.client_id)
    await synced([eve])
    await eve.append("burnt")
    await eve.wait_closed(4403)
    await victim.append("mine")
    await ana.wait_contains("mine")
    await asyncio.gather(ana.destroy(), victim.destroy())
