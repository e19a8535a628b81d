from __future__ import annotations

import asyncio
import os
import signal

import pytest

from server.stopping import Stop


async def test_a_signal_during_the_start_cancels_it() -> None:
    async def start() -> None:
        stop = Stop()
        stop.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    starting = asyncio.create_task(start())
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await starting
    _forget()


async def test_a_signal_while_serving_only_asks() -> None:
    stop = Stop()
    stop.listen()
    stop.started()
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(5):
        await stop.asked.wait()
    _forget()


def _forget() -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
