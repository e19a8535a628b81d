"""One engine process as its parent sees it: start it, exchange a frame for a frame, end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from crdt.wire import unpack
from server.engine_process import FRAME_HEADER, READY

_PANIC_PLACE: Final = re.compile(rb"panicked at (?:\S*/)?([\w.-]+/src/[\w./-]+:\d+)")
_STDERR_CHUNK_BYTES: Final = 65_536


class ChildDied(Exception):
    """The process ended, or said something that is not a frame of ours, before it answered."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What one engine process may use. Bytes are of address space; `resident_*` bound the documents it keeps."""

    memory_bytes: int = 1 << 30
    resident_issues: int = 4_096
    resident_bytes: int = 256 << 20
    max_frame_bytes: int = 512 << 20
    start_seconds: float = 20.0


class EngineChild:
    """A running engine process. Not for concurrent use: one frame is answered before the next is sent."""

    def __init__(self, process: asyncio.subprocess.Process, limits: ChildLimits) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._limits = limits
        self._panic_place: str | None = None
        self._listening = asyncio.create_task(self._listen(process.stderr), name=f"engine-stderr-{process.pid}")

    @property
    def pid(self) -> int:
        """The operating system's id of the process."""
        return self._process.pid

    @classmethod
    async def start(cls, command: Sequence[str], limits: ChildLimits) -> EngineChild:
        """Start a process and wait until it takes jobs. Raises `ChildDied` when it does not come up in time."""
        try:
            process = await _created([*command, *_options(limits)])
        except OSError as error:
            raise ChildDied(f"cannot start: {error.strerror}") from error
        child = cls(process, limits)
        try:
            async with asyncio.timeout(limits.start_seconds):
                greeting = await child._receive()
            if greeting != (READY,):
                raise ChildDied("does not greet")
        except BaseException as error:
            await child.kill()
            if isinstance(error, TimeoutError):
                raise ChildDied("does not come up in time") from None
            raise
        return child

    async def exchange(self, frame: bytes) -> Any:
        """Send a job, wait for its answer. Raises `ChildDied` with how it ended; after that only `kill` is left."""
        self._stdin.write(FRAME_HEADER.pack(len(frame)))
        self._stdin.write(frame)
        try:
            await self._stdin.drain()
        except (ConnectionError, RuntimeError):
            raise ChildDied(await self._end()) from None
        return await self._receive()

    async def kill(self) -> None:
        """End the process whatever it does, and wait until it is gone."""
        self._stdin.close()
        await self._reap()

    async def _receive(self) -> Any:
        try:
            header = await self._stdout.readexactly(FRAME_HEADER.size)
            (length,) = FRAME_HEADER.unpack(header)
            if length > self._limits.max_frame_bytes:
                raise ChildDied("answer too large")
            return unpack(await self._stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ChildDied(await self._end()) from None
        except (ValueError, TypeError):
            raise ChildDied("answer is not a frame") from None

    async def _end(self) -> str:
        """How the process ended: by which signal, or at which line of the engine it panicked."""
        code = await self._reap()  # its pipe is gone: whatever is left of it must go too
        if self._panic_place is not None:
            return f"panic at {self._panic_place}"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"

    async def _reap(self) -> int:
        if self._process.returncode is None:
            # Not `Process.kill`: it polls first, and so takes the exit code away from the loop's child watcher.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        code = await self._process.wait()
        await self._listening
        return code

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        """Keep stderr flowing. Of what it says only a panic's place is kept: the rest may quote a document."""
        while chunk := await stderr.read(_STDERR_CHUNK_BYTES):
            found = _PANIC_PLACE.search(chunk)
            if found is not None and self._panic_place is None:
                self._panic_place = found.group(1).decode()


def default_command() -> list[str]:
    """What runs an engine process with this interpreter."""
    return [sys.executable, "-m", "server.engine_process"]


async def _created(command: Sequence[str]) -> asyncio.subprocess.Process:
    """A new process with pipes. Not to be interrupted: asyncio loses the pipes of one whose making is cancelled."""
    creation = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
    )
    try:
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        process = await creation
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.communicate()
        raise


def _environment() -> dict[str, str]:
    """Ours without our settings: a process that meets hostile bytes has no use for keys and database addresses."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}


def _options(limits: ChildLimits) -> list[str]:
    return [
        f"--parent={os.getpid()}",
        f"--memory-bytes={limits.memory_bytes}",
        f"--resident-issues={limits.resident_issues}",
        f"--resident-bytes={limits.resident_bytes}",
    ]
