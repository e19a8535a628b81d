"""Token buckets: so much a second, and so much at once after a rest. Pure: the time is an argument, in seconds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

_MAX_BUCKETS: Final = 10_000  # of each kind: a megabyte or two; who has not asked for a while loses nothing by it


@dataclass(frozen=True, slots=True)
class Allowance:
    """`rate`: a second, in the long run · `burst`: at once, at most. A rate of 0 allows anything."""

    rate: float
    burst: float


class Bucket:
    """What somebody may still take. Full in the beginning."""

    __slots__ = ("_allowance", "_at", "_level")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._level = allowance.burst
        self._at = now

    @property
    def is_bounded(self) -> bool:
        """False where anything is allowed."""
        return self._allowance.rate > 0

    def take(self, amount: float, now: float) -> float:
        """Take it if it is there. Returns 0, or in how many seconds it would be; then nothing was taken."""
        if not self.is_bounded:
            return 0.0
        missing = min(amount, self._allowance.burst) - self._fill(now)
        if missing > 0:
            return missing / self._allowance.rate
        self._level -= amount
        return 0.0

    def charge(self, amount: float, now: float) -> float:
        """Take it in any case, as what has arrived already cannot be sent back. Returns in how many seconds the debt is
        paid, 0 if there is none."""
        if not self.is_bounded:
            return 0.0
        self._level = self._fill(now) - amount
        return 0.0 if self._level >= 0 else -self._level / self._allowance.rate

    def left(self, now: float) -> float:
        """What may be taken now; below 0 it is owed."""
        return self._fill(now)

    def is_full(self, now: float) -> bool:
        """Whether a new one would be no different."""
        return self._fill(now) >= self._allowance.burst

    def _fill(self, now: float) -> float:
        # A clock that was set back gives nothing and takes nothing.
        passed = max(0.0, now - self._at)
        self._at = now
        self._level = min(self._allowance.burst, self._level + passed * self._allowance.rate)
        return self._level


class Buckets:
    """One for each key, forgotten when it is full again. `take`, `charge` and `left` as of a bucket."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._buckets: dict[Hashable, Bucket] = {}

    @property
    def is_bounded(self) -> bool:
        """False where anything is allowed."""
        return self.allowance.rate > 0

    def take(self, key: Hashable, now: float, amount: float = 1) -> float:
        return self._of(key, now).take(amount, now)

    def charge(self, key: Hashable, now: float, amount: float = 1) -> float:
        return self._of(key, now).charge(amount, now)

    def left(self, key: Hashable, now: float) -> float:
        return self._of(key, now).left(now)

    def _of(self, key: Hashable, now: float) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MAX_BUCKETS:
                self._make_room(now)
            bucket = self._buckets[key] = Bucket(self.allowance, now)
        return bucket

    def _make_room(self, now: float) -> None:
        """Who has not asked for a while loses nothing; of more than that at once, the first ones begin anew."""
        kept = [(key, bucket) for key, bucket in self._buckets.items() if not bucket.is_full(now)]
        self._buckets = dict(kept[-_MAX_BUCKETS // 2 :])
