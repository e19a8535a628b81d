"""A log that nobody fills by knocking: what repeats is one line and then a count a minute, as in the audit log, and
however different they are, lines of one kind get so many a minute. What is left out is counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from server.addresses import host_of
from server.buckets import Allowance, Bucket

# What tells lines of one kind apart, and of those that somebody has to look into.
_TELLS_APART: Final = ("reason", "error", "where", "worker", "issuer", "workspace", "name")
_TELLS_ERRORS_APART: Final = (*_TELLS_APART, "issue", "at")
_ERRORS: Final = ("error", "exception", "critical")
_COMES_FROM: Final = ("client", "session")  # `host:port`
_IS_COUNT: Final = "_is_count"
_TURN_SECONDS: Final = 1.0

Line = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`lines`: of one kind, which is what happened, whatever else they say; a rate of 0 allows any number ·
    `repeat_seconds`: between two lines that say the same of the same address."""

    lines: Allowance = field(default_factory=lambda: Allowance(rate=20 / 60, burst=100))
    repeat_seconds: float = 60.0


@dataclass(slots=True)
class _Said:
    """A line that was written. `told`: what is said of those that repeat it · `count`: how many have, since."""

    level: str
    told: dict[str, Any]
    until: float
    count: int = 0


class Restraint:
    """Of one process. A processor of structlog, and a filter of the standard library's handlers. `on_left_out` hears of
    each line that is left out. `run` tells the counts in time."""

    def __init__(self, limits: LogLimits | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or LogLimits()
        self.on_left_out: Callable[[], None] = lambda: None
        self._now = now
        self._said: dict[tuple[str, ...], _Said] = {}
        self._kinds: dict[str, Bucket] = {}
        self._left_out: Counter[str] = Counter()

    def __call__(self, _logger: object, level: str, line: Line) -> Line:
        """Raises `structlog.DropEvent` where the line is to be left out."""
        if line.pop(_IS_COUNT, False):
            return line
        kind = str(line["event"])
        names = _TELLS_ERRORS_APART if level in _ERRORS else _TELLS_APART
        told = {name: line[name] for name in names if name in line} | _sender(line)
        if not self._passes(level, kind, told):
            self.on_left_out()
            raise structlog.DropEvent
        return line

    def filter(self, record: logging.LogRecord) -> bool:
        """Of other libraries' lines: what is filled into them tells none apart."""
        passes = self._passes(record.levelname.lower(), str(record.msg), {"name": record.name})
        if not passes:
            self.on_left_out()
        return passes

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            self.tell()

    def tell(self, *, is_last: bool = False) -> None:
        """Write the counts that are due, or all of them."""
        now, log = self._now(), structlog.get_logger()
        for key, said in list(self._said.items()):
            if now < said.until and not is_last:
                continue
            if said.count:
                getattr(log, said.level)(key[0], **said.told, repeated=said.count, **{_IS_COUNT: True})
                said.count, said.until = 0, now + self.limits.repeat_seconds
            else:
                del self._said[key]
        for kind, count in list(self._left_out.items()):
            if is_last or self._kinds[kind].left(now) >= 1:
                del self._left_out[kind]
                log.warning("lines left out", of=kind, count=count, **{_IS_COUNT: True})

    def _passes(self, level: str, kind: str, told: dict[str, Any]) -> bool:
        now, key = self._now(), (kind, *(str(value) for value in told.values()))
        said = self._said.get(key)
        if said is not None:
            said.count += 1
            return False
        if kind not in self._kinds:
            self._kinds[kind] = Bucket(self.limits.lines, now)
        if self._kinds[kind].take(1, now):
            self._left_out[kind] += 1
            return False
        self._said[key] = _Said("error" if level == "exception" else level, told, now + self.limits.repeat_seconds)
        return True


def _sender(line: Line) -> dict[str, Any]:
    """The address that a line is about, without its port, which is another one each time."""
    for name in _COMES_FROM:
        if ":" in str(line.get(name, "")):
            return {"client": host_of(str(line[name]))}
    return {}
