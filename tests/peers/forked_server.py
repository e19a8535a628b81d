"""A server for tests that do not ask how a start goes: each is a fork of a process that has loaded everything.

What is forked is `syncline …` as it is. Saved is the time that it takes to import, and to make its Postgres, which is
most of a start. That process, the forge, is made once a test session (or xdist worker), when first wanted. For each
order it forks a keeper, which forks the program, waits for it and says how it ended.

    python -m tests.peers.forked_server DESCRIPTOR      takes orders from that socket until nobody holds its other end
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from tests.conftest import MEMORY, UNSAFE_AND_FAST, is_roomy, run
from tests.peers.server_process import CHECKOUT, ServerProcess, at_rest, plain_environment, serving

_ORDER_BYTES_MAX: Final = 65_536
_ANSWER_BYTES_MAX: Final = 32  # a pid, then a return code
_ONE_AT_A_TIME: Final = threading.Lock()


class Fork:
    """A program. See `tests.peers.server_process.Process`; ended by nobody but itself and `send_signal`."""

    def __init__(self, pid: int, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self._ended = ended

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def send_signal(self, number: int, /) -> None:
        """To the program itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Until it has ended; its return code."""
        return await asyncio.shield(self._ended)


class ForkedServer(ServerProcess):
    """A `ServerProcess` whose starts, and whose commands, take a third of the time: a first start, too."""

    async def launch(self) -> None:
        """See `ServerProcess.launch`."""
        if self._database_url is None and not self.data_dir.exists():
            await asyncio.to_thread(_begin_with_cluster, self.data_dir)
        self._process = await fork(self._log, self._arguments())

    async def command(self, *arguments: str, deadline: float = 60) -> tuple[int, str]:
        """See `ServerProcess.command`."""
        with tempfile.NamedTemporaryFile() as words:
            program = await fork(Path(words.name), [*arguments, *self._on_data()])
            async with asyncio.timeout(deadline):
                code = await program.wait()
            return code, words.read().decode()


def forked(*flags: str, database_url: str | None = None) -> AbstractAsyncContextManager[ServerProcess]:
    """See `tests.peers.server_process.at_rest`."""
    return at_rest(*flags, database_url=database_url, kind=ForkedServer)


def forking(*flags: str, database_url: str | None = None) -> AbstractAsyncContextManager[ServerProcess]:
    """See `tests.peers.server_process.serving`."""
    return serving(*flags, database_url=database_url, kind=ForkedServer)


def _begin_with_cluster(data_dir: Path) -> None:
    """A Postgres that is made and migrated, and does not run: what a first start would spend most of its time on."""
    with _ONE_AT_A_TIME:
        made = _cluster()
    subprocess.run(["cp", "-a", made, data_dir], check=True)  # Postgres' files are another account's where we are root


@cache
def _cluster() -> Path:
    """The data directory to copy, made once a test session (or xdist worker)."""
    folder = Path(tempfile.mkdtemp(prefix="syncline-", dir=MEMORY if is_roomy(MEMORY) else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    postgres = EmbeddedPostgres(folder / "data", settings=UNSAFE_AND_FAST)
    run(postgres.start())
    run(migrate(postgres.dsn))
    run(postgres.stop())
    return postgres.data_directory


async def fork(log: Path, arguments: Sequence[str]) -> Fork:
    """Start `syncline {arguments}`; what it says is appended to `log`."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        socket.send_fds(_forge(), [json.dumps([str(log), *arguments]).encode()], [theirs.fileno()])
    pid = await _number(ours)
    return Fork(pid, asyncio.ensure_future(_last_number(ours)))


async def _number(answers: socket.socket) -> int:
    return int(await asyncio.get_running_loop().sock_recv(answers, _ANSWER_BYTES_MAX))


async def _last_number(answers: socket.socket) -> int:
    with answers:
        return await _number(answers)


@cache
def _forge() -> socket.socket:
    """Where its orders go."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    @atexit.register
    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)
        process.wait()

    return ours


def main(descriptor: int) -> None:
    """Take orders."""
    import server.program  # noqa: F401 -- for all to come

    gc.collect()
    gc.freeze()  # it stays, so no collector of a fork looks through it, which would copy all its pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end us
    orders = socket.socket(fileno=descriptor)
    while True:
        order, descriptors, *_ = socket.recv_fds(orders, _ORDER_BYTES_MAX, 1)
        if not order:
            return
        log, *arguments = json.loads(order)
        with socket.socket(fileno=descriptors[0]) as answers:
            if not os.fork():
                orders.close()
                _keep(answers, log, arguments)
        _reap()


def _keep(answers: socket.socket, log: str, arguments: list[str]) -> NoReturn:
    pid = os.fork()
    if not pid:
        answers.close()
        _become(log, arguments)
    answers.send(str(pid).encode())
    answers.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(log: str, arguments: list[str]) -> NoReturn:
    import server.program

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(log, "ab") as words, open(os.devnull, "rb") as silence:
        os.dup2(silence.fileno(), 0)
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
    sys.argv[1:] = arguments
    server.program.main(arguments)
    sys.exit(0)


def _reap() -> None:
    """The keepers that are done."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
