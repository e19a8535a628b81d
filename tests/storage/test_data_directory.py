"""Two servers never share a data directory, and a dead one's lock stops nobody."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.data_directory import DirectoryInUse, DirectoryLock

ROOT = Path(__file__).parents[2]

_HOLD = """
import sys
from pathlib import Path
from storage.data_directory import DirectoryLock
DirectoryLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_server(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _HOLD, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_server_is_told_who_is_there(tmp_path: Path) -> None:
    with (
        another_server(tmp_path) as other,
        pytest.raises(DirectoryInUse, match=rf"server \(pid {other.pid}\); stop it"),
    ):
        DirectoryLock(tmp_path).acquire()


def test_a_killed_servers_lock_is_no_lock(tmp_path: Path) -> None:
    with another_server(tmp_path) as other:
        other.kill()
        other.wait()
        with DirectoryLock(tmp_path):
            assert (tmp_path / "server.lock").exists()


def test_a_released_directory_can_be_locked_again(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        pass
    with another_server(tmp_path):
        pass


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    with DirectoryLock(directory):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    fork = multiprocessing.get_context("fork")
    may_end = fork.Event()
    child = fork.Process(target=may_end.wait)
    child.start()
    lock.release()
    try:
        with another_server(tmp_path):
            pass
    finally:
        may_end.set()
        child.join()
