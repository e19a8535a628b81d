"""A node without doors: rooms over the store, so that what a command writes goes the way of every edit. Other nodes
over the same store hear of it from the log, as they hear of one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from server import bounds
from server.clock import SystemClock
from server.commands.workbench import Workbench
from server.hub import Hub, HubServices
from server.imports import ImportServices
from server.metrics import Metrics
from server.records import Records, RecordServices
from server.relay import LogRelay
from storage.appender import Appender

_DRAIN_SECONDS: Final = 10.0


@asynccontextmanager
async def quiet_node(bench: Workbench) -> AsyncIterator[ImportServices]:
    """What imports stand on, until the end of the block, which waits for open commits."""
    metrics, clock = Metrics(), SystemClock()
    appender = Appender(bench.store)
    relay = LogRelay(bench.store, bounds.of_relay(bench.settings), metrics)
    hub = Hub(
        HubServices(bench.store, appender, bench.engine, relay, clock, metrics),
        bounds.of_quiet_hub(bench.settings),
    )
    committing = asyncio.create_task(appender.run(), name="appender")
    tasks = [asyncio.create_task(work, name=name) for name, work in (("relay", relay.run()), ("hub", hub.run()))]
    try:
        records = Records(RecordServices(hub, bench.engine, clock))
        yield ImportServices(records, bench.imports, bench.issues, bench.store, clock)
    finally:
        await hub.drain("done", timeout=_DRAIN_SECONDS)
        await appender.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(committing, *tasks, return_exceptions=True)
