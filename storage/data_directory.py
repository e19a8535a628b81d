"""The directory a server keeps its things in, and the lock that keeps a second server out of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from storage.errors import StoreError

_LOCK_NAME: Final = "server.lock"


class DirectoryInUse(StoreError):
    """Another server runs on this data directory."""


class DirectoryLock:
    """Held from `acquire` to `release`, or to the end of the process however it ends: a stale lock cannot exist.

    A POSIX record lock, because processes forked from the server must not inherit it and keep it past a `kill -9`.
    The file holds the pid of the last holder, for people.
    """

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / _LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Make the directory, if need be, and lock it. Raises `DirectoryInUse`."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DirectoryInUse(
                f"{self._path.parent} is used by another Syncline server (pid {holder}); "
                "stop it, or choose another --data-dir"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next server in. The file stays: removing it would race with whoever opened it just now."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
