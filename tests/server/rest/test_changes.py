"""The feed over HTTP: pages, reloads, the long poll, and its problem documents."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from pycrdt import Doc, Text

from server.doors.http import http_app
from server.doors.rest.changes import Changes
from server.doors.rest.frame import Frame
from server.doors.rest.polls import PollLimits
from server.doors.rest.problems import PROBLEM_TYPE
from server.doors.rest.routes import routes_of
from server.feed import FeedLimits
from server.feed_readers import PageLimits
from server.metrics import Metrics
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore
from tests.server.native_house import NativeHouse, native_house, verify
from tests.server.test_feed import Readers, many, typed
from tests.simulation.time import in_virtual_time, run_in_virtual_time
from tests.storage.authors import Author


async def ready() -> None:
    pass


async def get(
    node: NativeHouse, address: str = "", token: str = "ana", changes: Changes | None = None, host: str = "192.0.2.1"
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of one request; `address` is what follows `/changes`, or a whole one."""
    if not address.startswith("/"):
        address = f"/v1/workspaces/main/changes{address}"
    served = (changes or Changes(node.feeds)).operations()
    app = http_app(Metrics(), ready, routes_of(Frame(node.house.store, verify), served))
    parts = urlsplit(address)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": parts.path,
        "query_string": parts.query.encode(),
        "client": (host, 50_000),
        "headers": [(b"authorization", f"Bearer {token}".encode())] if token else [],
    }
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:])), headers


def titles(pages: list[dict[str, Any]]) -> dict[str, str]:
    """What the pages say, applied in order."""
    docs: dict[str, Doc[Any]] = {}
    for page in pages:
        for change in page["changes"]:
            docs.setdefault(change["issue"], Doc()).apply_update(b64decode(change.get("update") or change["snapshot"]))
    return {issue: str(doc.get("title", type=Text)) for issue, doc in docs.items()}


async def follow(node: NativeHouse, address: str) -> list[dict[str, Any]]:
    """Every page from an address on, until one is empty."""
    pages = []
    while True:
        status, page, _ = await get(node, address)
        assert status == 200
        pages.append(page)
        if not page["changes"]:
            return pages
        address = page["next"]


@in_virtual_time
async def test_what_came_after_a_cursor_comes_merged_with_the_address_of_what_follows() -> None:
    async with native_house() as node:
        await typed(node.house.store, node.house.workspace.id, issues=2, edits=3)
        status, page, headers = await get(node, "?since=2")
        assert status == 200
        assert (page["from"], page["to"], page["head"]) == (2, 6, 6)
        assert [change["seq"] for change in page["changes"]] == [5, 6]
        assert headers["cache-control"] == "no-store"
        assert (await get(node, page["next"]))[1]["changes"] == []


@in_virtual_time
async def test_following_next_from_nothing_ends_with_everything() -> None:
    async with native_house(feed_limits=FeedLimits(page=PageLimits(deltas=4, bytes=100))) as node:
        await typed(node.house.store, node.house.workspace.id, issues=10, edits=5)
        pages = await follow(node, "")
        assert len(pages) > 3
        assert titles(pages) == {str(issue): "abcde" for issue in many(10)}
        await typed(node.house.store, node.house.workspace.id, issues=1, edits=1)
        later = await follow(node, pages[-1]["next"])
        assert len(later[0]["changes"]) == 1


@in_virtual_time
async def test_limit_bounds_the_deltas_of_an_answer() -> None:
    async with native_house() as node:
        await typed(node.house.store, node.house.workspace.id, issues=1, edits=9)
        assert (await get(node, "?since=0&limit=4"))[1]["to"] == 4


@in_virtual_time
async def test_a_long_poll_ends_with_the_first_change() -> None:
    async with native_house() as node:
        poll = asyncio.create_task(get(node, "?since=0&wait=25"))
        await asyncio.sleep(3)
        assert not poll.done()
        await typed(node.house.store, node.house.workspace.id, issues=1, edits=1)
        started = asyncio.get_running_loop().time()
        _, page, _ = await poll
        assert len(page["changes"]) == 1
        assert asyncio.get_running_loop().time() - started < 1


@in_virtual_time
async def test_a_long_poll_ends_empty_when_its_time_is_over_or_the_server_stops() -> None:
    async with native_house() as node:
        assert (await get(node, "?since=0&wait=25"))[1]["changes"] == []
        assert asyncio.get_running_loop().time() == pytest.approx(25, abs=1)
        poll = asyncio.create_task(get(node, "?since=0&wait=25"))
        await asyncio.sleep(1)
        node.feeds.drain()
        assert (await poll)[1]["changes"] == []
        assert asyncio.get_running_loop().time() < 30


