"""The README's two people and their analyst, line by line in a shell, as a newcomer types them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from storage.embedded import _programs
from tests.peers.server_process import CHECKOUT, ServerProcess, eventually, plain_environment, serving

TITLE: Final = "## Two people, and what each may"
LINE_SECONDS: Final = 30.0

# How a line begins → what it says, or what is said by then of what runs in the background.
SAYS: Final = {
    "syncline user add ben": "ben is a viewer of main",
    'syncline issues create "Search is slow" --token $ana': "committed at seq 1",
    "syncline issues watch": "● live",
    'syncline issues create "Mine"': "forbidden: a viewer may not edit",
    "syncline member set": "ben is a member of main",
    "syncline device revoke": "● needs-auth  unauthorized: the device was revoked",
    "psql": "Search is slow",
}


def lines_of_readme() -> list[str]:
    """The commands below the title."""
    section = (CHECKOUT / "README.md").read_text().partition(TITLE)[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


class Shell:
    """bash, told a line at a time."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._lines = 0

    async def type(self, line: str, says: str) -> None:
        """Until the line is done and its words are there."""
        before, self._lines = len(self._log.read_text()), self._lines + 1
        done = f"line {self._lines} is done"
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\necho {done}\n".encode())

        async def is_said() -> bool:
            said = self._log.read_text()[before:]
            return done in said and says in said

        await eventually(is_said, f"{line!r} says {says!r}", deadline=LINE_SECONDS)


@asynccontextmanager
async def shell(server: ServerProcess, folder: Path) -> AsyncIterator[Shell]:
    """Beside a server. The programs are those of this environment and of its Postgres."""
    log = folder / "said"
    environment = plain_environment()
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}:{_programs()}",
        "SYNCLINE_DATA_DIR": str(server.data_dir),
        "SYNCLINE_URL": f"http://127.0.0.1:{server.port}",
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "bash", cwd=folder, env=environment, stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output
        )
    try:
        yield Shell(process, log)
    finally:
        assert process.stdin is not None
        process.stdin.write(b"kill %1\nexit\n")
        await process.wait()


@pytest.mark.long
async def test_the_readme_s_two_people(tmp_path: Path) -> None:
    first, *lines = lines_of_readme()
    assert first.startswith("export PATH=")  # the programs of a checkout; here they are found already
    async with serving() as server, shell(server, tmp_path) as newcomer:
        told = set()
        for line in lines:
            begins = next((each for each in SAYS if line.startswith(each)), "")
            told.add(begins)
            await newcomer.type(line, SAYS.get(begins, ""))
    assert told == {*SAYS, ""}
