"""What stands in for the world around a door: a socket that keeps what is written to it, and no engine."""

from __future__ import annotations

import asyncio
from typing import Any

from server.permissions import Identity
from storage.engine import EngineUnavailable


class FakeConnection:
    """A socket that keeps what is written to it."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.closing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.unsent_bytes = 0
        self.is_paused = False
        self.delays: list[float] = []
        self.is_known = False

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

    def known(self) -> None:
        self.is_known = True


class Conduct:
    """What is held against users: they wait until they have made it up."""

    edits_together = 1

    def __init__(self) -> None:
        self.offenders: list[str] = []
        self.made_up = asyncio.Event()

    def offended(self, who: Identity) -> None:
        self.offenders.append(who.user_id)

    def edited(self, who: Identity, count: int) -> float:
        return 0.0

    async def after_offences(self, who: Identity) -> None:
        if who.user_id in self.offenders:
            await self.made_up.wait()


class NoEngine:
    """Nothing in these tests is big enough to need one."""

    async def run(self, job: Any, *, key: object, deadline: float | None = None) -> Any:
        raise EngineUnavailable("not here")

    async def run_all(self, jobs: Any, *, deadline: float | None = None) -> Any:
        raise EngineUnavailable("not here")
