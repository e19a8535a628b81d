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
from typing import Any, Final, cast

from crdt.wire import unpack
from server.engine_process import FRAME_HEADER, READY

_PANIC_PLACE: Final = re.compile(rb"panicked at (?:\S*/)?([\w.-]+/src/[\w./-]+:\d+)")
_NICENESS: Final = 10  # rows and snapshots may come a moment later, frames on sockets may not
_STDIN: Final = 0
_STDERR: Final = 2


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

    def __init__(self, pipes: _Pipes) -> None:
        self._pipes = pipes

    @property
    def pid(self) -> int:
        """The operating system's id of the process."""
        return self._pipes.process.get_pid()

    @classmethod
    async def start(cls, command: Sequence[str], limits: ChildLimits) -> EngineChild:
        """Start a process and wait until it takes jobs. Raises `ChildDied` when it does not come up in time."""
        try:
            child = cls(await _spawned([*command, *_options(limits)], limits.max_frame_bytes))
        except OSError as error:
            raise ChildDied(f"cannot start: {error.strerror}") from error
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
        self._pipes.expect_frame()
        self._pipes.send(frame)
        return await self._receive()

    async def kill(self) -> None:
        """End the process whatever it does, and wait until it is gone and its pipes are closed."""
        self._pipes.kill()
        await self._pipes.gone()

    async def _receive(self) -> Any:
        frame = await self._pipes.frame()
        if frame is None:
            raise ChildDied(await self._end())
        try:
            return unpack(frame)
        except (ValueError, TypeError):
            raise ChildDied("answer is not a frame") from None

    async def _end(self) -> str:
        """How the process ended: by which signal, or at which line of the engine it panicked."""
        await self.kill()  # its pipe is gone: whatever is left of it must go too
        if self._pipes.panic_place is not None:
            return f"panic at {self._pipes.panic_place}"
        code = self._pipes.process.get_returncode()
        assert code is not None
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


class _Pipes(asyncio.SubprocessProtocol):
    """What goes to the process and comes from it. Always read: a pipe left full would never say that it ended."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.process: asyncio.SubprocessTransport
        self.panic_place: str | None = None
        self._max_frame_bytes = max_frame_bytes
        self._ended = asyncio.get_running_loop().create_future()
        self._is_cut = False
        self.expect_frame()

    def expect_frame(self) -> None:
        """What comes from now on is the next frame."""
        self._received = bytearray()
        self._frame: asyncio.Future[bytes | None] = self._ended.get_loop().create_future()
        if self._is_cut:
            self._frame.set_result(None)

    def send(self, frame: bytes) -> None:
        """To the process; it takes it when it can."""
        stdin = self._stdin()
        stdin.write(FRAME_HEADER.pack(len(frame)))
        stdin.write(frame)

    async def frame(self) -> bytes | None:
        """The expected frame, or None: nothing more will come. Raises `ChildDied` when it is too large."""
        return await self._frame

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._stdin().close()
        if self.process.get_returncode() is None:
            # Not the transport's `kill`: it polls first, and so takes the exit code away from the loop's child watcher.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.get_pid(), signal.SIGKILL)

    async def gone(self) -> None:
        """Until it has ended, is reaped and all its pipes are closed."""
        await asyncio.shield(self._ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.process = cast(asyncio.SubprocessTransport, transport)  # uvloop's is one in all but name
        _let_give_way(self.process.get_pid())

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self._look_for_panic(data)
        elif not self._frame.done():
            self._received += data
            self._take_frame()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == _STDERR:
            return
        self._is_cut = True
        if not self._frame.done():
            self._frame.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.process.close()  # all of it is, and now it knows
        self._ended.set_result(None)

    def _take_frame(self) -> None:
        if len(self._received) < FRAME_HEADER.size:
            return
        (length,) = FRAME_HEADER.unpack_from(self._received)
        if length > self._max_frame_bytes:
            self._frame.set_exception(ChildDied("answer too large"))
        elif len(self._received) >= FRAME_HEADER.size + length:
            self._frame.set_result(bytes(memoryview(self._received)[FRAME_HEADER.size :]))

    def _look_for_panic(self, words: bytes) -> None:
        """Of what it says on stderr only a panic's place is kept: the rest may quote a document."""
        found = _PANIC_PLACE.search(words)
        if found is not None and self.panic_place is None:
            self.panic_place = found.group(1).decode()

    def _stdin(self) -> asyncio.WriteTransport:
        return cast(asyncio.WriteTransport, self.process.get_pipe_transport(_STDIN))


def _let_give_way(pid: int) -> None:
    """From the beginning: until a process has read its own code, it takes as long as a few hundred jobs."""
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
        if sys.platform == "linux":
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def default_command() -> list[str]:
    """What runs an engine process with this interpreter."""
    return [sys.executable, "-m", "server.engine_process"]


async def _spawned(command: Sequence[str], max_frame_bytes: int) -> _Pipes:
    """A new process. Not to be interrupted: asyncio loses the pipes of one whose making is cancelled."""
    loop = asyncio.get_running_loop()
    spawning = asyncio.ensure_future(
        loop.subprocess_exec(lambda: _Pipes(max_frame_bytes), *command, env=_environment())
    )
    try:
        return (await asyncio.shield(spawning))[1]
    except asyncio.CancelledError:
        _, pipes = await spawning
        pipes.kill()
        await pipes.gone()
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
