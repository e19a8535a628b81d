"""Which system account the embedded Postgres runs as: one's own, or another for root, whom Postgres refuses."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "syncline"

_CREATE_TIMEOUT: Final = 30.0


class AccountError(Exception):
    """Running as root, and there is no account to hand Postgres to."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and group id to run a process as. `is_other`: not the account we run as ourselves."""

    uid: int
    gid: int
    is_other: bool

    def process_arguments(self) -> dict[str, object]:
        """Keyword arguments of `subprocess.Popen` that start a process as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}

    def own(self, path: Path) -> None:
        """Give one file or directory to the account."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def let_through(self, path: Path) -> list[Path]:
        """Let the account walk to `path`: o+x, and nothing more, on the directories above it that lack it.

        Returns the directories it changed. With a home of mode 0700 there is no other way to keep data below it.
        """
        changed = []
        for directory in path.resolve().parents if self.is_other else ():
            mode = stat.S_IMODE(directory.stat().st_mode)
            if not mode & stat.S_IXOTH and directory.stat().st_uid != self.uid:
                directory.chmod(mode | stat.S_IXOTH)
                changed.append(directory)
        return changed

    def let_read(self, tree: Path) -> None:
        """Let the account read a tree of programs, as an installation under a strict umask does not."""
        if not self.is_other:
            return
        for directory, _, files in os.walk(tree):
            _open_to_others(directory)
            for name in files:
                _open_to_others(os.path.join(directory, name))


def account_for(directory: Path) -> Account:
    """Ourselves, or for root whoever owns `directory` already, or else the account `syncline`, made if need be.

    Raises `AccountError` when it cannot be made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    owner = directory.stat() if directory.exists() else None
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, is_other=True)
    entry = _look_up() or _create()
    return Account(entry.pw_uid, entry.pw_gid, is_other=True)


def _look_up() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    commands = (
        ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME),
        ("adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", NAME),  # BusyBox
    )
    command = next((command for command in commands if shutil.which(command[0])), None)
    if command is None:
        raise AccountError(f"Postgres cannot run as root: make an account named {NAME!r}, or start as a normal user")
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_CREATE_TIMEOUT)  # noqa: S603
    except subprocess.CalledProcessError as error:
        if (entry := _look_up()) is not None:  # another node on this machine was first
            return entry
        raise AccountError(f"Postgres cannot run as root, and {command[0]} failed: {error.stderr.strip()}") from error
    return pwd.getpwnam(NAME)


def _open_to_others(path: str) -> None:
    """To read, and to run or walk through what its owner may. Strings: these are thousands of files at every start."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
    if mode != wanted:
        os.chmod(path, wanted)
