"""How long to wait before trying again: twice as long each time, never longer than a bound, never all at once."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

_SHARED: Final = Random()  # noqa: S311 -- jitter; a generator has 2.5 kB, and is slow to make


@dataclass(slots=True)
class Backoff:
    """Waits in seconds. `random` is a parameter so that a simulation can repeat itself."""

    first_seconds: float = 0.1
    longest_seconds: float = 5.0
    random: Random = _SHARED
    failures: int = 0

    def next_seconds(self) -> float:
        """Count a failure and say how long to wait now: between half and the whole of the doubled time."""
        longest: float = min(self.longest_seconds, self.first_seconds * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return longest * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next failure waits briefly again."""
        self.failures = 0
