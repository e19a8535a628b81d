"""The clients themselves, against the server that comes with y-websocket 2.1: what fails here is not Syncline's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.js.browser import Address, Browser, browser, synced
from tests.js.reference import reference_server


@pytest.fixture
async def reference() -> AsyncIterator[Address]:
    async with reference_server() as address:
        yield address


@pytest.fixture
async def node() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.mark.parametrize("version", [2, 3])
async def test_two_tabs_see_each_other_through_the_reference_server(
    reference: Address, node: Browser, version: int
) -> None:
    ana, ben = await node.open(reference, version=version), await node.open(reference, version=5 - version)
    await synced([ana, ben])
    await ana.append("from ana 😀 ")
    await ben.wait_contains("from ana 😀 ")
    await ben.set_field("status", "done")
    await ana.wait("field", key="status", value="done")
    await ana.show("ana")
    await ben.wait("present", name="ana")
    await ana.destroy()
    await ben.wait("absent", name="ana")


async def test_edits_made_offline_arrive_when_the_tab_comes_back(reference: Address, node: Browser) -> None:
    ana, ben = await node.open(reference), await node.open(reference, version=2)
    await synced([ana, ben])
    await ana.disconnect()
    await ana.append("offline")
    assert (await ben.look()).description == ""
    await ana.connect()
    await ben.wait_contains("offline")
    await ben.cut()
    await ben.wait("connections", count=2)
    await ben.wait_covers(await ana.look())
