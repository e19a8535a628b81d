"""How the end of a process is heard of that may be nobody's child."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest

from storage.postmaster import until_ended

AN_HOUR = 3_600.0


@pytest.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    """One that runs until it is killed."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell")
async def test_where_the_kernel_tells_nobody_looks_again(process: asyncio.subprocess.Process) -> None:
    waiting = asyncio.create_task(until_ended(process.pid, AN_HOUR))
    await asyncio.sleep(0)
    process.kill()
    async with asyncio.timeout(20):
        await waiting


async def test_where_it_does_not_it_is_time_to_look_again(
    process: asyncio.subprocess.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    await until_ended(process.pid, 0.0)
    assert process.returncode is None


async def test_what_has_ended_already_is_looked_at_again(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()
    await until_ended(process.pid, 0.0)
