"""Attackers, in a process of their own: reads what to attack from stdin, a JSON object a line, and attacks until the
next line ends it. With a `port`, they attack `bench.sink` there in place of the server.

Each waits a moment between two goes, so that what is measured is the server and not how much of a core they take from
the driver; they come behind it and behind Postgres, which share the core with them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

from bench.typist import FIRST_CLIENT
from server import auth, config
from server.auth.tokens import Key
from server.permissions import Identity, Role
from tests.attacks.cases import CASES, Case
from tests.attacks.goes import call_off
from tests.attacks.ways import Ways

NICENESS: Final = 10
ADDRESSES: Final = "2001:db8::{:x}"
BROKEN_OFF: Final = (ConnectionError, TimeoutError, EOFError)  # what becomes of some when the server hangs up


class Attackers(Ways):
    """Of one issue after another; they count what they do and are told."""

    def __init__(self, port: int, data_dir: Path, played: str) -> None:
        super().__init__(port, UUID(int=0), FIRST_CLIENT)
        self.played = played
        self._attacks = 0
        self._keys = auth.keys_of(config.load({"data_dir": str(data_dir)}, {}))
        self._token = cache(self._issued)
        self.turn_to(self.issue)

    def turn_to(self, issue: UUID) -> None:
        """The next one, from an address of their own and as a user whom the server has never seen; and count anew."""
        self.issue = issue
        self._attacks += 1
        # As a proxy says it: limits by address do not hold for this machine.
        self.headers = {"X-Forwarded-For": ADDRESSES.format(self._attacks)}
        self.goes = self.broken_off = 0
        self.told: Counter[int] = Counter()

    def key(self) -> Key:
        return self._keys.signing()

    def token(self, user: str = "eve", role: Role = Role.MEMBER, workspace: str = "main") -> str:
        return self._token(f"{user}{self._attacks}", role, workspace)

    async def pause(self) -> None:
        self.goes += 1
        await super().pause()

    async def keep_coming(self, case: Case, broken_off: tuple[type[Exception], ...]) -> None:
        """One of them, go after go."""
        while True:
            self.goes += 1
            try:
                self.told[await case.attack(self)] += 1
            except broken_off:
                self.broken_off += 1
            await super().pause()

    def _issued(self, user: str, role: Role, workspace: str) -> str:
        now = datetime.now(UTC)
        return auth.issue(self._keys, Identity(user, workspace, role, expires_at=now + timedelta(days=1)), now)


async def main(port: int, data_dir: Path, played: str) -> None:
    """Until stdin ends."""
    loop, attackers = asyncio.get_running_loop(), Attackers(port, data_dir, played)
    print("{}", flush=True)  # everything is imported
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        case = CASES[asked["case"]]
        attackers.turn_to(UUID(asked["issue"]))
        attackers.port = asked.get("port", port)
        broken_off = (Exception,) if "port" in asked else BROKEN_OFF  # what is no server of ours answers as it likes
        tasks = [asyncio.create_task(attackers.keep_coming(case, broken_off)) for _ in range(case.at_once)]
        over = loop.run_in_executor(None, sys.stdin.readline)
        await asyncio.wait([over, *tasks], return_when=asyncio.FIRST_COMPLETED)
        failed = [task.exception() for task in tasks if task.done()]
        await call_off(tasks)
        attackers.leave()
        for error in failed:  # what is no answer of a server that refuses
            raise ValueError(asked["case"]) from error
        wrong = sorted(attackers.told.keys() - set(case.refusals)) if case.refusals else []
        print(json.dumps({"goes": attackers.goes, "broken_off": attackers.broken_off, "wrong": wrong}), flush=True)


@contextmanager
def stepping_back() -> Iterator[None]:
    """Behind the server, the driver and Postgres where those run ahead of everything: of real time, too, there is only
    so much, and whoever has it keeps a core for a tenth of a second."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


if __name__ == "__main__":
    with stepping_back():
        os.nice(NICENESS)
        asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
