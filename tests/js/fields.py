"""Replicas in real Yjs that set fields: many of them, stepped together in one process of Node."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.js.toolchain import Script, running


@dataclass(frozen=True, slots=True)
class Step:
    """What a replica, named by its Yjs client id, learns, and which field it sets then; `key` None: nothing;
    "title": it types in front of the title."""

    client: int
    learn: Sequence[bytes]
    key: str | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Set:
    """The update of a field that was set, and the value its author saw there."""

    update: bytes
    replaced: str | None


class Replicas:
    """A Node process full of documents."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def take(self, steps: Sequence[Step]) -> list[Set | None]:
        """What each step wrote, in order."""
        told = [
            {
                "client": step.client,
                "learn": [base64.b64encode(update).decode() for update in step.learn],
                "key": step.key,
                "value": step.value,
            }
            for step in steps
        ]
        answers = await self._script.call("steps", deadline=60, steps=told)
        return [answer and Set(base64.b64decode(answer["update"]), answer["replaced"]) for answer in answers]

    async def fields(self, clients: Sequence[int]) -> list[dict[str, Any]]:
        """What each of them shows."""
        shown: list[dict[str, Any]] = await self._script.call("fields", deadline=60, clients=list(clients))
        return shown

    async def titles(self, clients: Sequence[int]) -> list[str]:
        """The same of their titles."""
        shown: list[str] = await self._script.call("titles", deadline=60, clients=list(clients))
        return shown

    async def forget(self) -> None:
        """All of them."""
        await self._script.call("forget")


@asynccontextmanager
async def replicas() -> AsyncIterator[Replicas]:
    """Yjs in a process of its own."""
    async with running("fields.mjs") as script:
        yield Replicas(script)
