"""The log of one issue as engine jobs get it, written by people who each have a replica."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from crdt import wire
from crdt.document import Document
from crdt.jobs_history import LoggedDelta
from crdt.resident import Resident
from crdt.shape import Author, Shape

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Log:
    """The log of one issue, written by people who each have a replica and see everything at once."""

    def __init__(self) -> None:
        self.deltas: list[LoggedDelta] = []
        self.at = START
        self._replicas: dict[str, Document] = {}

    def write(self, who: str, change: Callable[[Shape], None], *, seconds: float = 3_600, device: str = "desk") -> None:
        """One delta, `seconds` after the one before."""
        replica = self._replicas.get(who)
        if replica is None:
            replica = self._replicas[who] = Document(client_id=10 + len(self._replicas))
            for delta in self.deltas:
                replica.apply(delta.update)
        update = replica.edit(lambda roots: change(Shape.of(roots)))
        for other in self._replicas.values():
            other.apply(update)
        self.take(update, who, seconds, device)

    def take(self, update: bytes, who: str = "ana", seconds: float = 3_600, device: str | None = "desk") -> None:
        """Any update as the next delta."""
        self.at += timedelta(seconds=seconds)
        self.deltas.append(LoggedDelta(len(self.deltas) + 1, update, who, device, self.at))

    def author(self, who: str) -> Author:
        return Author(who, "desk", self.at)


def across(job: Any) -> Any:
    """As the edge asks an engine: job and answer cross the wire."""
    return wire.unpack(wire.pack(wire.unpack(wire.pack(job)).run(Resident(max_issues=1, max_bytes=1))))
