"""A real `syncline serve` in a process of its own: started, killed, asked and looked into from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import asyncpg

from server import auth, config
from server.config import Settings
from server.opening import database_url
from server.permissions import Identity, Role
from tests.conftest import MEMORY, is_roomy
from tests.js.browser import Address

CHECKOUT: Final = Path(__file__).resolve().parents[2]
POLL_SECONDS: Final = 0.02  # between two looks at something that cannot call us
START_SECONDS: Final = 60.0  # a first start makes a Postgres cluster, on a machine that may be busy


class ServerFailed(Exception):
    """The server or one of its commands did not do what was asked; the text ends with its last words."""


async def eventually(holds: Callable[[], Awaitable[bool]], what: str, *, deadline: float = 20) -> None:
    """Look again until it holds. Raises ServerFailed after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not await holds():
        if time.monotonic() > end:
            raise ServerFailed(f"not within {deadline} s: {what}")
        await asyncio.sleep(POLL_SECONDS)


class Process(Protocol):
    """What is asked of a process here; `asyncio.subprocess.Process` is one."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, signal: int, /) -> None: ...

    def terminate(self) -> None: ...

    async def wait(self) -> int: ...


class ServerProcess:
    """`syncline serve` over one data directory, on one port that survives restarts."""

    def __init__(
        self, data_dir: Path, log: Path, *, flags: Sequence[str] = (), database_url: str | None = None
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self._flags = flags
        self._database_url = database_url
        self._log = log
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    @property
    def process(self) -> Process:
        """The process started last."""
        assert self._process is not None
        return self._process

    async def start(self) -> float:
        """Start it and wait until it is ready; returns the seconds that took."""
        began = time.monotonic()
        await self.launch()
        await eventually(self._ready_or_gone, "ready", deadline=START_SECONDS)
        if not self.running:
            raise ServerFailed(f"serve ended with {self.process.returncode}:\n{self.last_words()}")
        return time.monotonic() - began

    async def launch(self) -> None:
        """Start it and do not wait."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "server.cli"),
                *self._arguments(),
                cwd=CHECKOUT,
                env=plain_environment(),
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """kill -9, and nothing else: what it had not committed is gone."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate(self, *, deadline: float = 15) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(deadline):
            return await self.process.wait()

    async def end(self) -> None:
        """Stop everything that is still there, the embedded Postgres of a killed server too."""
        if self.running:
            with contextlib.suppress(TimeoutError):
                await self.terminate()
        if self.running:
            await self.kill()
        for pid_file in self.data_dir.rglob("postmaster.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError, FileNotFoundError, IndexError):
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)

    async def status(self, path: str) -> int:
        """The HTTP status of GET `path`; 0 when nobody answers."""
        return (await self.get(path))[0]

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of GET `path`; (0, "") when nobody answers."""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n"
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(request.encode())
                answer = (await reader.read()).decode()
                writer.close()
            head, _, body = answer.partition("\r\n\r\n")
            return int(head.split()[1]), body
        except (OSError, TimeoutError, IndexError):
            return 0, ""

    async def command(self, *arguments: str, deadline: float = 60) -> tuple[int, str]:
        """Run `syncline {arguments}` against the data directory; returns exit code and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "server.cli",
            *arguments,
            *self._on_data(),
            cwd=CHECKOUT,
            env=plain_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(deadline):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def token(
        self, user: str, role: Role = Role.MEMBER, workspace: str = "main", *, lasting: timedelta = timedelta(days=1)
    ) -> str:
        """A signed token for one workspace."""
        now = datetime.now(UTC)
        identity = Identity(user, workspace, role, expires_at=now + lasting)
        return auth.issue(auth.keys_of(self.settings()), identity, now)

    def address(self, token: str, issue: UUID, port: int | None = None) -> Address:
        """Where the bearer of `token` edits `issue`; `port` for a detour."""
        return Address(f"ws://127.0.0.1:{port or self.port}/yjs/main", str(issue), {"token": token})

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of our own to its database."""
        connection = await asyncpg.connect(database_url(self.settings()), timeout=20)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    def last_words(self, lines: int = 40) -> str:
        """The end of its log."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    async def _ready_or_gone(self) -> bool:
        return not self.running or await self.status("/readyz") == 200

    def settings(self) -> Settings:
        return config.load({"data_dir": str(self.data_dir), "database_url": self._database_url}, {})

    def _arguments(self) -> list[str]:
        return ["serve", "--port", str(self.port), *self._on_data(), *self._flags]

    def _on_data(self) -> list[str]:
        where = ["--data-dir", str(self.data_dir)]
        return [*where, "--database-url", self._database_url] if self._database_url else where


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert isinstance(port, int)
        return port


def plain_environment() -> dict[str, str]:
    """Ours without SYNCLINE_ settings: a developer's own must not change what the tests test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}


@asynccontextmanager
async def at_rest(
    *flags: str, database_url: str | None = None, kind: type[ServerProcess] = ServerProcess
) -> AsyncIterator[ServerProcess]:
    """A server not started yet, on a fresh data directory; nothing is left running or lying behind.

    Not below pytest's tmp_path: its modes are set back by the next session, and Postgres is another account. In memory
    if there is room: nobody kills the machine here, and making a Postgres there takes half the time.
    """
    place = MEMORY if is_roomy(MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="syncline-", dir=place, ignore_cleanup_errors=True) as folder:
        server = kind(Path(folder, "data"), Path(folder, "log"), flags=flags, database_url=database_url)
        try:
            yield server
        finally:
            await server.end()


@asynccontextmanager
async def serving(
    *flags: str, database_url: str | None = None, kind: type[ServerProcess] = ServerProcess
) -> AsyncIterator[ServerProcess]:
    """`at_rest`, started."""
    async with at_rest(*flags, database_url=database_url, kind=kind) as server:
        await server.start()
        yield server
