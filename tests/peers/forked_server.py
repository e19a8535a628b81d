"""A server for tests that kill it hundreds of times: each start is a fork of a process that has loaded everything.

What is forked is `syncline serve` as it is. Only the time that Python takes to import it is saved, which is most of a
start.

    python -m tests.peers.forked_server LOG serve …      forks one for each line on stdin, and says how it goes
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.conftest import MEMORY, is_roomy
from tests.peers.server_process import CHECKOUT, ServerProcess, plain_environment


class Fork:
    """One server. See `tests.peers.server_process.Process`; ended by nobody but itself and `send_signal`."""

    def __init__(self, pid: int, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self._ended = ended

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def send_signal(self, number: int, /) -> None:
        """To the server itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Until it has ended; its return code."""
        return await asyncio.shield(self._ended)


class ForkedServer(ServerProcess):
    """A `ServerProcess` whose starts take a third of the time."""

    _forge: asyncio.subprocess.Process | None = None

    async def launch(self) -> None:
        """See `ServerProcess.launch`."""
        forge = self._forge = self._forge or await self._open()
        assert forge.stdin is not None
        assert forge.stdout is not None
        forge.stdin.write(b"\n")
        pid = int(await forge.stdout.readline())
        self._process = Fork(pid, asyncio.ensure_future(_number(forge.stdout)))

    async def end(self) -> None:
        """See `ServerProcess.end`."""
        await super().end()
        if self._forge is not None:
            assert self._forge.stdin is not None
            self._forge.stdin.close()
            await self._forge.wait()

    async def _open(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.peers.forked_server", str(self._log)),
            *self._arguments(),
            cwd=CHECKOUT,
            env=plain_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )


async def _number(stream: asyncio.StreamReader) -> int:
    return int(await stream.readline())


@asynccontextmanager
async def forking(*flags: str) -> AsyncIterator[ForkedServer]:
    """See `tests.peers.server_process.serving`. In memory if there is room: nobody kills the machine here."""
    place = MEMORY if is_roomy(MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="syncline-", dir=place, ignore_cleanup_errors=True) as folder:
        server = ForkedServer(Path(folder, "data"), Path(folder, "log"), flags=flags)
        try:
            await server.start()
            yield server
        finally:
            await server.end()


def forge(log: str, arguments: Sequence[str]) -> None:
    """Fork a server for each line; its pid is a line of the answer, its return code another once it has ended."""
    import server.program

    while sys.stdin.buffer.readline():
        pid = os.fork()
        if not pid:
            _become(log)
            sys.argv[1:] = arguments
            server.program.main(arguments)
            os._exit(0)  # `main` leaves by SystemExit otherwise
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(log: str) -> None:
    """The child's own streams: the forge's belong to the forge."""
    with open(log, "ab") as words, open(os.devnull, "rb") as silence:
        os.dup2(silence.fileno(), 0)
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end us
    forge(sys.argv[1], sys.argv[2:])
