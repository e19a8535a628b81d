"""The process of a Postgres cluster, whoever started it: which one it is, and when it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What `postmaster.pid` says of a running server."""

    pid: int
    socket_directory: str
    status: str  # starting, ready, stopping, standby


def postmaster_of(cluster: Path) -> Postmaster | None:
    """The server that runs on this cluster now."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        pid, directory, status = int(lines[0]), lines[4], lines[7].strip()
        # A pid is soon somebody else's, in containers above all; the command line says whose this one is.
        if str(cluster) not in psutil.Process(pid).cmdline():
            return None
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        return None  # not there, or not written to the end: then whoever started it holds its process
    return Postmaster(pid, directory, status)


async def until_ended(pid: int, seconds: float) -> None:
    """Wait until a process has ended, a child of ours or not; where the kernel does not tell, for so many seconds."""
    descriptor = _pidfd(pid)
    if descriptor is None:
        await asyncio.sleep(seconds)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None where there is no such thing, or no process."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # Python may be older than the kernel, or the other way round
            return os.pidfd_open(pid)
    return None
