"""The embedded Postgres through its life: made, started again, adopted after a crash, restarted when it dies."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import asyncpg
import psutil
import pytest

from storage.embedded import EmbeddedError, EmbeddedLimits, EmbeddedPostgres
from tests.conftest import UNSAFE_AND_FAST, directory_of_its_own, execute, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data directory with a stopped Postgres in it: making one is most of what these tests would do."""
    with directory_of_its_own() as directory:
        server = EmbeddedPostgres(directory, settings=UNSAFE_AND_FAST)
        run(server.start())
        run(server.stop())
        yield directory


@pytest.fixture
async def unmade(data_directory: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_directory, settings=UNSAFE_AND_FAST)
    yield server
    await server.stop()


@pytest.fixture
async def server(made: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(made, settings=UNSAFE_AND_FAST)
    yield server
    await server.stop()


@contextmanager
def moved(made: Path, data_directory: Path) -> Iterator[None]:
    """The cluster below another data directory for a while."""
    data_directory.mkdir(exist_ok=True)
    (made / "postgres").rename(data_directory / "postgres")
    yield
    (data_directory / "postgres").rename(made / "postgres")


async def pid_of(server: EmbeddedPostgres) -> int:
    """Postgres' own pid, by asking it."""
    connection = await asyncpg.connect(server.dsn)
    try:
        text: str = await connection.fetchval("SELECT pg_read_file('postmaster.pid')")
    finally:
        await connection.close()
    return int(text.splitlines()[0])


async def value(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def kill(pid: int) -> None:
    """A process that is not our child, or whose reaper is asynchronous, is gone once it is a zombie."""
    process = psutil.Process(pid)
    process.kill()
    until_gone(process)


def until_gone(process: psutil.Process) -> None:
    deadline = time.monotonic() + 20
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline


class TestLife:
    async def test_a_second_start_finds_the_data_within_a_second(self, server: EmbeddedPostgres) -> None:
        await server.start()
        await execute(server.dsn, "CREATE TABLE stopped AS SELECT 42 AS answer")
        await server.stop()
        assert not server.is_running
        started = time.monotonic()
        await server.start()
        took = time.monotonic() - started
        assert await value(server, "SELECT answer FROM stopped") == 42
        assert took < 3, "the promise is less than a second; the test allows for a busy machine"

    async def test_starting_what_runs_changes_nothing(self, server: EmbeddedPostgres) -> None:
        await server.start()
        pid = await pid_of(server)
        await server.start()
        assert await pid_of(server) == pid

    async def test_stopping_what_does_not_run_is_nothing(self, server: EmbeddedPostgres) -> None:
        await server.stop()

    @pytest.mark.long
    async def test_a_session_that_hangs_cannot_hold_up_a_stop(self, made: Path) -> None:
        server = EmbeddedPostgres(made, EmbeddedLimits(stop_timeout=0.2), settings=UNSAFE_AND_FAST)
        await server.start()
        connection = await asyncpg.connect(server.dsn)
        os.kill(connection.get_server_pid(), signal.SIGSTOP)
        await server.stop()
        assert not server.is_running
        connection.terminate()

    async def test_what_does_not_stop_at_all_is_left_and_told(self, made: Path) -> None:
        limits = EmbeddedLimits(stop_timeout=0.1, abort_timeout=0.1)
        server = EmbeddedPostgres(made, limits, settings=UNSAFE_AND_FAST)
        await server.start()
        pid = await pid_of(server)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedError, match=f"pid {pid}"):
                await server.stop()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert server._process is not None
        server._process.wait(10)  # it was told before, and hears it now
        assert not server.is_running

    async def test_commits_reach_the_disk_unless_a_test_says_otherwise(self, made: Path) -> None:
        server = EmbeddedPostgres(made)
        await server.start()
        try:
            assert await value(server, "SHOW fsync") == "on"
            assert await value(server, "SHOW synchronous_commit") == "on"
            assert await value(server, "SHOW full_page_writes") == "on"
            assert await value(server, "SHOW data_checksums") == "on"
        finally:
            await server.stop()

    async def test_it_listens_on_no_port_and_lets_nobody_else_in(self, server: EmbeddedPostgres) -> None:
        await server.start()
        assert await value(server, "SHOW listen_addresses") == ""
        [socket] = [path for path in server.cluster.iterdir() if path.is_socket()]
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700

    async def test_psql_understands_the_url(self, server: EmbeddedPostgres) -> None:
        psql = shutil.which("psql")
        if psql is None:
            pytest.skip("no psql here")
        await server.start()
        process = await asyncio.create_subprocess_exec(
            psql, server.dsn, "-Atc", "SELECT current_database()", stdout=asyncio.subprocess.PIPE
        )
        stdout, _ = await process.communicate()
        assert stdout == b"syncline\n"

    async def test_ctrl_c_does_not_reach_it(self, server: EmbeddedPostgres) -> None:
        await server.start()
        pid = await pid_of(server)
        assert os.getsid(pid) == pid != os.getsid(0)

    async def test_its_log_holds_no_rows(self, server: EmbeddedPostgres) -> None:
        await server.start()
        await execute(server.dsn, "CREATE TABLE strict (a text CHECK (a <> 'secret'))")
        with pytest.raises(asyncpg.CheckViolationError):
            await execute(server.dsn, "INSERT INTO strict SELECT 'sec' || 'ret'")
        await server.stop()  # its collector writes on its own time, but not after its end
        log = "".join(path.read_text() for path in (server.cluster / "log").glob("*.log"))
        assert "violates check constraint" in log
        assert "Failing row" not in log


class TestCrashes:
    async def test_what_a_killed_server_left_running_is_adopted(self, made: Path) -> None:
        await self.start_and_be_killed(made)
        second = EmbeddedPostgres(made)
        left = psutil.Process(await pid_of(second))
        await second.start()
        assert await pid_of(second) == left.pid
        await second.stop()
        until_gone(left)

    async def start_and_be_killed(self, made: Path) -> None:
        """What the first server does; the test's process plays the second."""
        code = (
            "import asyncio, os, sys; from pathlib import Path; from storage.embedded import EmbeddedPostgres\n"
            "asyncio.run(EmbeddedPostgres(Path(sys.argv[1])).start()); os.kill(os.getpid(), 9)"
        )
        first = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(made), cwd=ROOT)
        assert await first.wait() == -signal.SIGKILL

    async def test_one_that_turns_its_server_away_is_told_as_a_start_that_failed(
        self, server: EmbeddedPostgres
    ) -> None:
        """So is one that dies while it is asked; `watch` tries such a start again."""
        await server.start()
        connection = await asyncpg.connect(server.dsn, database="postgres")
        try:
            await connection.execute("ALTER DATABASE syncline ALLOW_CONNECTIONS false")
            with pytest.raises(EmbeddedError, match="not currently accepting connections"):
                await server.start()
        finally:
            await connection.execute("ALTER DATABASE syncline ALLOW_CONNECTIONS true")
            await connection.close()

    async def test_it_recovers_from_its_own_kill(self, server: EmbeddedPostgres) -> None:
        await server.start()
        await execute(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        pid = await pid_of(server)
        kill(pid)
        assert not server.is_running
        await server.start()
        assert await value(server, "SELECT answer FROM kept") == 42

    async def test_what_a_killed_one_left_is_no_obstacle_though_its_parent_has_not_looked(
        self, made: Path, server: EmbeddedPostgres
    ) -> None:
        parent = EmbeddedPostgres(made, settings=UNSAFE_AND_FAST)
        await parent.start()
        pid = await pid_of(parent)
        kill(pid)
        await server.start()
        assert await pid_of(server) != pid
        assert not parent.is_running

    async def test_a_dying_one_without_its_pid_file_is_waited_for(self, made: Path) -> None:
        """Postgres removes its pid file shortly before it ends; here it is stopped in between."""
        server = EmbeddedPostgres(made, EmbeddedLimits(stop_timeout=0.1), settings=UNSAFE_AND_FAST)
        await server.start()
        before = psutil.Process(await pid_of(server))
        before.suspend()
        try:
            (server.cluster / "postmaster.pid").unlink()
            before.send_signal(signal.SIGQUIT)
            with pytest.raises(EmbeddedError, match="has not ended yet"):
                await server.start()
            with pytest.raises(EmbeddedError, match="does not end"):
                await server.stop()
        finally:
            before.resume()
        server.limits = EmbeddedLimits()
        await server.start()
        assert await pid_of(server) != before.pid
        assert not before.is_running()  # and was reaped, not forgotten
        await server.stop()

    @pytest.mark.parametrize("tells", [True, False], ids=["the kernel tells", "the kernel does not tell"])
    async def test_watched_it_is_started_again_when_it_dies(
        self, server: EmbeddedPostgres, tells: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not tells:
            monkeypatch.delattr(os, "pidfd_open")
        await server.start()
        async with self.watched(server):
            await self.see_a_death_and_a_start(server)

    async def test_watched_an_adopted_one_is_started_again_too(self, made: Path, server: EmbeddedPostgres) -> None:
        await self.start_and_be_killed(made)
        await server.start()
        async with self.watched(server):
            await self.see_a_death_and_a_start(server)
            await self.see_a_death_and_a_start(server)

    @asynccontextmanager
    async def watched(self, server: EmbeddedPostgres) -> AsyncIterator[None]:
        watch = asyncio.create_task(server.watch())
        await asyncio.sleep(0)
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    async def see_a_death_and_a_start(self, server: EmbeddedPostgres) -> None:
        pid = await pid_of(server)
        kill(pid)
        async with asyncio.timeout(30):
            while await self.pid_or_none(server) in (None, pid):
                pass

    async def pid_or_none(self, server: EmbeddedPostgres) -> int | None:
        try:
            return await pid_of(server)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0)
            return None

    async def test_a_pid_file_whose_pid_is_somebody_elses_is_stale(self, server: EmbeddedPostgres) -> None:
        await server.start()
        text = (server.cluster / "postmaster.pid").read_text()
        await server.stop()
        _, *rest = text.splitlines()
        (server.cluster / "postmaster.pid").write_text("\n".join([str(os.getpid()), *rest]))
        await server.start()
        assert await pid_of(server) != os.getpid()

    async def test_half_a_cluster_is_made_anew(self, unmade: EmbeddedPostgres) -> None:
        half = unmade.data_directory / "postgres.new"
        half.mkdir()
        (half / "PG_VERSION").write_text("18\n")
        await unmade.start()
        assert not half.exists()

    async def test_a_cluster_of_another_version_is_refused(self, unmade: EmbeddedPostgres) -> None:
        unmade.cluster.mkdir()
        (unmade.cluster / "PG_VERSION").write_text("16\n")
        with pytest.raises(EmbeddedError, match="written by Postgres 16, this is 18"):
            await unmade.start()

    async def test_a_start_that_fails_says_why(self, made: Path) -> None:
        server = EmbeddedPostgres(made, settings={"shared_buffers": "nonsense"})
        with pytest.raises(EmbeddedError, match='invalid value for parameter "shared_buffers"'):
            await server.start()

    async def test_a_start_has_a_deadline(self, data_directory: Path) -> None:
        server = EmbeddedPostgres(data_directory, EmbeddedLimits(create_timeout=0.01))
        with pytest.raises(EmbeddedError, match="initdb did not end within"):
            await server.start()


class TestPaths:
    @pytest.mark.parametrize("name", ["with 'quote\" and ünïcode", "with,comma", "x" * 120])
    async def test_any_data_directory_has_a_url_that_works(self, data_directory: Path, made: Path, name: str) -> None:
        server = EmbeddedPostgres(data_directory / name, settings=UNSAFE_AND_FAST)
        with moved(made, server.data_directory):
            await server.start()
            try:
                assert await value(server, "SELECT 1") == 1
            finally:
                await server.stop()

    async def test_a_socket_directory_somebody_else_made_is_refused(
        self, data_directory: Path, made: Path, squatted: Path
    ) -> None:
        server = EmbeddedPostgres(data_directory / LONG_NAME, settings=UNSAFE_AND_FAST)
        with moved(made, server.data_directory), pytest.raises(EmbeddedError, match="somebody else's"):
            await server.start()

    @pytest.fixture
    def squatted(self, data_directory: Path) -> Iterator[Path]:
        """The place of the socket of a long path, taken by somebody and open to everybody."""
        server = EmbeddedPostgres(data_directory / LONG_NAME)
        place = Path(unquote(server.dsn.partition("host=")[2]))
        place.mkdir()
        place.chmod(0o777)
        yield place
        place.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
class TestAccounts:
    async def test_root_hands_it_to_another_account_through_a_closed_home(self, data_directory: Path) -> None:
        home = data_directory / "root"
        home.mkdir(mode=0o700)
        server = EmbeddedPostgres(home / "data", settings=UNSAFE_AND_FAST)
        await server.start()
        try:
            assert psutil.Process(await pid_of(server)).uids().effective != 0
            assert server.cluster.stat().st_uid != 0
            # Others may walk through, not look.
            assert stat.S_IMODE(home.stat().st_mode) == 0o701
        finally:
            await server.stop()

    async def test_an_existing_clusters_owner_goes_on_running_it(self, made: Path) -> None:
        server = EmbeddedPostgres(made, settings=UNSAFE_AND_FAST)
        with owned_by("nobody", server.cluster):
            await server.start()
            assert psutil.Process(await pid_of(server)).username() == "nobody"
            await server.stop()

    async def test_a_normal_user_runs_it_as_themselves(self, data_directory: Path) -> None:
        shutil.chown(data_directory, "nobody")
        # Forked, because the interpreter may lie where only root can walk.
        process = multiprocessing.get_context("fork").Process(target=live_as_nobody, args=[data_directory])
        process.start()
        process.join()
        assert process.exitcode == 0
        assert (data_directory / "postgres").owner() == "nobody"


LONG_NAME = "x" * 120


@contextmanager
def owned_by(name: str, cluster: Path) -> Iterator[None]:
    before = cluster.owner()
    subprocess.run(["chown", "-R", name, str(cluster)], check=True)
    yield
    subprocess.run(["chown", "-R", before, str(cluster)], check=True)


def live_as_nobody(data_directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    server = EmbeddedPostgres(data_directory, settings=UNSAFE_AND_FAST)
    run(server.start())
    try:
        run(execute(server.dsn, "SELECT 1"))
    finally:
        run(server.stop())
