"""What stands in for the world around a door: a socket that keeps what is written to it, and no engine."""

from __future__ import annotations

import asyncio
from typing import Any

from storage.engine import EngineUnavailable


class FakeConnection:
    """A socket that keeps what is written to it."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.closing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.unsent_bytes = 0
        self.is_paused = False
        self.delays: list[float] = []

    def send(self, frame: bytes) -> None:
        self.frames.put_nowait(frame)

    def buffered_bytes(self) -> int:
        return self.unsent_bytes

    def close(self, code: int, reason: str) -> None:
        assert len(reason.encode()) <= 123
        if not self.closing.done():
            self.closing.set_result(code)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def slow_down(self, seconds: float) -> None:
        if seconds > 0:
            self.delays.append(seconds)


class NoEngine:
    """Nothing in these tests is big enough to need one."""

    async def run(self, job: Any, *, key: object, deadline: float | None = None) -> Any:
        raise EngineUnavailable("not here")

    async def run_all(self, jobs: Any, *, deadline: float | None = None) -> Any:
        raise EngineUnavailable("not here")
