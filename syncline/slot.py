"""A place among the processes that use one store at the same time, held by a file lock for as long as it is used.

A client id may write on one clock at a time only, so each of these processes has one of its own. The system lets go
of the lock when a process dies, however it dies.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Final

from syncline.errors import StoreFailed

MAX_SLOTS: Final = 64


class Slot:
    """A number that no other open store of this file has."""

    __slots__ = ("_file", "number")

    def __init__(self, number: int, file: IO[bytes] | None) -> None:
        self.number = number
        self._file = file

    def release(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            self._file.close()


def take_slot(path: str) -> Slot:
    """The lowest free slot of the store at `path`. Raises StoreFailed when all are taken."""
    if path == ":memory:":
        return Slot(0, None)
    for number in range(MAX_SLOTS):
        file = Path(f"{path}.lock{number}").open("ab")  # noqa: SIM115 - held until `release`
        if _lock(file):
            return Slot(number, file)
        file.close()
    raise StoreFailed(f"{MAX_SLOTS} programs use {path} already")


def _lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # flock, not lockf: two clients of one process must not share a slot either.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
