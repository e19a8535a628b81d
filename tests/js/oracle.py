"""Real Yjs as the judge: its seeded concurrent programs, and what it reads in given bytes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.js.toolchain import Script, running


@dataclass(frozen=True, slots=True)
class Written:
    """One update of a program and the Yjs client id that wrote it."""

    client: int
    update: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """What Yjs reads in some bytes; `pending`: structs or deletions are left whose causes are missing."""

    content: dict[str, Any]
    state_vector: dict[int, int]
    pending: bool


@dataclass(frozen=True, slots=True)
class Program:
    """What several replicas wrote, in an order that is causal, and how Yjs reads all of it merged."""

    seed: int
    written: list[Written]
    outcome: Reading


class Oracle:
    """A Node process with Yjs in it."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def programs(self, *, seed: int, count: int, steps: int = 60, cuts: bool = False) -> list[Program]:
        """`count` programs of three to five replicas. `cuts`: some edits fall inside an astral character."""
        answers = await self._script.call(
            "programs", deadline=120, seed=seed, count=count, clients=3, steps=steps, cuts=cuts
        )
        return [
            Program(
                seed=seed + offset,
                written=[Written(one["client"], base64.b64decode(one["update"])) for one in answer["updates"]],
                outcome=_reading(answer),
            )
            for offset, answer in enumerate(answers)
        ]

    async def read(self, updates: Sequence[bytes]) -> list[Reading]:
        """Load each of `updates` into a document of its own. Raises NodeFailed when Yjs cannot."""
        encoded = [base64.b64encode(update).decode() for update in updates]
        return [_reading(answer) for answer in await self._script.call("verify", deadline=120, updates=encoded)]


@asynccontextmanager
async def oracle() -> AsyncIterator[Oracle]:
    """Yjs in a process of its own."""
    async with running("oracle.mjs") as script:
        yield Oracle(script)


def _reading(answer: dict[str, Any]) -> Reading:
    return Reading(
        content=answer["content"],
        state_vector={int(client): clock for client, clock in answer["stateVector"].items()},
        pending=answer["pending"],
    )
