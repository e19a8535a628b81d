"""Which core what runs on: the server measured has one for itself, the load and Postgres share another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Cores:
    """`server`: the process under test, which holds the sockets · `load`: the driver, Postgres, engine processes."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """The first and the last core this process may use; one and the same on a machine with one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(server=allowed[0], load=allowed[-1])


@contextmanager
def starting_on(core: int) -> Iterator[None]:
    """What is started inside inherits the core, with all the threads and processes it starts itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def postgres_of(data_dir: Path) -> psutil.Process | None:
    """The embedded Postgres that runs in a data directory."""
    for file in data_dir.rglob("postmaster.pid"):
        try:
            return psutil.Process(int(file.read_text().splitlines()[0]))
        except (psutil.NoSuchProcess, ValueError, IndexError):
            continue
    return None


def move(process: psutil.Process, core: int) -> None:
    """Pin a running process and its children. Single-threaded ones only: threads keep the core they have."""
    for one in [process, *process.children(recursive=True)]:
        try:
            one.cpu_affinity([core])
        except psutil.NoSuchProcess:
            continue  # a backend that ended meanwhile