@pytest.mark.parametrize("whose", ["user", "workspace", "address", "server"])
def test_so_many_wait_and_one_more_is_told_when_to_come_again(whose: str) -> None:
    least = dict.fromkeys(("user", "workspace", "address", "node"), 5) | {whose.replace("server", "node"): 2}

    async def scenario() -> None:
        async with native_house() as node:
            changes = Changes(node.feeds, PollLimits(**least))
            same = {"token": "ana"} if whose == "user" else {"host": "192.0.2.9"} if whose == "address" else {}

            def ask(number: int, address: str = "?since=0&wait=25") -> Any:
                own = {"token": f"u{number}", "host": f"192.0.2.{number}"}
                return get(node, address, changes=changes, **own | same)

            waiting = [asyncio.create_task(ask(number)) for number in (1, 2)]
            await asyncio.sleep(1)
            status, problem, headers = await ask(3)
            assert (status, headers["retry-after"], problem["retry_after"]) == (429, "5", 5)
            assert problem["detail"].startswith(f"2 requests of the {whose} wait")
            assert (await ask(3, "?since=0"))[0] == 200, "who does not wait may ask"
            if whose != "server" and whose != "workspace":
                other = asyncio.create_task(get(node, "?since=0&wait=25", "ben", changes, "198.51.100.1"))
                waiting.append(other)
            assert [(await each)[0] for each in waiting] == [200] * len(waiting)
            assert (await ask(3))[0] == 200, "there is room again"
            assert not changes._polls._waiting

    run_in_virtual_time(scenario())


@in_virtual_time
async def test_this_machine_has_no_limit_of_its_address() -> None:
    async with native_house() as node:
        changes = Changes(node.feeds, PollLimits(address=1))
        polls = [get(node, "?since=0&wait=25", changes=changes, host="127.0.0.1") for _ in range(3)]
        assert [status for status, _, _ in await asyncio.gather(*polls)] == [200] * 3


@in_virtual_time
async def test_below_the_floor_is_gone_and_says_which_reload_helps() -> None:
    async with native_house() as node:
        store, workspace = node.house.store, node.house.workspace.id
        await typed(store, workspace, issues=5, edits=2)
        trimmed = Author(workspace, many(5)[3], 77)
        await store.append([trimmed.types("!")])
        floor = await Readers(store).trim(trimmed)
        status, gone, headers = await get(node, "?since=10")
        assert (status, headers["content-type"]) == (410, PROBLEM_TYPE)
        assert (gone["reason"], gone["floor"], gone["status"]) == ("floor", floor, 410)
        pages = await follow(node, gone["reload"])
        assert {change["issue"] for page in pages for change in page["changes"]} == {str(trimmed.issue_id)}


@pytest.mark.parametrize(
    ("query", "reason"), [("?since=99", "ahead"), (f"?since=0&epoch={UUID(int=5)}", "epoch")], ids=["ahead", "epoch"]
)
def test_a_cursor_of_another_log_is_gone(query: str, reason: str) -> None:
    async def scenario() -> None:
        async with native_house() as node:
            await typed(node.house.store, node.house.workspace.id, issues=1, edits=2)
            status, gone, _ = await get(node, query)
            assert (status, gone["reason"]) == (410, reason)
            assert titles(await follow(node, gone["reload"])) == {str(many(1)[0]): "ab"}

    run_in_virtual_time(scenario())


@in_virtual_time
async def test_rows_are_objects() -> None:
    async with native_house() as node:
        await typed(node.house.store, node.house.workspace.id, issues=1, edits=2)
        running = asyncio.create_task(Readers(node.house.store).projector.run())
        await asyncio.sleep(3)
        running.cancel()
        _, page, _ = await get(node, "?since=0&mode=rows")
        assert [change["row"]["title"] for change in page["changes"]] == ["ab"]
        assert "mode=rows" in page["next"]


@pytest.mark.parametrize(
    ("address", "token", "status"),
    [
        ("?since=0", "", 401),
        ("?since=0", "nobody", 401),
        ("?since=0", "away", 503),
        ("?since=0", "ana:viewer", 200),
        ("?since=0", "ana:member:ghosts", 403),
        ("/v1/workspaces/ghosts/changes?since=0", "ana:member:ghosts", 404),
        ("?since=-1", "ana", 422),
        ("?since=x", "ana", 422),
        ("?since=99999999999999999999", "ana", 422),
        ("?since=٣", "ana", 422),
        ("?since=0&epoch=x", "ana", 422),
        ("?since=0&mode=documents", "ana", 422),
        ("?since=0&limit=many", "ana", 422),
        ("?since=0&wait=-3", "ana", 422),
        ("?mode=conflicts&reload=1.0", "ana", 422),
        ("?since=0&since=0", "ana", 422),
        ("?after=0", "ana", 422),
        ("?since=0&reload=1.0", "ana", 422),
        ("?reload=1", "ana", 422),
        ("?reload=1.0.x", "ana", 422),
    ],
)
def test_what_is_asked_wrongly_is_a_problem(address: str, token: str, status: int) -> None:
    async def scenario() -> None:
        async with native_house() as node:
            answer, body, headers = await get(node, address, token)
            assert answer == status
            assert status == 200 or (body["status"], headers["content-type"]) == (status, PROBLEM_TYPE)

    run_in_virtual_time(scenario())


@in_virtual_time
async def test_without_a_store_it_is_503() -> None:
    async def away(moment: str, operation: str) -> None:
        raise StoreUnavailable("away")

    store = MemoryStore()
    async with native_house(store=store) as node:
        store.fault = away
        assert (await get(node, "?since=0"))[0] == 503
