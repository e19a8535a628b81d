"""How many requests may wait at a time for something to happen: of one user, workspace and address, and of a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from server.addresses import is_loopback
from server.doors.rest.problems import TOO_MANY, Problem
from server.permissions import Identity

_RETRY_SECONDS: Final = 5  # a guess: one that waits ends when something happens


@dataclass(frozen=True, slots=True)
class PollLimits:
    """Requests that wait at a time, and how long one does. This machine's own address has no limit, because proxies run
    there."""

    node: int = 10_000
    workspace: int = 1_000
    user: int = 100
    address: int = 500
    longest_seconds: float = 60.0


class Polls:
    """Those of one node."""

    def __init__(self, limits: PollLimits) -> None:
        self._limits = limits
        self._waiting: Counter[tuple[str, ...]] = Counter()

    @property
    def longest_seconds(self) -> float:
        """That one waits at most."""
        return self._limits.longest_seconds

    @contextmanager
    def one(self, who: Identity, host: str) -> Iterator[None]:
        """One waits for as long as the block lasts. Raises `Problem` when as many wait as may."""
        bounds = self._bounds(who, host)
        for key, most in bounds.items():
            if self._waiting[key] >= most:
                told = {"retry_after": _RETRY_SECONDS}
                detail = f"{most} requests of the {key[0]} wait for changes already, as many as may"
                raise Problem(TOO_MANY, detail, headers={"Retry-After": str(_RETRY_SECONDS)}, more=told)
        self._waiting.update(bounds.keys())
        try:
            yield
        finally:
            self._waiting.subtract(bounds.keys())
            for key in [key for key in bounds if not self._waiting[key]]:
                del self._waiting[key]

    def _bounds(self, who: Identity, host: str) -> dict[tuple[str, ...], int]:
        limits = self._limits
        bounds = {
            ("user", who.workspace, who.user_id): limits.user,
            ("workspace", who.workspace): limits.workspace,
            ("server",): limits.node,
        }
        if not is_loopback(host):
            bounds["address", host] = limits.address
        return bounds
