"""Unmodified Yjs clients on a real server: y-websocket 2.1 and 3.1 in Node, and pycrdt's own provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from pycrdt import Doc, Text

from server.permissions import Role
from tests.faults.proxy import detour
from tests.js.browser import Address, Browser, browser, synced
from tests.peers.forked_server import forking
from tests.peers.pycrdt_peer import provided
from tests.peers.server_process import ServerProcess, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
both_versions = pytest.mark.parametrize("version", [2, 3])

QUIET_SECONDS = 36  # y-websocket gives a silent server up after 30 s


@dataclass(frozen=True, slots=True)
class House:
    """A server with one token for each person."""

    server: ServerProcess
    tokens: dict[str, str]

    def address(self, user: str, issue: UUID, *, port: int | None = None) -> Address:
        return self.server.address(self.tokens[user], issue, port)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    async with forking() as server:
        tokens = {user: server.token(user) for user in ("ana", "ben")}
        tokens["vera"] = server.token("vera", Role.VIEWER)
        tokens["stray"] = server.token("ana", workspace="elsewhere")
        yield House(server, tokens)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
def issue() -> UUID:
    return uuid4()


@both_versions
async def test_edits_travel_both_ways(house: House, node: Browser, issue: UUID, version: int) -> None:
    ana = await node.open(house.address("ana", issue), version=version)
    ben = await node.open(house.address("ben", issue), version=5 - version)
    await synced([ana, ben])
    await ana.append("from ana 😀 ")
    await ben.wait_contains("from ana 😀 ")
    await ben.append("from ben ", "title")
    await ben.set_field("status", "done")
    await ana.wait_contains("from ben ", "title")
    await ana.wait("field", key="status", value="done")
    assert (await ana.look()).content == (await ben.look()).content


@both_versions
async def test_edits_made_offline_arrive_on_return(house: House, node: Browser, issue: UUID, version: int) -> None:
    ana = await node.open(house.address("ana", issue), version=version)
    ben = await node.open(house.address("ben", issue), version=version)
    await synced([ana, ben])
    await ana.disconnect()
    await ana.append("written on a train ")
    await ben.append("written meanwhile ")
    await ana.connect()
    await ben.wait_contains("written on a train ")
    await ana.wait_contains("written meanwhile ")
    assert (await ana.look()).content == (await ben.look()).content


async def test_a_late_joiner_gets_everything(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    for number in range(50):
        await ana.append(f"{number} ")
    await ana.edit({"op": "delete", "root": "description", "at": 0, "length": 4})
    await ana.edit({"op": "comment", "key": "c1", "author": "ana", "body": "after the deletion"})
    ben = await node.open(house.address("ben", issue), version=2)
    await ben.wait_covers(await ana.look())
    assert (await ana.look()).content == (await ben.look()).content


async def test_a_first_edit_made_before_ever_connecting_creates_the_issue(
    house: House, node: Browser, issue: UUID
) -> None:
    ana = await node.open(house.address("ana", issue), connect=False)
    await ana.append("born offline", "title")
    await ana.connect()
    ben = await node.open(house.address("ben", issue))
    await ben.wait_contains("born offline", "title")


async def test_presence_appears_and_vanishes_with_the_tab(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    ben = await node.open(house.address("ben", issue), version=2)
    await synced([ana, ben])
    await ana.show("ana")
    await ben.wait("present", name="ana")
    late = await node.open(house.address("ben", issue))
    await late.wait("present", name="ana")
    await ana.show("ana again")
    await ben.wait("present", name="ana again")
    await ana.destroy()
    await ben.wait("absent", name="ana again", deadline=5)


async def test_presence_vanishes_at_once_when_a_socket_is_reset(house: House, node: Browser, issue: UUID) -> None:
    async with detour(house.server.port) as way:
        ana = await node.open(house.address("ana", issue, port=way.port))
        ben = await node.open(house.address("ben", issue))
        await synced([ana, ben])
        await ana.show("ana")
        await ben.show("ben")
        await ben.wait("present", name="ana")
        await ana.wait("present", name="ben")
        way.refuse(refusing=True)
        way.cut()
        await ben.wait("absent", name="ana", deadline=5)
        assert any(state.get("name") == "ben" for state in (await ben.states()).values())
        await ana.destroy()


@pytest.mark.long(seconds=30)
async def test_presence_of_a_client_whose_network_died_vanishes_within_half_a_minute(
    house: House, node: Browser, issue: UUID
) -> None:
    async with detour(house.server.port) as way:
        ana = await node.open(house.address("ana", issue, port=way.port))
        ben = await node.open(house.address("ben", issue))
        await synced([ana, ben])
        await ana.show("ana")
        await ben.wait("present", name="ana")
        way.stall()
        await ben.wait("absent", name="ana", deadline=40)
        way.flow()
        await ana.destroy()


async def test_a_viewer_reads_and_is_seen(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    vera = await node.open(house.address("vera", issue))
    await ana.append("for all to read")
    await vera.wait_contains("for all to read")
    await vera.show("vera")
    await ana.wait("present", name="vera")


async def test_a_viewer_who_writes_is_stopped_for_good(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    vera = await node.open(house.address("vera", issue), version=3)
    await synced([ana, vera])
    await vera.append("not allowed")
    await vera.wait("stopped")
    stopped = (await vera.look()).stopped
    assert stopped is not None
    assert stopped["code"] == 4403
    await ana.append("still here")
    late = await node.open(house.address("ben", issue))
    await late.wait_contains("still here")
    assert (await late.look()).description == "still here"


@pytest.mark.parametrize(
    ("holder", "workspace", "room", "code"),
    [
        (None, "main", None, 4401),
        ("ana", "elsewhere", None, 4403),
        ("stray", "main", None, 4403),
        ("stray", "elsewhere", None, 4404),
        ("ana", "main", "not-a-uuid", 4404),
    ],
)
async def test_what_cannot_work_stops_the_client(
    house: House, node: Browser, issue: UUID, holder: str | None, workspace: str, room: str | None, code: int
) -> None:
    address = Address(
        f"ws://127.0.0.1:{house.server.port}/yjs/{workspace}",
        room or str(issue),
        {"token": house.tokens[holder] if holder else "nonsense"},
    )
    tab = await node.open(address)
    await tab.wait("stopped")
    seen = await tab.look()
    assert seen.closes == [code]
    old = await node.open(address, version=2)
    await old.wait_closed(code)
    await old.destroy()


async def test_nobody_writes_under_the_client_id_of_somebody_else(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    await ana.append("mine")
    ben = await node.open(house.address("ben", issue))
    await ben.wait_contains("mine")
    forger = await node.open(house.address("ben", issue), connect=False, clientId=ana.client_id)
    await forger.append("mine, or is it not?")
    await forger.connect()
    await forger.wait_closed(4403)
    assert (await ana.look()).description == (await ben.look()).description == "mine"


async def test_linked_tabs_of_one_user_send_each_others_edits(house: House, node: Browser, issue: UUID) -> None:
    first = await node.open(house.address("ana", issue))
    second = await node.open(house.address("ana", issue), version=2)
    ben = await node.open(house.address("ben", issue))
    await synced([first, second, ben])
    await node.link(first, second)
    for number in range(20):
        await first.append(f"a{number} ")
        await second.append(f"b{number} ")
    await ben.wait_covers(await first.look())
    await ben.append("seen")
    await first.wait_contains("seen")
    await second.wait_contains("seen")
    for tab in (first, second, ben):
        assert (await tab.look()).closes == []


async def test_a_tab_brings_home_what_its_offline_sibling_wrote(house: House, node: Browser, issue: UUID) -> None:
    first = await node.open(house.address("ana", issue), connect=False)
    second = await node.open(house.address("ana", issue))
    await second.wait("synced")
    await node.link(first, second)
    await first.append("from the offline tab ")
    await first.connect()
    ben = await node.open(house.address("ben", issue))
    await ben.wait_contains("from the offline tab ")
    for tab in (first, second):
        assert (await tab.look()).closes == []


async def test_tabs_on_a_broadcast_channel_are_welcome(house: House, node: Browser, issue: UUID) -> None:
    tabs = [await node.open(house.address("ana", issue), broadcast=True) for _ in range(3)]
    await synced(tabs)
    for number, tab in enumerate(tabs):
        await tab.append(f"tab {number} ")
    ben = await node.open(house.address("ben", issue))
    for number, tab in enumerate(tabs):
        await ben.wait_contains(f"tab {number} ")
        assert (await tab.look()).closes == []
    for tab in tabs:
        await tab.destroy()


async def test_pycrdts_provider_edits_with_browsers(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    await ana.append("from a browser, ")
    doc: Doc[Any] = Doc()
    description = doc.get("description", type=Text)
    async with provided(doc, house.address("ben", issue)) as provider:
        async with asyncio.timeout(20):
            await provider.synced.wait()
        await eventually(lambda: _is(str(description), "from a browser, "), "the browser's edit in pycrdt")
        description += "from Python"
        await ana.wait_contains("from a browser, from Python")
        await ana.append(" and back")
        await eventually(lambda: _is(str(description), "from a browser, from Python and back"), "a live edit in pycrdt")


async def _is(one: str, other: str) -> bool:
    return one == other


async def test_the_row_in_sql_follows(house: House, node: Browser, issue: UUID) -> None:
    ana = await node.open(house.address("ana", issue))
    await ana.append("Login fails", "title")
    await ana.append("with 😀 and \0 in it")
    await ana.set_field("status", "in_progress")
    await ana.edit({"op": "set", "root": "labels", "key": "bug", "value": True})
    await ana.edit({"op": "comment", "key": "c1", "author": "ana", "body": "first"})

    async def followed() -> bool:
        async with house.server.database() as database:
            row = await database.fetchrow("SELECT title, status, labels FROM issues WHERE id = $1", issue)
            body = await database.fetchval("SELECT body FROM comments WHERE issue_id = $1", issue)
            return row is not None and tuple(row) == ("Login fails", "in_progress", ["bug"]) and body == "first"

    await eventually(followed, "the row of the issue")
    async with house.server.database() as database:
        description = await database.fetchval("SELECT description FROM issues WHERE id = $1", issue)
    assert description.startswith("with 😀 and ")
    assert "\0" not in description


@pytest.mark.long(seconds=35)
async def test_a_quiet_room_keeps_its_connections(house: House, node: Browser, issue: UUID) -> None:
    tabs = [await node.open(house.address("ana", issue), version=version) for version in (2, 3)]
    await synced(tabs)
    await tabs[0].show(None)  # without presence a client sends nothing that could be echoed
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET_SECONDS):
            await tabs[0].wait("connections", count=2, deadline=2 * QUIET_SECONDS)
    for tab in tabs:
        assert (await tab.look()).connections == 1
