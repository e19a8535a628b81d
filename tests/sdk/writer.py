"""A client in a process of its own, to be killed at any moment: it writes comments and says what it was promised.

A line for each promise kept: `durable N`, `committed N`. `phase` tells where to stand still and wait for the kill:
`before` (nothing is written yet), `durable` (in the outbox), `pushed` (while answers come), `committed`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from multiprocessing.connection import Connection
from uuid import UUID

from syncline import Client, State
from syncline.receipts import Receipt


def run(promises: Connection, url: str, token: str, store: str, issue: str, name: str, phase: str) -> None:
    """Write until killed. The lines go to `promises`."""
    os.dup2(promises.fileno(), sys.stdout.fileno())
    asyncio.run(main(url, token, store, issue, name, phase))


async def main(url: str, token: str, store: str, issue: str, name: str, phase: str) -> None:
    async with Client(url, token=token, path=store) as client:
        if phase != "offline":
            await client.status.until(State.LIVE)
        say("ready", 0)
        receipts: set[asyncio.Task[None]] = set()
        for number in count():
            receipt = await client.issues.comment(UUID(issue), f"{name} {number}", comment_id=f"{name} {number}")
            say("durable", number)
            task = asyncio.create_task(tell(receipt, number))
            receipts.add(task)
            task.add_done_callback(receipts.discard)
            if phase == "committed":
                await task


async def tell(receipt: Receipt, number: int) -> None:
    await receipt.committed
    say("committed", number)


def say(what: str, number: int) -> None:
    print(what, number, flush=True)
