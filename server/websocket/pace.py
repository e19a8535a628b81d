"""How fast one connection may send. Over it, nothing is dropped and nobody is closed: the socket is not read from until
what it owes is made up, so that TCP slows its peer down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from server.buckets import Allowance, Bucket


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Of one connection. A rate of 0 allows anything."""

    messages: Allowance = field(default_factory=lambda: Allowance(5_000, 50_000))
    bytes: Allowance = field(default_factory=lambda: Allowance(16 * 1024 * 1024, 160 * 1024 * 1024))


class Pace:
    """Who receives counts `messages_left` and `bytes_left` down, which costs next to nothing, and calls `settle` when
    one of them is below 0."""

    __slots__ = ("_bytes", "_granted_bytes", "_granted_messages", "_messages", "bytes_left", "messages_left")

    def __init__(self, limits: PaceLimits, now: float) -> None:
        self._messages = Bucket(limits.messages, now)
        self._bytes = Bucket(limits.bytes, now)
        self._granted_messages = self._granted_bytes = 0.0
        self.messages_left = self.bytes_left = 0.0
        self._grant(now)

    def settle(self, now: float) -> float:
        """Account for what came, and grant what may come next. Returns for how many seconds not to read."""
        messages = self._messages.charge(self._granted_messages - self.messages_left, now)
        size = self._bytes.charge(self._granted_bytes - self.bytes_left, now)
        self._grant(now)
        return max(messages, size)

    def _grant(self, now: float) -> None:
        self._granted_messages = self.messages_left = _open(self._messages, now)
        self._granted_bytes = self.bytes_left = _open(self._bytes, now)


def _open(bucket: Bucket, now: float) -> float:
    return max(0.0, bucket.left(now)) if bucket.is_bounded else inf
