"""The servers under test, each in its own process on its own core, started for a section and stopped after it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil

from bench.cores import Cores, move, postgres_of, starting_on
from tests.js.toolchain import FOLDER, NODE, install

READY_S = 60.0
STOP_S = 20.0
WORKSPACE = "main"
CHECKOUT = Path(__file__).resolve().parents[1]
Y_WEBSOCKET = FOLDER / "node_modules" / "y-websocket-2"


class ServerFailed(Exception):
    """A server did not start; the text is the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url`: the address of a document given by id."""

    name: str
    process: psutil.Process
    url: Callable[[str], str]
    postgres: psutil.Process | None = None

    def new_documents(self, count: int) -> list[str]:
        """Addresses of `count` documents nobody has touched."""
        return [self.url(str(uuid4())) for _ in range(count)]

    @property
    def http(self) -> str:
        """Where it answers requests: scheme, host and port."""
        return "http://" + urlsplit(self.url("")).netloc

    def processes(self) -> dict[str, list[int]]:
        """Process ids: the server itself, its engine processes, and the backends of its Postgres."""
        engines = [child.pid for child in self.process.children(recursive=True) if not _is_postgres(child)]
        backends = [self.postgres, *self.postgres.children()] if self.postgres is not None else []
        return {"server": [self.process.pid], "engines": engines, "postgres": [one.pid for one in backends]}


@contextmanager
def y_websocket(cores: Cores) -> Iterator[Server]:
    """npm `y-websocket@2`'s own server, unchanged: documents in memory, nothing gated, nothing stored."""
    install()
    port = free_port()
    command = [str(NODE), str(Y_WEBSOCKET / "bin" / "server.cjs")]
    with _running(command, cores, {"HOST": "127.0.0.1", "PORT": str(port)}, f"http://127.0.0.1:{port}/") as process:
        yield Server("y-websocket", process, lambda document: f"ws://127.0.0.1:{port}/{document}")


@contextmanager
def ceiling(cores: Cores) -> Iterator[Server]:
    """The relay of `bench.ceiling`: what this load could measure at most."""
    port = free_port()
    command = [sys.executable, "-m", "bench.ceiling", str(port)]
    with _running(command, cores, {}, f"http://127.0.0.1:{port}/") as process:
        yield Server("ceiling", process, lambda document: f"ws://127.0.0.1:{port}/{document}")


@contextmanager
def syncline(cores: Cores, data_dir: Path, *flags: str) -> Iterator[Server]:
    """`syncline serve` on a data directory; the other core has its Postgres and, for they are readers of the log that
    may come a moment later, its engine processes."""
    port = free_port()
    # All that is measured is one user's, who makes more edits than any user may.
    command = [*cli("serve", data_dir), "--port", str(port), "--max-user-edits", "0", *flags]
    with _running(command, cores, {}, f"http://127.0.0.1:{port}/readyz") as process:
        postgres = postgres_of(data_dir)
        for one in (*process.children(), *([postgres] if postgres is not None else [])):
            move(one, cores.load)
        token = ask(*cli("token", data_dir), "--workspace", WORKSPACE, "--user", "bench", "--role", "member")
        address = f"ws://127.0.0.1:{port}/yjs/{WORKSPACE}"
        yield Server("Syncline", process, lambda document: f"{address}/{document}?token={token}", postgres)


def cli(command: str, data_dir: Path) -> list[str]:
    """A command of the product's own command line over a data directory."""
    return [sys.executable, "-m", "server.cli", command, "--data-dir", str(data_dir)]


def ask(*command: str) -> str:
    """The last line a command prints. Raises ServerFailed with what it said when it fails."""
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=READY_S, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"{' '.join(command[2:])}: {(done.stderr or done.stdout).strip()[-1_000:]}")
    return done.stdout.strip().splitlines()[-1]


def y_websocket_versions() -> dict[str, str]:
    """The versions that matter to the speed of the other server."""
    packages = {
        "y-websocket": Y_WEBSOCKET,
        "ws": FOLDER / "node_modules" / "ws",
        "yjs": FOLDER / "node_modules" / "yjs",
    }
    return {name: json.loads((path / "package.json").read_text())["version"] for name, path in packages.items()}


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    command: Sequence[str], cores: Cores, environment: Mapping[str, str], ready_url: str
) -> Iterator[psutil.Process]:
    with tempfile.TemporaryFile("w+") as log:
        with starting_on(cores.server):
            process = psutil.Popen(
                command, cwd=CHECKOUT, env={**_environment(), **environment}, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _wait_until_ready(process, ready_url, lambda: _tail(log.fileno()))
            yield process
        finally:
            _stop(process)


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.NoSuchProcess:
        return True  # its workers come and go


def _environment() -> dict[str, str]:
    """Ours without the product's settings: a run must not depend on who runs it."""
    return {name: value for name, value in psutil.Process().environ().items() if not name.startswith("SYNCLINE_")}


def _wait_until_ready(process: psutil.Popen, url: str, log: Callable[[], str]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"ended at start:\n{log()}")
        try:
            with urllib.request.urlopen(url, timeout=2.0):
                return
        except urllib.error.HTTPError as answer:
            if answer.code < 500:
                return  # it answers, that is enough of one that knows no such page
        except OSError:
            pass
        time.sleep(0.05)
    raise ServerFailed(f"not ready after {READY_S:.0f} s:\n{log()}")


def _tail(descriptor: int) -> str:
    with open(f"/proc/self/fd/{descriptor}", errors="replace") as log:
        return log.read()[-2_000:]


def _stop(process: psutil.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
